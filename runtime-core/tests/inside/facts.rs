//! What a process is promised to be: its descriptors, its credentials, what it has inherited.

use libc::c_long;
use serde_json::Value;

use crate::common::status_field;
use crate::promise::{Promise, Scene, Want};

const STATUS: &str = "read /proc/self/status";
const LIMITS: &str = "read /proc/self/limits";
const SCORE: &str = "read /proc/self/oom_score_adj";
const CORE_FILTER: &str = "read /proc/self/coredump_filter";

/// A question for what a system call returns.
fn call(number: c_long, arguments: &str) -> String {
    format!("call {number} {arguments}")
}

/// KEYCTL_GET_KEYRING_ID of KEY_SPEC_SESSION_KEYRING, keyctl(2).
pub(crate) fn session_keyring() -> String {
    call(libc::SYS_keyctl, "0 -3 0")
}

/// See [`crate::promise::of_the_host`].
pub(crate) fn of_the_host() -> Vec<String> {
    let mut questions = [LIMITS, SCORE, CORE_FILTER].map(str::to_owned).to_vec();
    questions.push(call(libc::SYS_getpriority, "0 0"));
    questions.push(session_keyring());
    // Nobody's habits reach a container: the first process of the host has none.
    questions.push("read /proc/1/status".to_owned());
    questions
}

/// What is promised of the process itself.
pub(crate) fn promises(scene: &Scene<'_>) -> Vec<Promise> {
    let mut all = vec![Promise::new("fds", Want::Holds(Box::new(only_stdio)))];
    all.extend(credentials(scene));
    all.extend(inherited(scene));
    all.extend(own(scene));
    all.extend(keyring(scene));
    all.extend(label(scene));
    all
}

/// 0, 1 and 2, and no file of the host's behind them.
fn only_stdio(answer: &str) -> Result<(), String> {
    let lines: Vec<&str> = answer.lines().filter(|line| !line.is_empty()).collect();
    let harmless = |target: &str| target.starts_with("pipe:") || target == "/dev/null";
    let right = lines.len() == 3
        && lines.iter().enumerate().all(|(number, line)| {
            line.split_once(' ').is_some_and(|(fd, to)| fd == number.to_string() && harmless(to))
        });
    if right { Ok(()) } else { Err(format!("{lines:?}")) }
}

fn field(name: &'static str, value: impl Into<String>) -> Promise {
    Promise::new(STATUS, Want::Field(name, value.into()))
}

/// capabilities(7): what is left of the five sets after execve(2).
fn credentials(scene: &Scene<'_>) -> Vec<Promise> {
    let process = &scene.config["process"];
    let user = &process["user"];
    let four = |id: &Value| vec![id.as_u64().unwrap_or(0).to_string(); 4].join("\t");
    let mut groups: Vec<u64> =
        user["additionalGids"].as_array().into_iter().flatten().flat_map(Value::as_u64).collect();
    groups.sort_unstable();
    let groups: Vec<String> = groups.iter().map(u64::to_string).collect();
    let set = |name: &str| {
        let names = process["capabilities"][name].as_array().into_iter().flatten();
        names.fold(0, |bits, name| {
            bits | name.as_str().unwrap().parse::<caps::Capability>().unwrap().bitmask()
        })
    };
    let (bounding, inheritable, ambient) = (set("bounding"), set("inheritable"), set("ambient"));
    let root = user["uid"] == 0;
    let permitted = if root { bounding | inheritable } else { ambient };
    let hex = |bits: u64| format!("{bits:016x}");
    let seccomp = !scene.config["linux"]["seccomp"].is_null();
    vec![
        field("Uid", four(&user["uid"])),
        field("Gid", four(&user["gid"])),
        field("Groups", groups.join(" ")),
        field("CapBnd", hex(bounding)),
        field("CapInh", hex(inheritable)),
        field("CapPrm", hex(permitted)),
        field("CapEff", hex(permitted)),
        field("CapAmb", hex(ambient)),
        field("NoNewPrivs", if process["noNewPrivileges"] == true { "1" } else { "0" }),
        field("Seccomp", if seccomp { "2" } else { "0" }),
        // None but the container's.
        field("Seccomp_filters", if seccomp { "1" } else { "0" }),
        Promise::new(call(libc::SYS_prctl, "27"), Want::Is("0".to_owned())), // PR_GET_SECUREBITS
        Promise::new(call(libc::SYS_prctl, "7"), Want::Is("0".to_owned())),  // PR_GET_KEEPCAPS
    ]
}

/// What a process has from the one that made it, unless somebody sees to it.
fn inherited(scene: &Scene<'_>) -> Vec<Promise> {
    let host = scene.host.get("read /proc/1/status");
    let of_host = |name| field(name, status_field(host, name));
    let mut all: Vec<Promise> = ["SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd"]
        .map(|name| field(name, "0".repeat(16)))
        .into();
    all.extend([
        field("TracerPid", "0"),
        field("Threads", "1"),
        field("THP_enabled", "1"),
        of_host("Cpus_allowed_list"),
        of_host("Mems_allowed_list"),
    ]);
    let zero =
        |number, arguments: &str| Promise::new(call(number, arguments), Want::Is("0".to_owned()));
    let nothing =
        |number, arguments: &str| Promise::new(call(number, arguments), Want::Is("0 0".to_owned()));
    // Some of these calls are refused by profiles.
    let mut calls = vec![
        ("prctl", nothing(libc::SYS_prctl, "2 @")), // PR_GET_PDEATHSIG
        ("prctl", nothing(libc::SYS_prctl, "37 @")), // PR_GET_CHILD_SUBREAPER
        ("prctl", Promise::new(call(libc::SYS_prctl, "3"), Want::Is("1".to_owned()))), // PR_GET_DUMPABLE
        // PR_GET_TIMERSLACK
        ("prctl", Promise::new(call(libc::SYS_prctl, "30"), Want::Is("50000".to_owned()))),
        ("personality", zero(libc::SYS_personality, "0xffffffff")),
        ("sched_getscheduler", zero(libc::SYS_sched_getscheduler, "0")),
        ("getpriority", nice(scene)),
        ("get_mempolicy", nothing(libc::SYS_get_mempolicy, "@ 0 0 0 0")),
        ("umask", Promise::new(call(libc::SYS_umask, "18"), Want::Is("18".to_owned()))),
    ];
    calls.retain(|(name, _)| !scene.refuses(name));
    all.extend(calls.into_iter().map(|(_, promise)| promise));
    all.push(Promise::new(
        call(libc::SYS_ioprio_get, "1 0"),
        // IOPRIO_CLASS_NONE, or what follows from the nice value (Linux 5.17 to 6.5).
        Want::Holds(Box::new(|answer| {
            if ["0", "4", "16388"].contains(&answer) { Ok(()) } else { Err(answer.to_owned()) }
        })),
    ));
    all
}

/// 20 - nice, getpriority(2). Who has no right to lower a nice value leaves it as it is.
fn nice(scene: &Scene<'_>) -> Promise {
    let question = call(libc::SYS_getpriority, "0 0");
    let rootless = !scene.host.get("read /proc/self/uid_map").contains("4294967295");
    let want = if rootless { scene.host.get(&question).to_owned() } else { "20".to_owned() };
    Promise::new(question, Want::Is(want))
}

/// What the configuration says of the process beside its rights.
fn own(scene: &Scene<'_>) -> Vec<Promise> {
    let process = &scene.config["process"];
    let score = match process["oomScoreAdj"].as_i64() {
        Some(score) => score.to_string(),
        None => scene.host.get(SCORE).to_owned(),
    };
    let mut variables: Vec<String> =
        process["env"].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect();
    if !variables.iter().any(|variable| variable.starts_with("HOME=")) {
        variables.push("HOME=/root".to_owned());
    }
    variables.sort();
    let environment = move |answer: &str| {
        let mut seen: Vec<&str> = answer.split_terminator('\0').collect();
        seen.sort_unstable();
        if seen == variables { Ok(()) } else { Err(format!("{seen:?}, not {variables:?}")) }
    };
    vec![
        Promise::new("read /proc/self/maps", Want::Holds(Box::new(nothing_but_the_program))),
        Promise::new("read /proc/self/environ", Want::Holds(Box::new(environment))),
        Promise::new("link /proc/self/cwd", Want::Is(process["cwd"].as_str().unwrap().to_owned())),
        Promise::new("link /proc/self/exe", Want::Is(crate::subject::AUDITOR.to_owned())),
        Promise::new(SCORE, Want::Is(score)),
        // Like limits and score it is how whoever runs the engine wants programs to be treated: what
        // goes into a core dump, core(5).
        Promise::new(CORE_FILTER, Want::Is(scene.host.get(CORE_FILTER).to_owned())),
        Promise::new("read /proc/self/stat", Want::Holds(Box::new(its_own_session))),
        Promise::new(LIMITS, limits(scene)),
    ]
}

/// No file is mapped but the program.
fn nothing_but_the_program(maps: &str) -> Result<(), String> {
    // proc_pid_maps(5): the sixth field is a path, or the kernel's name for what is no file.
    let names = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let other: Vec<&str> =
        names.filter(|name| *name != crate::subject::AUDITOR && !name.starts_with('[')).collect();
    if other.is_empty() { Ok(()) } else { Err(format!("{other:?}")) }
}

/// It leads a session and a process group, and has no terminal.
fn its_own_session(stat: &str) -> Result<(), String> {
    let (pid, rest) = stat.split_once(' ').ok_or("no line")?;
    let fields: Vec<&str> = rest.rsplit_once(") ").ok_or("no name")?.1.split(' ').collect();
    // proc_pid_stat(5): state, ppid, pgrp, session, tty_nr, tpgid.
    let right = fields[2] == pid && fields[3] == pid && fields[4] == "0" && fields[5] == "-1";
    if right { Ok(()) } else { Err(stat.to_owned()) }
}

/// Those of the configuration, and else the host's.
fn limits(scene: &Scene<'_>) -> Want {
    const NAMES: [(&str, &str); 3] = [
        ("RLIMIT_NOFILE", "Max open files"),
        ("RLIMIT_CORE", "Max core file size"),
        ("RLIMIT_NPROC", "Max processes"),
    ];
    let configured = scene.config["process"]["rlimits"].as_array().cloned().unwrap_or_default();
    let values = |line: &str| -> Vec<String> {
        // "Max open files            1024                 4096                 files"
        line.get(26..)
            .into_iter()
            .flat_map(str::split_whitespace)
            .take(2)
            .map(str::to_owned)
            .collect()
    };
    let expected: Vec<(String, Vec<String>)> = scene
        .host
        .get(LIMITS)
        .lines()
        .skip(1)
        .filter(|line| !line.is_empty())
        .map(|line| {
            let set = configured.iter().find(|limit| {
                NAMES.iter().any(|(name, text)| limit["type"] == *name && line.starts_with(text))
            });
            let value = match set {
                Some(limit) => vec![limit["soft"].to_string(), limit["hard"].to_string()],
                None => values(line),
            };
            (line.get(..26).unwrap_or(line).to_owned(), value)
        })
        .collect();
    Want::Holds(Box::new(move |answer| {
        let wrong: Vec<&str> = answer
            .lines()
            .skip(1)
            .filter(|line| !expected.iter().any(|(n, v)| line.starts_with(n) && values(line) == *v))
            .filter(|line| !line.is_empty())
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("{wrong:?}, not {expected:?}")) }
    }))
}

/// A session keyring of its own with nothing in it, keyctl(2).
fn keyring(scene: &Scene<'_>) -> Vec<Promise> {
    let own = session_keyring();
    let content = call(libc::SYS_keyctl, "11 -3 @ 8192"); // KEYCTL_READ
    if scene.refuses("keyctl") {
        return [own, content].map(|question| Promise::new(question, Want::Refused)).into();
    }
    let host = scene.host.get(&own).to_owned();
    vec![Promise::new(own, Want::Not(host)), Promise::new(content, Want::Is("0 0".to_owned()))]
}

/// The security module's label: that of the configuration, and who joins has the first process's.
/// Without a module nobody has one.
fn label(scene: &Scene<'_>) -> Vec<Promise> {
    const LABEL: &str = "read /proc/self/attr/current";
    let mut all = Vec::new();
    if let Some(profile) = scene.config["process"]["apparmorProfile"].as_str() {
        all.push(Promise::new(LABEL, Want::Is(format!("{profile} (enforce)"))));
    }
    if let Some(pid) = scene.joined {
        let first = std::fs::read_to_string(format!("/proc/{pid}/attr/current"));
        all.push(Promise::new(LABEL, first.map_or(Want::Refused, Want::Is)));
    }
    all
}
