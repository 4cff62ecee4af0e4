//! Lines for containerd's log, through the fifo in the bundle.
//!
//! containerd copies what it reads there to its own log as it is, so it is written as logrus has it.

mod line;

use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::{FileType, Mode, OFlags, fstat, open};

use crate::failure::{Code, During, Failure, Result};
use line::{Level, line};

/// The longest line. fifo(7): a write of up to `PIPE_BUF` bytes is done as a whole or not at all, so
/// lines of several threads don't mix and a full fifo takes no half of one.
const LONGEST: usize = 4096;

/// A handle of the log. Its copies write to the same place, from whatever thread.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    to: Arc<To>,
    debug: bool,
}

#[derive(Debug)]
enum To {
    Fifo(OwnedFd),
    Stderr,
    Nowhere,
}

impl Log {
    /// The log of a shim that serves: the fifo `log` that containerd has made in the bundle.
    ///
    /// fifo(7): on Linux it can be opened for reading and writing, and then nothing waits for a
    /// reader, and a write without one is no error. Lines that nobody reads because containerd is
    /// just restarting stay in the fifo until it is back; what doesn't fit, is dropped.
    pub(crate) fn open(bundle: &Path, debug: bool) -> Result<Self> {
        let path = bundle.join("log");
        let during = || format!("open the log {}", path.display());
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fifo = open(&path, flags, Mode::empty()).during(during())?;
        if FileType::from_raw_mode(fstat(&fifo).during(during())?.st_mode) != FileType::Fifo {
            return Err(Failure::new(Code::InvalidArgument, "not a fifo").during(&during()));
        }
        Ok(Self { to: Arc::new(To::Fifo(fifo)), debug })
    }

    /// The log of a command.
    pub(crate) fn stderr(debug: bool) -> Self {
        Self { to: Arc::new(To::Stderr), debug }
    }

    /// A log that keeps nothing.
    pub(crate) fn nowhere() -> Self {
        Self { to: Arc::new(To::Nowhere), debug: false }
    }

    pub(crate) fn error(&self, message: impl Display) {
        self.write(Level::Error, &message);
    }

    pub(crate) fn warn(&self, message: impl Display) {
        self.write(Level::Warning, &message);
    }

    pub(crate) fn info(&self, message: impl Display) {
        self.write(Level::Info, &message);
    }

    /// With `format_args!` the message is made only where it is wanted.
    pub(crate) fn debug(&self, message: impl Display) {
        if self.debug {
            self.write(Level::Debug, &message);
        }
    }

    fn write(&self, level: Level, message: &dyn Display) {
        let line = line(level, &message.to_string(), SystemTime::now(), LONGEST);
        // There is nobody to tell if that fails.
        let _ = match &*self.to {
            To::Fifo(fifo) => rustix::io::write(fifo, line.as_bytes()),
            To::Stderr => rustix::io::write(rustix::stdio::stderr(), line.as_bytes()),
            To::Nowhere => Ok(0),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use super::*;
    use crate::testing::Scratch;

    fn fifo(name: &str) -> (Scratch, std::path::PathBuf) {
        let scratch = Scratch::new(name);
        let path = scratch.path().join("log");
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, mode, 0).unwrap();
        (scratch, path)
    }

    fn read(path: &Path) -> File {
        File::from(open(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap())
    }

    fn take(reader: &mut File) -> String {
        let mut text = vec![0; 1 << 17];
        let mut length = 0;
        while let Ok(more) = reader.read(&mut text[length..]) {
            if more == 0 {
                break;
            }
            length += more;
        }
        String::from_utf8(text[..length].to_vec()).unwrap()
    }

    #[test]
    fn lines_wait_for_a_reader_and_survive_its_restart() {
        let (scratch, path) = fifo("log-restart");
        let log = Log::open(scratch.path(), false).unwrap();
        log.info("early");
        let mut reader = read(&path);
        log.clone().warn("with a reader");
        log.debug("not wanted");
        let text = take(&mut reader);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("level=info msg=early runtime="), "{text}");
        assert!(text.contains("level=warning msg=\"with a reader\" runtime="), "{text}");
        drop(reader);
        log.error("nobody reads");
        assert!(take(&mut read(&path)).contains("level=error msg=\"nobody reads\" runtime="));
    }

    #[test]
    fn a_full_fifo_drops_whole_lines_and_blocks_nobody() {
        let (scratch, path) = fifo("log-full");
        let log = Log::open(scratch.path(), true).unwrap();
        for number in 0..3000 {
            log.debug(format_args!("line {number} {}", "x".repeat(60)));
        }
        log.debug("y".repeat(3 * LONGEST));
        let text = take(&mut read(&path));
        assert!(text.lines().count() < 3000);
        let whole = |line: &str| line.starts_with("time=\"") && line.ends_with(".hoist.v2");
        assert!(text.ends_with('\n') && text.lines().all(whole), "{text}");
    }

    #[test]
    fn what_is_no_fifo_is_refused() {
        let scratch = Scratch::new("log-file");
        let path = scratch.path().join("log");
        let failure = Log::open(scratch.path(), false).unwrap_err();
        assert!(failure.message.contains("No such file"), "{failure}");
        std::fs::write(&path, "").unwrap();
        let failure = Log::open(scratch.path(), false).unwrap_err();
        assert_eq!(failure.message, format!("open the log {}: not a fifo", path.display()));
    }
}
