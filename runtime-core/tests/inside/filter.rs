//! What a seccomp profile promises, read off the profile itself: rule by rule, as libseccomp's
//! documentation and the runtime-spec say it. No code is shared with the compiler, and the numbers
//! are those of the kernel's own headers.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

/// What becomes of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The kernel is asked.
    Allowed,
    /// This errno, and the kernel isn't asked.
    Errno(i64),
    /// SIGSYS.
    Killed,
}

/// No errno of the kernel's is as large; the largest that there can be is 4095.
const MARK: i64 = 3000;

/// A profile whose refusals can't be mistaken for the kernel's own: each rule has an errno of its own.
pub(crate) fn marked(mut profile: Value) -> Value {
    if profile["defaultAction"] == "SCMP_ACT_ERRNO" {
        profile["defaultErrnoRet"] = json!(MARK);
    }
    for (index, rule) in profile["syscalls"].as_array_mut().unwrap().iter_mut().enumerate() {
        if rule["action"] == "SCMP_ACT_ERRNO" {
            rule["errnoRet"] = json!(MARK + 100 + i64::try_from(index).unwrap());
        }
    }
    profile
}

/// What headers of Linux 6.1 don't know yet; the numbers are the same on all architectures.
const NEWER: &[(&str, u64)] = &[
    ("cachestat", 451),
    ("fchmodat2", 452),
    ("map_shadow_stack", 453),
    ("futex_wake", 454),
    ("futex_wait", 455),
    ("futex_requeue", 456),
    ("statmount", 457),
    ("listmount", 458),
    ("lsm_get_self_attr", 459),
    ("lsm_set_self_attr", 460),
    ("lsm_list_modules", 461),
    ("mseal", 462),
    ("setxattrat", 463),
    ("getxattrat", 464),
    ("listxattrat", 465),
    ("removexattrat", 466),
    ("open_tree_attr", 467),
    ("file_getattr", 468),
    ("file_setattr", 469),
];

/// A table of system calls, from the kernel's headers.
pub(crate) struct Table {
    names: BTreeMap<u64, String>,
}

impl Table {
    /// The table of this machine (`unistd_64.h`), or that for programs of 32 bits (`unistd_32.h`).
    pub(crate) fn read(header: &str) -> Option<Self> {
        let dirs = ["/usr/include/x86_64-linux-gnu/asm", "/usr/include/asm"];
        let text =
            dirs.iter().find_map(|dir| fs::read_to_string(format!("{dir}/{header}")).ok())?;
        let number = |line: &str| {
            let (name, number) = line.strip_prefix("#define __NR_")?.split_once(' ')?;
            // unistd_x32.h
            let number = number.trim_start_matches("(__X32_SYSCALL_BIT + ").trim_end_matches(')');
            Some((number.trim().parse().ok()?, name.to_owned()))
        };
        let mut names: BTreeMap<u64, String> = text.lines().filter_map(number).collect();
        names.extend(NEWER.iter().map(|(name, number)| (*number, (*name).to_owned())));
        if header != "unistd_32.h" {
            names.extend([(335, "uretprobe".to_owned()), (336, "uprobe".to_owned())]);
        }
        Some(Self { names })
    }

    pub(crate) fn last(&self) -> u64 {
        self.names.keys().next_back().copied().unwrap_or(0)
    }

    pub(crate) fn name(&self, number: u64) -> &str {
        self.names.get(&number).map_or("(none)", String::as_str)
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.names.iter().find(|(_, other)| *other == name).map(|(number, _)| *number)
    }
}

/// What a profile says of a call, all of whose arguments are the same.
pub(crate) fn verdict(profile: &Value, table: &Table, number: u64, argument: u64) -> Verdict {
    let rules = profile["syscalls"].as_array().unwrap();
    let names = |rule: &Value, name: &str| {
        rule["names"].as_array().unwrap().iter().any(|other| other == name)
    };
    let name = table.name(number);
    let mut of = rules.iter().filter(|rule| names(rule, name));
    if let Some(rule) = of.find(|rule| conditions_hold(rule, argument)) {
        return action(&rule["action"], &rule["errnoRet"]);
    }
    // As runc does: what is newer than all that a restrictive profile names doesn't exist.
    let newest =
        table.names.iter().rev().find(|(_, name)| rules.iter().any(|rule| names(rule, name)));
    let newer = newest.is_some_and(|(newest, _)| number > *newest);
    let permissive = ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"];
    if newer && !permissive.iter().any(|action| profile["defaultAction"] == *action) {
        return Verdict::Errno(38);
    }
    action(&profile["defaultAction"], &profile["defaultErrnoRet"])
}

/// config-linux.md: all of a rule's conditions, but those on one argument are alternatives.
fn conditions_hold(rule: &Value, argument: u64) -> bool {
    let conditions: Vec<&Value> = rule["args"].as_array().into_iter().flatten().collect();
    let holds = |condition: &Value| {
        let (value, two) =
            (condition["value"].as_u64().unwrap(), condition["valueTwo"].as_u64().unwrap_or(0));
        match condition["op"].as_str().unwrap() {
            "SCMP_CMP_NE" => argument != value,
            "SCMP_CMP_LT" => argument < value,
            "SCMP_CMP_LE" => argument <= value,
            "SCMP_CMP_EQ" => argument == value,
            "SCMP_CMP_GE" => argument >= value,
            "SCMP_CMP_GT" => argument > value,
            "SCMP_CMP_MASKED_EQ" => argument & value == two,
            other => panic!("{other}"),
        }
    };
    conditions.is_empty() || conditions.iter().all(|condition| holds(condition))
}

fn action(action: &Value, errno: &Value) -> Verdict {
    match action.as_str().unwrap() {
        "SCMP_ACT_ALLOW" | "SCMP_ACT_LOG" => Verdict::Allowed,
        "SCMP_ACT_ERRNO" => Verdict::Errno(errno.as_i64().unwrap_or(1)),
        _ => Verdict::Killed,
    }
}
