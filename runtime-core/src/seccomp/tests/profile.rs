//! What a profile may say, and what it then compiles to.

use std::sync::Arc;
use std::time::Instant;

use oci_spec::runtime::{Arch, LinuxSeccomp};
use serde_json::{Value, json};

use super::{docker, parse};
use crate::error::{Error, ErrorKind};
use crate::seccomp::model::machine::{Data, Machine};
use crate::seccomp::{Cache, Filter, assemble, compile_for, flags};

const X86_64: u32 = 0xc000_003e;
const ENOSYS: u32 = 0x0005_0026;
const EPERM: u32 = 0x0005_0001;
const ALLOW: u32 = 0x7fff_0000;
const KILL_THREAD: u32 = 0;

fn compile(profile: &LinuxSeccomp) -> crate::Result<Filter> {
    compile_for(profile, Arch::ScmpArchX86_64)
}

fn run(profile: Value, arch: u32, nr: u32, args: [u64; 6]) -> u32 {
    let filter = compile(&parse(profile)).unwrap();
    Machine::load(filter.program_bytes(), false).run(&Data { nr, arch, args }).0
}

fn refusal(profile: Value) -> Error {
    compile(&parse(profile)).unwrap_err()
}

#[test]
fn actions() {
    for (action, errno, value) in [
        ("SCMP_ACT_KILL", None, 0),
        ("SCMP_ACT_KILL_THREAD", None, 0),
        ("SCMP_ACT_KILL_PROCESS", None, 0x8000_0000),
        ("SCMP_ACT_TRAP", None, 0x0003_0000),
        ("SCMP_ACT_ERRNO", None, EPERM),
        ("SCMP_ACT_ERRNO", Some(0), 0x0005_0000),
        ("SCMP_ACT_ERRNO", Some(4094), 0x0005_0ffe),
        ("SCMP_ACT_NOTIFY", None, 0x7fc0_0000),
        ("SCMP_ACT_TRACE", None, 0x7ff0_0001),
        ("SCMP_ACT_TRACE", Some(65535), 0x7ff0_ffff),
        ("SCMP_ACT_LOG", None, 0x7ffc_0000),
        ("SCMP_ACT_ALLOW", None, ALLOW),
    ] {
        let mut rule = json!({ "names": ["close"], "action": action });
        if let Some(errno) = errno {
            rule["errnoRet"] = json!(errno);
        }
        let rules = json!({
            "defaultAction": "SCMP_ACT_TRAP", "listenerPath": "/agent", "syscalls": [rule]
        });
        assert_eq!(run(rules, X86_64, 3, [0; 6]), value, "{action}");
        if action != "SCMP_ACT_NOTIFY" {
            let mut default = json!({ "defaultAction": action });
            if let Some(errno) = errno {
                default["defaultErrnoRet"] = json!(errno);
            }
            assert_eq!(run(default, X86_64, 3, [0; 6]), value, "default {action}");
        }
    }
}

#[test]
fn refusals() {
    let rule = |rule: Value| json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/agent", "syscalls": [rule] });
    let errno = |action, errno: u32| {
        rule(json!({ "names": ["close"], "action": action, "errnoRet": errno }))
    };
    let arg = |index| {
        let arg = json!({ "index": index, "value": 1, "op": "SCMP_CMP_EQ" });
        rule(json!({ "names": ["close"], "action": "SCMP_ACT_TRAP", "args": [arg] }))
    };
    let same = |action| {
        json!({ "names": ["dup"], "action": action, "args": [
        { "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }
    ] })
    };
    for (profile, pointer, message) in [
        (errno("SCMP_ACT_ERRNO", 4095), "syscalls/0/errnoRet", "4095 is not an errno"),
        (errno("SCMP_ACT_TRACE", 65536), "syscalls/0/errnoRet", "65536 has more than 16 bits"),
        (errno("SCMP_ACT_ALLOW", 1), "syscalls/0/errnoRet", "SCMP_ACT_ALLOW takes no errno"),
        (arg(6), "syscalls/0/args/0/index", "a system call has arguments 0 to 5"),
        (
            rule(json!({ "names": ["read", ""], "action": "SCMP_ACT_TRAP" })),
            "syscalls/0/names/1",
            "empty string is not a valid syscall",
        ),
        (
            rule(json!({ "names": ["write"], "action": "SCMP_ACT_NOTIFY" })),
            "syscalls/0/names/0",
            "SCMP_ACT_NOTIFY cannot be used for the write syscall",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/agent" }),
            "defaultAction",
            "SCMP_ACT_NOTIFY cannot be used as default action",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                { "names": ["close"], "action": "SCMP_ACT_NOTIFY" }
            ] }),
            "listenerPath",
            "SCMP_ACT_NOTIFY is used and listenerPath is not set",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x" }),
            "listenerMetadata",
            "listenerMetadata is set and listenerPath is not",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW",
                "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"] }),
            "flags/0",
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs a rule with SCMP_ACT_NOTIFY",
        ),
        (
            json!({ "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [same("SCMP_ACT_TRAP"), same("SCMP_ACT_LOG")] }),
            "syscalls/1",
            "contradicts /linux/seccomp/syscalls/0: same system call, same conditions, another \
             action",
        ),
    ] {
        let error = refusal(profile);
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert_eq!(error.pointer(), Some(format!("/linux/seccomp/{pointer}").as_str()));
        assert_eq!(error.message(), message);
    }
}

#[test]
fn another_byte_order_is_unsupported() {
    let error = refusal(json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_S390X"]
    }));
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.pointer(), Some("/linux/seccomp/architectures/1"));
}

#[test]
fn flags_and_listener() {
    let filter = |flags: Value, action| {
        let mut profile = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": "/agent",
            "listenerMetadata": "which",
            "syscalls": [{ "names": ["close"], "action": action }]
        });
        if !flags.is_null() {
            profile["flags"] = flags;
        }
        compile(&parse(profile)).unwrap()
    };
    let trap = |flags| filter(flags, "SCMP_ACT_TRAP");
    assert_eq!(trap(Value::Null).flags(), flags::SPEC_ALLOW);
    assert_eq!(trap(json!([])).flags(), 0);
    assert_eq!(trap(json!(["SECCOMP_FILTER_FLAG_TSYNC"])).flags(), 0);
    assert_eq!(
        trap(json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"])).flags(),
        flags::LOG | flags::SPEC_ALLOW
    );
    assert_eq!(trap(json!([])).notify(), None);
    let notify = filter(json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]), "SCMP_ACT_NOTIFY");
    assert_eq!(notify.flags(), flags::NEW_LISTENER | flags::WAIT_KILLABLE_RECV);
    let listener = notify.notify().unwrap();
    assert_eq!(listener.listener_path.to_str(), Some("/agent"));
    assert_eq!(listener.metadata.as_deref(), Some("which"));
}

#[test]
fn newer_calls_give_enosys_unless_the_default_is_permissive() {
    let with = |default: &str, arches: Value| {
        json!({
            "defaultAction": default,
            "architectures": arches,
            "syscalls": [{ "names": ["close", "no_such_call"], "action": "SCMP_ACT_LOG" }]
        })
    };
    let x32 = 0x4000_0000;
    let strict = || with("SCMP_ACT_ERRNO", json!(["SCMP_ARCH_X86"]));
    assert_eq!(run(strict(), X86_64, 2, [0; 6]), EPERM);
    assert_eq!(run(strict(), X86_64, 4, [0; 6]), ENOSYS);
    assert_eq!(run(strict(), 0x4000_0003, 7, [0; 6]), ENOSYS);
    assert_eq!(run(strict(), X86_64, x32 | 3, [0; 6]), KILL_THREAD);
    assert_eq!(run(strict(), X86_64, 0x8000_0003, [0; 6]), ENOSYS);
    assert_eq!(run(strict(), X86_64, u32::MAX, [0; 6]), EPERM);
    let both = || with("SCMP_ACT_ERRNO", json!(["SCMP_ARCH_X32"]));
    assert_eq!(run(both(), X86_64, x32 | 3, [0; 6]), 0x7ffc_0000);
    assert_eq!(run(both(), X86_64, x32 | 4, [0; 6]), ENOSYS);
    assert_eq!(run(both(), X86_64, u32::MAX, [0; 6]), ENOSYS);
    assert_eq!(run(with("SCMP_ACT_ALLOW", json!([])), X86_64, 4, [0; 6]), ALLOW);
    assert_eq!(run(with("SCMP_ACT_TRACE", json!([])), X86_64, 4, [0; 6]), 0x7ff0_0001);
    assert_eq!(run(with("SCMP_ACT_KILL", json!([])), X86_64, 4, [0; 6]), ENOSYS);
}

#[test]
fn several_conditions_on_one_argument_are_alternatives() {
    let arg = |index, value| json!({ "index": index, "value": value, "op": "SCMP_CMP_EQ" });
    let with = |args| {
        json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            { "names": ["close"], "action": "SCMP_ACT_ALLOW", "args": args }
        ] })
    };
    let both = json!([arg(0, 1), arg(1, 2)]);
    assert_eq!(run(with(both.clone()), X86_64, 3, [1, 2, 0, 0, 0, 0]), ALLOW);
    assert_eq!(run(with(both), X86_64, 3, [1, 0, 0, 0, 0, 0]), EPERM);
    let either = json!([arg(0, 1), arg(1, 2), arg(0, 3)]);
    assert_eq!(run(with(either.clone()), X86_64, 3, [3, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(run(with(either), X86_64, 3, [0, 2, 0, 0, 0, 0]), ALLOW);
}

#[test]
fn all_architectures_of_the_spec_parse() {
    for name in "X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC \
                 PPC64 PPC64LE S390 S390X PARISC PARISC64 RISCV64 LOONGARCH64 M68K SH SHEB"
        .split_whitespace()
    {
        let arch = format!("SCMP_ARCH_{name}");
        let profile = parse(json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": [arch] }));
        let native = profile.architectures().as_ref().unwrap()[0];
        compile_for(&profile, native).unwrap();
    }
}

/// As many rules as fit need long jumps; more are refused.
#[test]
fn large_filters() {
    let with = |count: u64| {
        let args = |value| json!([{ "index": 0, "value": value * 3, "op": "SCMP_CMP_EQ" }]);
        let rules: Vec<_> = (0..count)
            .map(|value| {
                json!({
                    "names": ["close", "dup"],
                    "action": if value % 2 == 0 { "SCMP_ACT_ALLOW" } else { "SCMP_ACT_TRAP" },
                    "args": args(value)
                })
            })
            .collect();
        json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules })
    };
    let filter = compile(&parse(with(1000))).unwrap();
    let machine = Machine::load(filter.program_bytes(), false);
    for value in 0..3000 {
        let expected = match value {
            _ if value % 3 != 0 => EPERM,
            _ if value % 2 == 0 => ALLOW,
            _ => 0x0003_0000,
        };
        let data = Data { nr: 3, arch: X86_64, args: [value, 0, 0, 0, 0, 0] };
        assert_eq!(machine.run(&data).0, expected, "{value}");
    }
    let error = refusal(with(10_000));
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("the kernel takes 4096"), "{error}");
}

#[test]
fn compilation_is_deterministic_and_in_order_of_nothing() {
    let profile = docker();
    assert_eq!(compile(&profile).unwrap(), compile(&profile).unwrap());
    let mut reversed = profile.clone();
    reversed.set_syscalls(profile.syscalls().clone().map(|mut rules| {
        rules.reverse();
        rules
    }));
    assert_eq!(compile(&profile).unwrap(), compile(&reversed).unwrap());
}

#[test]
fn cache_keeps_the_latest() {
    let cache = Cache::default();
    let profile = docker();
    let first = cache.get(&profile).unwrap();
    assert!(Arc::ptr_eq(&first, &cache.get(&profile).unwrap()));
    let other = |errno| {
        let mut profile = docker();
        profile.set_default_errno_ret(Some(errno));
        profile
    };
    for errno in 2..20 {
        cache.get(&other(errno)).unwrap();
        assert!(Arc::ptr_eq(&first, &cache.get(&profile).unwrap()), "used all the time");
    }
    for errno in 20..40 {
        cache.get(&other(errno)).unwrap();
    }
    let again = cache.get(&profile).unwrap();
    assert!(!Arc::ptr_eq(&first, &again));
    assert_eq!(first, again);
    assert!(cache.get(&other(5000)).is_err());
}

/// The figures of docs/decisions/0004.
#[test]
fn figures() {
    let profile = docker();
    let filter = compile(&profile).unwrap();
    let machine = Machine::load(filter.program_bytes(), false);
    let steps = |nr| machine.run(&Data { nr, arch: X86_64, args: [0; 6] }).1;
    let calls: Vec<_> = (0..450).map(steps).collect();
    let rounds: u32 = if cfg!(debug_assertions) { 1 } else { 1000 };
    let start = Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(compile(std::hint::black_box(&profile)).unwrap());
    }
    println!(
        "Docker's profile: {} instructions, {} on average and at most {} a call, {:?} to compile",
        machine.len(),
        calls.iter().sum::<usize>() / calls.len(),
        calls.iter().max().unwrap(),
        start.elapsed() / rounds,
    );
    assert!(machine.len() <= 250 && machine.len() < assemble::MAX_INSTRUCTIONS);
}
