//! `linux.seccomp` checked and made plain: actions are the kernel's return values, names are rows
//! of the tables. What is refused here is what runc, libseccomp or the kernel would refuse.

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator as Op, LinuxSyscall,
};

use super::arch::Abi;
use super::tables::{self, Row};
use super::{Notify, flags};
use crate::error::{Error, Result};

/// seccomp(2)'s return values, see include/uapi/linux/seccomp.h.
pub(super) mod ret {
    pub(in crate::seccomp) const KILL_PROCESS: u32 = 0x8000_0000;
    pub(in crate::seccomp) const KILL_THREAD: u32 = 0;
    pub(in crate::seccomp) const TRAP: u32 = 0x0003_0000;
    pub(in crate::seccomp) const ERRNO: u32 = 0x0005_0000;
    pub(in crate::seccomp) const USER_NOTIF: u32 = 0x7fc0_0000;
    pub(in crate::seccomp) const TRACE: u32 = 0x7ff0_0000;
    pub(in crate::seccomp) const LOG: u32 = 0x7ffc_0000;
    pub(in crate::seccomp) const ALLOW: u32 = 0x7fff_0000;
}

const EPERM: u32 = 1;
/// The kernel cuts SECCOMP_RET_ERRNO's value down to its MAX_ERRNO; libseccomp refuses this much.
const MAX_ERRNO: u32 = 4095;
/// The low 16 bits of a return value, SECCOMP_RET_DATA, belong to the filter.
const RET_DATA: u32 = 0xffff;
/// `seccomp_data` has six arguments.
const ARGUMENTS: usize = 6;

/// A profile, ready to be compiled.
pub(super) struct Policy<'a> {
    /// The return value for a system call without a rule.
    pub(super) default: u32,
    /// The native interface first, then the profile's others.
    pub(super) abis: Vec<Abi>,
    pub(super) rules: Vec<Rule<'a>>,
    /// Each system call that the profile names, those of superfluous rules too.
    pub(super) named: Vec<&'static Row>,
    /// Whether unknown system calls that are newer than the profile give ENOSYS.
    pub(super) enosys: bool,
    /// SECCOMP_FILTER_FLAG_*.
    pub(super) flags: u32,
    pub(super) notify: Option<Notify>,
}

/// One name of one element of `syscalls`.
pub(super) struct Rule<'a> {
    /// The element's index.
    pub(super) index: usize,
    pub(super) name: &'a str,
    pub(super) row: &'static Row,
    pub(super) action: u32,
    /// All must hold. At most one for each argument, sorted by argument.
    pub(super) conditions: Vec<Condition>,
}

/// A comparison of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) arg: u8,
    pub(super) op: Op,
    /// All ones, but for SCMP_CMP_MASKED_EQ.
    pub(super) mask: u64,
    pub(super) value: u64,
}

impl<'a> Policy<'a> {
    pub(super) fn new(profile: &'a LinuxSeccomp, native: Arch) -> Result<Self> {
        let default = return_value(
            profile.default_action(),
            profile.default_errno_ret(),
            "/linux/seccomp/defaultErrnoRet",
        )?;
        if default == ret::USER_NOTIF {
            return Err(Error::config(
                "/linux/seccomp/defaultAction",
                "SCMP_ACT_NOTIFY cannot be used as default action",
            )
            .with_hint("the listener is sent to the agent under the filter itself"));
        }
        let abis = abis(profile, native)?;
        let mut rules = Vec::new();
        let mut named = Vec::new();
        let mut notifies = false;
        for (index, syscall) in profile.syscalls().iter().flatten().enumerate() {
            let action = return_value(
                syscall.action(),
                syscall.errno_ret(),
                &format!("/linux/seccomp/syscalls/{index}/errnoRet"),
            )?;
            check_names(syscall, index)?;
            notifies |= action == ret::USER_NOTIF && !syscall.names().is_empty();
            let alternatives = conditions(syscall, index)?;
            for name in syscall.names() {
                // As runc does: what libseccomp doesn't know, the kernel hardly has.
                let Some(row) = tables::find(name) else { continue };
                named.push(row);
                if action == default {
                    continue;
                }
                for conditions in &alternatives {
                    let conditions = conditions.clone();
                    rules.push(Rule { index, name, row, action, conditions });
                }
            }
        }
        let notify = notify(profile, notifies)?;
        let enosys = !matches!(
            profile.default_action(),
            // A permissive default is left alone. A tracer knows best what to do with new calls.
            Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace
        );
        let flags = filter_flags(profile, notify.is_some())?;
        Ok(Self { default, abis, rules, named, enosys, flags, notify })
    }
}

/// An action as seccomp(2)'s return value.
fn return_value(action: Action, errno: Option<u32>, pointer: &str) -> Result<u32> {
    let plain = match action {
        Action::ScmpActErrno => {
            let errno = errno.unwrap_or(EPERM);
            if errno >= MAX_ERRNO {
                return Err(Error::config(pointer, format!("{errno} is not an errno")));
            }
            return Ok(ret::ERRNO | errno);
        }
        Action::ScmpActTrace => {
            let message = errno.unwrap_or(EPERM);
            if message > RET_DATA {
                return Err(Error::config(pointer, format!("{message} has more than 16 bits")));
            }
            return Ok(ret::TRACE | message);
        }
        Action::ScmpActKill | Action::ScmpActKillThread => ret::KILL_THREAD,
        Action::ScmpActKillProcess => ret::KILL_PROCESS,
        Action::ScmpActTrap => ret::TRAP,
        Action::ScmpActNotify => ret::USER_NOTIF,
        Action::ScmpActLog => ret::LOG,
        Action::ScmpActAllow => ret::ALLOW,
    };
    match errno {
        None => Ok(plain),
        // The runtime-spec demands it ("MUST … fail"), crun does so, runc ignores the value.
        Some(_) => Err(Error::config(pointer, format!("{action} takes no errno"))),
    }
}

/// The native interface and the profile's. A filter reads the arguments' words in the machine's
/// byte order, so that no machine runs programs of the other one: libseccomp refuses them.
fn abis(profile: &LinuxSeccomp, native: Arch) -> Result<Vec<Abi>> {
    let native = Abi::of(native);
    let mut abis = vec![native];
    for (index, arch) in profile.architectures().iter().flatten().enumerate() {
        let abi = if *arch == Arch::ScmpArchNative { native } else { Abi::of(*arch) };
        if abi.is_little_endian() != native.is_little_endian() {
            return Err(Error::unsupported(
                format!("/linux/seccomp/architectures/{index}"),
                format!("{arch} has another byte order than this machine"),
            ));
        }
        if !abis.contains(&abi) {
            abis.push(abi);
        }
    }
    Ok(abis)
}

fn check_names(syscall: &LinuxSyscall, index: usize) -> Result<()> {
    for (position, name) in syscall.names().iter().enumerate() {
        let refuse = |message| {
            let pointer = format!("/linux/seccomp/syscalls/{index}/names/{position}");
            Err(Error::config(pointer, message))
        };
        if name.is_empty() {
            return refuse("empty string is not a valid syscall");
        }
        // As in runc. A writer that waits for the agent could not tell anyone of its listener.
        if syscall.action() == Action::ScmpActNotify && name == "write" {
            return refuse("SCMP_ACT_NOTIFY cannot be used for the write syscall");
        }
    }
    Ok(())
}

/// The sets of conditions, one of which must hold.
fn conditions(syscall: &LinuxSyscall, index: usize) -> Result<Vec<Vec<Condition>>> {
    let mut all = Vec::new();
    for (position, arg) in syscall.args().iter().flatten().enumerate() {
        all.push(condition(arg, || {
            format!("/linux/seccomp/syscalls/{index}/args/{position}/index")
        })?);
    }
    all.sort_by_key(|condition| condition.arg);
    if all.windows(2).any(|pair| matches!(pair, [a, b] if a.arg == b.arg)) {
        // libseccomp takes one condition an argument. runc keeps to what it did before it knew
        // that several can be and-ed: each becomes a rule of its own.
        return Ok(all.into_iter().map(|condition| vec![condition]).collect());
    }
    Ok(vec![all])
}

fn condition(arg: &LinuxSeccompArg, pointer: impl Fn() -> String) -> Result<Condition> {
    let index = arg.index();
    let number = u8::try_from(index)
        .ok()
        .filter(|_| index < ARGUMENTS)
        .ok_or_else(|| Error::config(pointer(), "a system call has arguments 0 to 5"))?;
    let (mask, value) = match arg.op() {
        // Bits of the value outside the mask are dropped: libseccomp does so.
        Op::ScmpCmpMaskedEq => (arg.value(), arg.value_two().unwrap_or(0) & arg.value()),
        _ => (u64::MAX, arg.value()),
    };
    Ok(Condition { arg: number, op: arg.op(), mask, value })
}

fn notify(profile: &LinuxSeccomp, notifies: bool) -> Result<Option<Notify>> {
    let path = profile.listener_path().as_ref().filter(|path| !path.as_os_str().is_empty());
    let metadata = profile.listener_metadata().clone().filter(|metadata| !metadata.is_empty());
    match path {
        Some(path) if notifies => Ok(Some(Notify { listener_path: path.clone(), metadata })),
        None if notifies => Err(Error::config(
            "/linux/seccomp/listenerPath",
            "SCMP_ACT_NOTIFY is used and listenerPath is not set",
        )),
        None if metadata.is_some() => Err(Error::config(
            "/linux/seccomp/listenerMetadata",
            "listenerMetadata is set and listenerPath is not",
        )),
        _ => Ok(None),
    }
}

fn filter_flags(profile: &LinuxSeccomp, notifies: bool) -> Result<u32> {
    let mut all = if notifies { flags::NEW_LISTENER } else { 0 };
    let Some(list) = profile.flags() else {
        // runc since 1.1: whoever says nothing gets no mitigation against Spectre v4, which costs
        // much and is of use to programs with a JIT compiler only. An empty list turns it on.
        return Ok(all | flags::SPEC_ALLOW);
    };
    for (index, flag) in list.iter().enumerate() {
        all |= match flag {
            // Init has one thread; with NEW_LISTENER the kernel refuses TSYNC alone.
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync => 0,
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => flags::LOG,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => flags::SPEC_ALLOW,
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv if notifies => {
                flags::WAIT_KILLABLE_RECV
            }
            // seccomp(2) would say EINVAL.
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => {
                return Err(Error::config(
                    format!("/linux/seccomp/flags/{index}"),
                    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs a rule with SCMP_ACT_NOTIFY",
                ));
            }
        };
    }
    Ok(all)
}
