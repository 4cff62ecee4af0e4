//! What results are told to come from: the machine, the day, the programs.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::failure::{Context, Result};
use crate::job::Peer;
use crate::results::{Machine, Runtime};

pub(crate) fn machine() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let release = read("/etc/os-release");
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let kernel = rustix::system::uname();
    let info = read("/proc/cpuinfo");
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let virtual_machine = field("flags").is_some_and(|flags| flags.contains("hypervisor"));
    Machine {
        system: format!(
            "Linux {}, {}",
            kernel.release().to_string_lossy(),
            name.map_or("unknown", |name| name.trim_matches('"'))
        ),
        cpu: field("model name").unwrap_or_else(|| kernel.machine().to_string_lossy().into_owned()),
        cores: std::thread::available_parallelism().map_or(1, Into::into),
        hypervisor: virtual_machine.then(hypervisor),
    }
}

/// As far as the machine tells it.
fn hypervisor() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let firmware = read("/sys/class/dmi/id/sys_vendor");
    let acpi = fs::read("/sys/firmware/acpi/tables/DSDT").unwrap_or_default();
    let known = |name: &str| acpi.windows(name.len()).any(|bytes| bytes == name.as_bytes());
    match firmware.trim() {
        "" if known("FIRECK") => "Firecracker".to_owned(),
        "" => "unnamed".to_owned(),
        vendor => vendor.to_owned(),
    }
}

/// Today, in UTC.
pub(crate) fn date() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    civil(now.as_secs() / 86_400)
}

/// The date of a day after 1970 (Howard Hinnant's `civil_from_days`).
fn civil(days: u64) -> String {
    let days = days + 719_468;
    let era = days / 146_097;
    let day = days % 146_097;
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{date:02}", year + era * 400 + next)
}

pub(crate) fn describe(peer: &Peer) -> Result<Runtime> {
    Ok(Runtime {
        name: peer.name.clone(),
        version: if peer.is_floor() {
            "what the kernel alone takes".to_owned()
        } else {
            version(&peer.path)?
        },
        linked_statically: is_static(&peer.path)?,
        size: fs::metadata(&peer.path).context(peer.path.display())?.len(),
    })
}

/// The first line of `--version`.
fn version(path: &Path) -> Result<String> {
    let output = Command::new(path).arg("--version").stdin(Stdio::null()).output();
    let output = output.context(path.display())?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or("unknown").trim().to_owned())
}

/// Whether a program of 64 bits runs without an interpreter (elf(5): no PT_INTERP).
pub(crate) fn is_static(path: &Path) -> Result<bool> {
    let mut image = Vec::new();
    let file = fs::File::open(path).context(path.display())?;
    // The program headers follow the file's header, which is at its beginning.
    file.take(4096).read_to_end(&mut image).context(path.display())?;
    let number = |at: usize, length: usize| {
        let bytes = image.get(at..at + length).unwrap_or_default();
        bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    };
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    Ok((0..count).all(|index| number(table + index * size, 4) != 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (days, date) in [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_777, "2026-11-20"),
            (20_818, "2026-12-31"),
        ] {
            assert_eq!(civil(days), date);
        }
    }

    #[test]
    fn this_machine_has_a_name() {
        let machine = machine();
        assert!(machine.system.starts_with("Linux "), "{machine:?}");
        assert!(machine.cores > 0 && !machine.cpu.is_empty(), "{machine:?}");
    }
}
