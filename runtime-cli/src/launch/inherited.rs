//! Descriptors that the caller passed to this program and wants passed on.

use std::fs;
use std::os::fd::{OwnedFd, RawFd};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use crate::failure::{Context, Failure, Result};

/// The first one after stdio, for systemd (sd_listen_fds(3)) and for `--preserve-fds`.
const FIRST: u32 = 3;

/// How many sockets systemd passes to this program, and the environment that says so inside.
pub(super) fn sockets() -> (u32, Vec<(&'static str, String)>) {
    let variable = |name| std::env::var(name).ok();
    announced(
        variable("LISTEN_PID").as_deref(),
        variable("LISTEN_FDS").as_deref(),
        variable("LISTEN_FDNAMES"),
        std::process::id(),
    )
}

fn announced(
    pid: Option<&str>,
    count: Option<&str>,
    names: Option<String>,
    own_pid: u32,
) -> (u32, Vec<(&'static str, String)>) {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u32>().ok());
    let count = match number(count) {
        Some(count) if count > 0 && number(pid) == Some(own_pid) => count,
        // They are for somebody else, who is likely to be an ancestor.
        _ => return (0, Vec::new()),
    };
    // The process is the first one of its pid namespace, as a rule.
    let mut environment = vec![("LISTEN_FDS", count.to_string()), ("LISTEN_PID", "1".to_owned())];
    environment.extend(names.map(|names| ("LISTEN_FDNAMES", names)));
    (count, environment)
}

/// Duplicates of `sockets + more` inherited descriptors, from 3 on.
pub(super) fn descriptors(sockets: u32, more: u32) -> Result<Vec<OwnedFd>> {
    let Some(end) = FIRST.checked_add(sockets).and_then(|first| first.checked_add(more)) else {
        return Err(Failure::new("too many descriptors to preserve"));
    };
    if end == FIRST {
        return Ok(Vec::new());
    }
    // The safe way to a descriptor of which only the number is known.
    let own = needs("pidfd_open (Linux 5.3)", pidfd_open(getpid(), PidfdFlags::empty()))?;
    (FIRST..end)
        .map(|number| {
            if is_inherited(number) {
                let raw = RawFd::try_from(number).unwrap_or(RawFd::MAX);
                let duplicate = pidfd_getfd(&own, raw, PidfdGetfdFlags::empty());
                return needs("pidfd_getfd (Linux 5.6)", duplicate);
            }
            let (index, of) = (number - FIRST, end - FIRST);
            let missing = Err(Errno::BADF);
            missing.context(format_args!("unable to stat preserved-fd {index} (of {of})"))
        })
        .collect()
}

/// Says so if a system call isn't there: the kernel is too old, or a seccomp profile leaves it out, such
/// as Docker's, which has pidfd_getfd for those with CAP_SYS_PTRACE only.
fn needs<T>(call: &str, result: rustix::io::Result<T>) -> Result<T> {
    const WHAT: &str = "unable to pass descriptors on";
    match result {
        Err(Errno::NOSYS | Errno::PERM) => {
            result.context(format_args!("{WHAT}: this host lacks {call}"))
        }
        _ => result.context(WHAT),
    }
}

/// Whether the caller has passed this one: our own ones, such as the log file's, are all closed on
/// exec, and nothing that was can have come to us.
fn is_inherited(number: u32) -> bool {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|text| u32::from_str_radix(text.trim(), 8).ok());
    flags.is_some_and(|flags| !OFlags::from_bits_retain(flags).contains(OFlags::CLOEXEC))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn sockets_are_taken_if_they_are_for_us() {
        let taken =
            |pid, count, names: Option<&str>| announced(pid, count, names.map(str::to_owned), 7).0;
        assert_eq!(taken(Some("7"), Some("2"), None), 2);
        assert_eq!(taken(Some("8"), Some("2"), None), 0);
        assert_eq!(taken(None, Some("2"), None), 0);
        assert_eq!(taken(Some("7"), Some("0"), None), 0);
        assert_eq!(taken(Some("7"), Some("x"), None), 0);
        let (_, environment) = announced(Some("7"), Some("1"), Some("web".to_owned()), 7);
        assert_eq!(
            environment,
            [
                ("LISTEN_FDS", "1".to_owned()),
                ("LISTEN_PID", "1".to_owned()),
                ("LISTEN_FDNAMES", "web".to_owned())
            ]
        );
    }

    #[test]
    fn our_own_descriptors_are_not_inherited() {
        let own = fs::File::open("/dev/null").unwrap();
        let number = u32::try_from(own.as_raw_fd()).unwrap();
        assert!(!is_inherited(number));
        rustix::io::fcntl_setfd(&own, rustix::io::FdFlags::empty()).unwrap();
        assert!(is_inherited(number));
        assert!(!is_inherited(100_000));
    }

    #[test]
    fn what_is_not_there_can_not_be_preserved() {
        assert!(descriptors(0, 0).unwrap().is_empty());
        let failure = descriptors(0, 4000).unwrap_err();
        let message = failure.message().unwrap();
        assert!(message.starts_with("unable to stat preserved-fd "), "{message}");
        assert!(message.ends_with("(of 4000): bad file descriptor"), "{message}");
        assert!(descriptors(u32::MAX, 1).is_err());
    }
}
