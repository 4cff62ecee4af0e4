//! The verdict on each system call of the machine's table: what the profile promises is what the
//! kernel does, to the first process and to one that joins.

use serde_json::{Value, json};

use crate::answers::Answers;
use crate::common::Case;
use crate::confinement::dockers_profile;
use crate::filter::{Table, Verdict, marked, verdict};
use crate::subject::{Waiting, ask_first, prepare};
use crate::{case, skip};

/// An address where nothing is, a descriptor that isn't open, no known flag, a pid of nobody.
const HARMLESS: u64 = 0xffff_ffff_ffff_f001;
/// Beyond the table: for what the kernel will have some day.
const BEYOND: u64 = 40;

/// No filter is asked of these since Linux 6.14 and 6.18: the kernel's own trampolines make them, and
/// from anywhere else they do nothing (seccomp_uprobe_exception() in kernel/seccomp.c).
const KERNELS_OWN: [&str; 2] = ["uretprobe", "uprobe"];

/// One of the ways into the kernel.
struct Way {
    verb: &'static str,
    header: &'static str,
    /// What is added to the numbers of the table.
    base: u64,
    argument: u64,
    /// What harms although its arguments make no sense: sync(2) disturbs the host, and the i386
    /// form of sigsuspend(2) sleeps for ever.
    left_out: &'static [&'static str],
}

const NATIVE: Way =
    Way { verb: "sweep", header: "unistd_64.h", base: 0, argument: HARMLESS, left_out: &["sync"] };
const COMPATIBLE: Way = Way {
    verb: "sweep32",
    header: "unistd_32.h",
    base: 0,
    argument: HARMLESS & 0xffff_ffff,
    left_out: &["sync", "sigsuspend"],
};
/// The native gate with `__X32_SYSCALL_BIT`: filters are asked, whether or not the kernel has them.
const X32: Way = Way {
    verb: "sweep",
    header: "unistd_x32.h",
    base: 0x4000_0000,
    argument: HARMLESS,
    left_out: &["sync"],
};

/// What came of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Returned(i64),
    Killed(i64),
    Ended,
}

impl Outcome {
    fn parse(text: &str) -> Self {
        match text.strip_prefix('s') {
            Some(signal) => Self::Killed(signal.parse().unwrap()),
            None if text == "x" => Self::Ended,
            None => Self::Returned(text.parse().unwrap()),
        }
    }

    /// Whether it is what the kernel itself says: numbers of processes and the like differ.
    fn is_like(self, other: Self) -> bool {
        match (self, other) {
            (Self::Returned(a), Self::Returned(b)) => a == b || a >= 0 && b >= 0,
            _ => self == other,
        }
    }
}

impl Way {
    fn question(&self, table: &Table) -> String {
        let numbers = self.left_out.iter().filter_map(|name| table.number(name));
        let left_out: Vec<String> = numbers.map(|n| (self.base + n).to_string()).collect();
        let (first, last) = (self.base, self.base + table.last() + BEYOND);
        format!("{} {first} {last} {:#x} {}", self.verb, self.argument, left_out.join(" "))
    }

    /// Each call's number in the table and its outcome.
    fn outcomes(&self, answers: &Answers, question: &str) -> Vec<(u64, Outcome)> {
        let number = |text: &str| text.parse::<u64>().unwrap() - self.base;
        let lines = answers.get(question).lines().filter_map(|line| line.split_once(' '));
        lines.map(|(nr, text)| (number(nr), Outcome::parse(text))).collect()
    }

    /// Compares all verdicts with what the profile promises.
    fn audit(&self, case: &mut Case, profile: &Value) {
        let Some(table) = Table::read(self.header) else { skip!("needs {}", self.header) };
        let question = self.question(&table);
        let plain = ask_first(case, &[&question]);
        let plain = self.outcomes(&plain, &question);
        assert!(plain.len() > 300, "{plain:?}");
        if plain.iter().all(|(_, outcome)| matches!(outcome, Outcome::Killed(11))) {
            skip!("this kernel runs no programs of 32 bits");
        }
        case.linux()["seccomp"] = profile.clone();
        let first = self.outcomes(&ask_first(case, &[&question]), &question);
        prepare(case, "wait");
        let container = Waiting::start(case);
        let joined = self.outcomes(&container.ask(&case.config, &[&question]), &question);
        container.end();
        let mut broken = Vec::new();
        for (who, seen) in [("first", &first), ("joined", &joined)] {
            assert_eq!(seen.len(), plain.len(), "{who}");
            for ((number, outcome), (_, without)) in seen.iter().zip(&plain) {
                let promised = verdict(profile, &table, *number, self.argument);
                let kept = match promised {
                    _ if KERNELS_OWN.contains(&table.name(*number)) => continue,
                    Verdict::Allowed => outcome.is_like(*without),
                    Verdict::Errno(errno) => *outcome == Outcome::Returned(-errno),
                    // SIGSYS
                    Verdict::Killed => *outcome == Outcome::Killed(31),
                };
                if !kept {
                    let name = table.name(*number);
                    broken.push(format!("{who}: {number} {name}: {outcome:?}, not {promised:?}"));
                }
            }
        }
        assert!(broken.is_empty(), "of {}:\n{}", plain.len(), broken.join("\n"));
    }
}

impl Way {
    /// No call is made at all: who tries is killed, as libseccomp has it.
    fn audit_closed(&self, case: &mut Case, profile: &Value) {
        let Some(table) = Table::read(self.header) else { skip!("needs {}", self.header) };
        let question = self.question(&table);
        case.linux()["seccomp"] = profile.clone();
        let outcomes = self.outcomes(&ask_first(case, &[&question]), &question);
        assert!(outcomes.len() > 300, "{outcomes:?}");
        let made: Vec<_> =
            outcomes.iter().filter(|(_, outcome)| *outcome != Outcome::Killed(31)).collect();
        assert!(made.is_empty(), "{made:?}");
    }
}

/// Each system call of the machine's table is made under Docker's profile, and beyond the table: the kernel
/// does what the profile promises, to the first process and to one that joins.
///
/// Seen to fail: crun 1.28 has no ENOSYS for calls that are newer than the profile, and who joins lacks
/// no_new_privs (landlock_restrict_self); and by uretprobe and uprobe, until they were left out.
#[test]
fn dockers_profile_call_by_call() {
    NATIVE.audit(&mut case!(), &marked(dockers_profile()));
}

/// The same for the numbers of x32, which the profile names as well.
///
/// Seen to fail: with x32 taken for an unknown architecture; with crun 1.28, as above.
#[test]
fn dockers_profile_for_x32() {
    X32.audit(&mut case!(), &marked(dockers_profile()));
}

/// A profile that doesn't name the other two: nothing gets through their gates.
///
/// Seen to fail: where unknown architectures were allowed.
#[test]
fn gates_that_a_profile_does_not_name() {
    let mut profile = marked(dockers_profile());
    profile["architectures"] = json!(["SCMP_ARCH_X86_64"]);
    COMPATIBLE.audit_closed(&mut case!(), &profile);
    X32.audit_closed(&mut case!(), &profile);
}

/// In a user namespace, where init loads the filter with other rights.
///
/// Seen to fail: with the filter taken out for who joins.
#[test]
fn in_a_user_namespace() {
    let mut case = case!();
    case.user_namespace();
    NATIVE.audit(&mut case, &marked(dockers_profile()));
}

/// The same through the gate for programs of 32 bits, `int 0x80`.
///
/// Seen to fail: with crun 1.28, as above.
#[test]
fn dockers_profile_for_programs_of_32_bits() {
    COMPATIBLE.audit(&mut case!(), &marked(dockers_profile()));
}

/// Every action that a profile can name, some with conditions on arguments; all else is allowed.
///
/// Seen to fail: with crun 1.28, landlock_restrict_self as above.
#[test]
fn every_action() {
    let condition = |op: &str, value: u64, two: u64| json!([{"index": 1, "op": op, "value": value, "valueTwo": two}]);
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"},
            {"names": ["rmdir"], "action": "SCMP_ACT_KILL_THREAD"},
            {"names": ["link", "linkat"], "action": "SCMP_ACT_KILL"},
            {"names": ["symlink"], "action": "SCMP_ACT_TRAP"},
            {"names": ["rename"], "action": "SCMP_ACT_LOG"},
            {"names": ["mknod", "mknodat", "bpf", "io_uring_setup"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "args": condition("SCMP_CMP_GT", 7, 0)},
            {"names": ["fchmod"], "action": "SCMP_ACT_ERRNO", "args": condition("SCMP_CMP_LE", 7, 0)},
            {"names": ["access"], "action": "SCMP_ACT_KILL_PROCESS",
             "args": condition("SCMP_CMP_MASKED_EQ", 0xfff, 1)},
            {"names": ["truncate"], "action": "SCMP_ACT_KILL_PROCESS",
             "args": condition("SCMP_CMP_MASKED_EQ", 0xfff, 2)},
        ],
    });
    let profile = marked(profile);
    NATIVE.audit(&mut case!(), &profile);
    COMPATIBLE.audit(&mut case!(), &profile);
}

/// A default that kills, with no more than what the auditor itself needs. (Peers need more.)
///
/// Seen to fail: with ENOSYS for what is newer than the profile taken out.
#[test]
fn a_default_that_kills() {
    let profile = json!({
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "syscalls": [{"action": "SCMP_ACT_ALLOW", "names": [
            "write", "mmap", "clone", "wait4", "setitimer", "prctl", "exit_group", "execve",
            "ppoll", "openat2"]}],
    });
    NATIVE.audit(&mut case!(), &profile);
}

/// Where a rule asks for arguments, each side of it.
#[test]
fn dockers_rules_with_arguments() {
    let mut case = case!();
    case.linux()["seccomp"] = marked(dockers_profile());
    let refused = "!3000";
    let (personality, socket, clone) = (libc::SYS_personality, libc::SYS_socket, libc::SYS_clone);
    let mut expected = vec![
        (format!("call {personality} 0xffffffff"), "0"),
        (format!("call {personality} 0x20008"), "0"),
        (format!("call {personality} 0"), "131080"),
        // ADDR_NO_RANDOMIZE, and the high half counts, too.
        (format!("call {personality} 0x40000"), refused),
        (format!("call {personality} 0x100000000"), refused),
        // AF_UNIX, AF_VSOCK.
        (format!("call {socket} 1 1 0"), "3"),
        (format!("call {socket} 40 1 0"), refused),
    ];
    // Namespaces: CLONE_NEWUSER, CLONE_NEWNS, and what no flag is: EINVAL (CLONE_SIGHAND alone).
    for flags in ["0x10000000", "0x20000", "0x2000000", "0x4000000", "0x7e020000"] {
        expected.push((format!("call {clone} {flags}"), refused));
    }
    expected.push((format!("call {clone} 0x800"), "!22"));
    let questions: Vec<&String> = expected.iter().map(|(question, _)| question).collect();
    let answers = ask_first(&mut case, &questions);
    for (question, answer) in &expected {
        assert_eq!(answers.get(question), *answer, "{question}");
    }
}
