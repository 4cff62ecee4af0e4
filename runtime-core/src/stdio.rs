//! What a process gets as its descriptors 0, 1 and 2.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::error::{Error, Result};

/// Standard input, output and error of a container's process.
///
/// With a terminal they are replaced by it.
#[derive(Debug)]
pub struct Stdio([Source; 3]);

#[derive(Debug)]
enum Source {
    Inherit,
    Null,
    Pipe,
    Given(OwnedFd),
}

impl Stdio {
    /// The caller's own.
    #[must_use]
    pub fn inherit() -> Self {
        Self([Source::Inherit, Source::Inherit, Source::Inherit])
    }

    /// `/dev/null` for all three.
    #[must_use]
    pub fn null() -> Self {
        Self([Source::Null, Source::Null, Source::Null])
    }

    /// Pipes; the caller's ends are [`Pipes`].
    #[must_use]
    pub fn piped() -> Self {
        Self([Source::Pipe, Source::Pipe, Source::Pipe])
    }

    /// These descriptors.
    #[must_use]
    pub fn from_descriptors(stdin: OwnedFd, stdout: OwnedFd, stderr: OwnedFd) -> Self {
        Self([Source::Given(stdin), Source::Given(stdout), Source::Given(stderr)])
    }

    /// The same with this descriptor for standard input.
    #[must_use]
    pub fn stdin(mut self, stdin: OwnedFd) -> Self {
        let [first, _, _] = &mut self.0;
        *first = Source::Given(stdin);
        self
    }

    /// Opens what is to be opened.
    pub(crate) fn open(&self) -> Result<Opened<'_>> {
        let [stdin, stdout, stderr] = &self.0;
        let mut pipes = Pipes::default();
        let stdin = open_one(stdin, 0, |(read, write)| {
            pipes.stdin = Some(File::from(write));
            read
        })?;
        let stdout = open_one(stdout, 1, |(read, write)| {
            pipes.stdout = Some(File::from(read));
            write
        })?;
        let stderr = open_one(stderr, 2, |(read, write)| {
            pipes.stderr = Some(File::from(read));
            write
        })?;
        Ok(Opened { descriptors: [stdin, stdout, stderr], pipes })
    }
}

/// The caller's ends of [`Stdio::piped`]; the others are `None`.
#[derive(Debug, Default)]
pub struct Pipes {
    /// Written here, read by the process.
    pub stdin: Option<File>,
    /// Written by the process.
    pub stdout: Option<File>,
    /// Written by the process.
    pub stderr: Option<File>,
}

/// Descriptors that are ready to be passed on.
#[derive(Debug)]
pub(crate) struct Opened<'a> {
    descriptors: [Descriptor<'a>; 3],
    pub(crate) pipes: Pipes,
}

#[derive(Debug)]
enum Descriptor<'a> {
    Own(OwnedFd),
    Borrowed(BorrowedFd<'a>),
}

impl Opened<'_> {
    /// Closes what the process has got and leaves the caller's ends of the pipes.
    pub(crate) fn into_pipes(self) -> Pipes {
        self.pipes
    }

    pub(crate) fn descriptors(&self) -> [BorrowedFd<'_>; 3] {
        self.descriptors.each_ref().map(|descriptor| match descriptor {
            Descriptor::Own(fd) => fd.as_fd(),
            Descriptor::Borrowed(fd) => *fd,
        })
    }
}

fn open_one<'a>(
    source: &'a Source,
    number: u32,
    split: impl FnOnce((OwnedFd, OwnedFd)) -> OwnedFd,
) -> Result<Descriptor<'a>> {
    match source {
        Source::Given(fd) => Ok(Descriptor::Borrowed(fd.as_fd())),
        Source::Inherit => {
            let fd = match number {
                0 => rustix::stdio::stdin(),
                1 => rustix::stdio::stdout(),
                _ => rustix::stdio::stderr(),
            };
            // A daemon may have closed it; its number must not end up as something else.
            match rustix::io::fcntl_getfd(fd) {
                Err(Errno::BADF) => null().map(Descriptor::Own),
                _ => Ok(Descriptor::Borrowed(fd)),
            }
        }
        Source::Null => null().map(Descriptor::Own),
        Source::Pipe => rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
            .map(|ends| Descriptor::Own(split(ends)))
            .map_err(|errno| Error::system("make a pipe", errno)),
    }
}

fn null() -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY;
    rustix::fs::open(c"/dev/null", flags, rustix::fs::Mode::empty())
        .map_err(|errno| Error::system("open", errno).with_file("/dev/null"))
}
