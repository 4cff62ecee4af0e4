//! Id mappings: `uidmap=` and `gidmap=`, which snapshotters with the capability `remap-ids`
//! (containerd 2.0 and later) give for containers with a user namespace.

use std::fmt::Write;
use std::fs::{self, File};
use std::os::fd::OwnedFd;

use super::sys;
use crate::failure::{Code, During, Failure, Result};

/// Both maps, in the words of `/proc/PID/uid_map`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IdMaps {
    uids: String,
    gids: String,
}

impl IdMaps {
    /// Reads lists of `container:host:size`.
    pub(super) fn parse(uids: &str, gids: &str) -> Result<Self> {
        Ok(Self { uids: map("uidmap", uids)?, gids: map("gidmap", gids)? })
    }

    /// A user namespace with these maps. It takes a process to make one; that one ends here, and
    /// the descriptor keeps the namespace.
    pub(super) fn namespace(&self) -> Result<OwnedFd> {
        let process = sys::UserNamespaceProcess::start()
            .during("clone3: a user namespace for uidmap= and gidmap=")?;
        let dir = format!("/proc/{}", process.pid());
        fs::write(format!("{dir}/uid_map"), &self.uids)
            .during(format_args!("write the user namespace's uid_map {:?}", self.uids))?;
        fs::write(format!("{dir}/gid_map"), &self.gids)
            .during(format_args!("write the user namespace's gid_map {:?}", self.gids))?;
        let namespace = File::open(format!("{dir}/ns/user")).during("open the user namespace")?;
        Ok(namespace.into())
    }
}

fn map(option: &str, list: &str) -> Result<String> {
    let mut lines = String::new();
    for entry in list.split(',') {
        let numbers: Vec<u32> = entry.split(':').map_while(|number| number.parse().ok()).collect();
        let [container, host, size] = numbers[..] else {
            return Err(bad(option, entry, "is not CONTAINER-ID:HOST-ID:SIZE"));
        };
        if entry.split(':').count() != 3 {
            return Err(bad(option, entry, "is not CONTAINER-ID:HOST-ID:SIZE"));
        }
        // user_namespaces(7): 4294967295 is no id, and ranges don't wrap.
        let end = container.max(host).checked_add(size);
        if size == 0 || end.is_none() {
            return Err(bad(option, entry, "is no range of ids"));
        }
        // Writing to a string doesn't fail.
        let _ = writeln!(lines, "{container} {host} {size}");
    }
    Ok(lines)
}

fn bad(option: &str, entry: &str, what: &str) -> Failure {
    Failure::new(Code::InvalidArgument, format!("{option}=: {entry:?} {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_three_numbers() {
        let maps = IdMaps::parse("0:1000:1,1:100000:65535", "0:5:2").unwrap();
        assert_eq!(maps.uids, "0 1000 1\n1 100000 65535\n");
        assert_eq!(maps.gids, "0 5 2\n");
        let bad =
            ["", "0", "0:1", "0:1:2:3", "a:1:2", "0:1:2:x", "0:-1:2", "0:1:0", "0:1:2,", " 0:1:2"];
        for bad in bad.into_iter().chain(["0:4294967295:1", "4294967290:0:6", "0:4294967296:1"]) {
            let failure = IdMaps::parse("0:0:1", bad).unwrap_err();
            assert_eq!(failure.code, Code::InvalidArgument, "{bad}");
            assert!(failure.message.starts_with("gidmap="), "{}", failure.message);
        }
    }
}
