//! The library's view of the report page: hostile input, read with pread(2).

use std::os::fd::OwnedFd;
use std::time::Duration;

use hoist_init::page::{MESSAGE_LEN, NOTIFY_TAKEN_AT, Op, Page, ROLE_INNER, TIMES_AT, size_for};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// The report page of one spawned process.
#[derive(Debug)]
pub(crate) struct Report {
    page: OwnedFd,
}

/// What the page says at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    /// Inner wrote last, not outer.
    pub(crate) inner: bool,
    /// The index of the step that is or was being done.
    pub(crate) step: u32,
    /// That step's opcode.
    pub(crate) code: u32,
    /// Set if that step failed.
    pub(crate) failure: Option<Failure>,
    /// The number of the seccomp notify descriptor in inner.
    pub(crate) notify: Option<i32>,
    /// Inner's pid, once there is one.
    pub(crate) inner_pid: u32,
    /// Capabilities that could not be granted, as a mask.
    pub(crate) ungranted: u64,
}

/// A step's failure.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) errno: Errno,
    pub(crate) op: Option<Op>,
    /// What the kernel's mount log said.
    pub(crate) message: String,
}

impl Report {
    /// A new, zeroed page, with room for the times of a few hundred steps.
    pub(crate) fn new() -> Result<Self> {
        let make = || {
            let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
            let page =
                match rustix::fs::memfd_create(c"hoist-report", flags | MemfdFlags::NOEXEC_SEAL) {
                    Err(Errno::INVAL) => rustix::fs::memfd_create(c"hoist-report", flags)?,
                    other => other?,
                };
            rustix::fs::ftruncate(&page, size_for(0) as u64)?;
            Ok(page)
        };
        make()
            .map(|page| Self { page })
            .map_err(|errno| Error::system("make the report page", errno))
    }

    /// Makes it as large as a plan of so many steps needs, and seals it against changes of its size.
    pub(crate) fn seal(&self, steps: u32) -> Result<()> {
        let seal = || {
            if size_for(steps) > size_for(0) {
                rustix::fs::ftruncate(&self.page, size_for(steps) as u64)?;
            }
            let size = SealFlags::SHRINK | SealFlags::GROW;
            rustix::fs::fcntl_add_seals(&self.page, SealFlags::SEAL | size)
        };
        seal().map_err(|errno| Error::system("make the report page", errno))
    }

    pub(crate) fn descriptor(&self) -> &OwnedFd {
        &self.page
    }

    /// Reads the page.
    pub(crate) fn read(&self) -> Result<Snapshot> {
        let mut bytes = [0u8; TIMES_AT];
        let length = rustix::io::pread(&self.page, &mut bytes[..], 0)
            .map_err(|errno| Error::system("read the report page", errno))?;
        Ok(Snapshot::parse(bytes.get(..length).unwrap_or_default()))
    }

    /// Tells init that the notify descriptor was taken.
    pub(crate) fn notify_taken(&self) -> Result<()> {
        rustix::io::pwrite(&self.page, &1u32.to_le_bytes(), NOTIFY_TAKEN_AT)
            .map(drop)
            .map_err(|errno| Error::system("write the report page", errno))
    }

    /// The time that each step took; `None` for steps whose end was not clocked.
    pub(crate) fn times(&self, steps: u32) -> Result<Vec<Option<Duration>>> {
        let mut bytes = vec![0u8; 8 * (steps as usize + 1)];
        let length = rustix::io::pread(&self.page, &mut bytes[..], TIMES_AT as u64)
            .map_err(|errno| Error::system("read the report page", errno))?;
        bytes.truncate(length);
        Ok(durations(&bytes))
    }
}

impl Snapshot {
    /// What anybody may have written.
    pub(crate) fn parse(page: &[u8]) -> Self {
        let field = |at: usize| u32_at(page, at);
        let message_len =
            (field(std::mem::offset_of!(Page, message_len)) as usize).min(MESSAGE_LEN);
        let message_at = std::mem::offset_of!(Page, message);
        let message = page.get(message_at..message_at + message_len).unwrap_or_default();
        let failed = field(std::mem::offset_of!(Page, failed)) != 0;
        let errno = field(std::mem::offset_of!(Page, errno)).cast_signed();
        let failure = failed.then(|| Failure {
            errno: Errno::from_raw_os_error(if (1..4096).contains(&errno) {
                errno
            } else {
                Errno::INVAL.raw_os_error()
            }),
            op: Op::from_u32(field(std::mem::offset_of!(Page, op))),
            message: printable(message),
        });
        let ungranted = std::mem::offset_of!(Page, ungranted);
        Self {
            inner: field(std::mem::offset_of!(Page, role)) == ROLE_INNER,
            step: field(std::mem::offset_of!(Page, step)),
            code: field(std::mem::offset_of!(Page, code)),
            failure,
            notify: i32::try_from(field(std::mem::offset_of!(Page, notify)))
                .ok()
                .and_then(|number| number.checked_sub(1))
                .filter(|number| *number >= 0),
            inner_pid: field(std::mem::offset_of!(Page, inner)),
            ungranted: u64::from(field(ungranted)) | u64::from(field(ungranted + 4)) << 32,
        }
    }
}

/// What lies between the clocks' readings.
pub(crate) fn durations(bytes: &[u8]) -> Vec<Option<Duration>> {
    let clocks: Vec<u64> =
        bytes.chunks_exact(8).map(|chunk| chunk.try_into().map_or(0, u64::from_le_bytes)).collect();
    clocks
        .windows(2)
        .map(|pair| match pair {
            [before, after] if *before != 0 && *after != 0 => {
                Some(Duration::from_nanos(after.saturating_sub(*before)))
            }
            _ => None,
        })
        .collect()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// Text from the page without control characters.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    // The kernel's log marks each line: "e" for an error.
    let text = text.strip_prefix("e ").unwrap_or(text);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
