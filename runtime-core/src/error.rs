//! The one error type of this library.
//!
//! An [`Error`] names the culprit: the operation, the container, the step of the plan, the JSON
//! pointer into `config.json`, the file or value involved, the errno's name and, where it helps,
//! what to do next. It is returned once and never printed.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use rustix::io::Errno;

use crate::sys::required;

/// Short for `std::result::Result<T, hoist::Error>`.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, for programs that decide by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bundle or its `config.json` can't be read or breaks a rule of the runtime-spec.
    InvalidConfig,
    /// An argument of the call is wrong (an id, a signal, an option).
    InvalidArgument,
    /// No container has this id.
    NotFound,
    /// A container with this id exists already.
    AlreadyExists,
    /// The container is in a state in which the operation is not allowed.
    WrongState,
    /// The configuration is valid, but this host or this version of hoist can't honour it.
    Unsupported,
    /// The user's program was not found (exit code 127 by custom).
    CommandNotFound,
    /// The user's program can't be executed (exit code 126 by custom).
    CommandNotExecutable,
    /// A step inside the container failed.
    Step,
    /// A hook failed or ran into its timeout.
    Hook,
    /// A cgroup could not be made, set or removed.
    Cgroup,
    /// The state directory is damaged or of another version.
    State,
    /// The exit status was taken by somebody else and the kernel doesn't keep it.
    StatusStolen,
    /// A system call failed.
    System,
}

/// An error of this library: [`kind`](Error::kind) for programs, [`Display`](fmt::Display) for
/// people. `{:#}` is for callers that say themselves what was tried: the message comes first, the
/// container is among the details behind it.
pub struct Error(Box<Repr>);

#[derive(Debug)]
struct Repr {
    kind: ErrorKind,
    message: Cow<'static, str>,
    operation: Option<&'static str>,
    container: Option<String>,
    step: Option<(u32, &'static str)>,
    pointer: Option<String>,
    file: Option<String>,
    errno: Option<Errno>,
    hint: Option<Cow<'static, str>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A new error; the other methods add what is known about the culprit.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Repr {
            kind,
            message: message.into(),
            operation: None,
            container: None,
            step: None,
            pointer: None,
            file: None,
            errno: None,
            hint: None,
            source: None,
        }))
    }

    /// A failed system call; `what` says what it was for ("open the cgroup").
    pub(crate) fn system(what: impl Into<Cow<'static, str>>, errno: Errno) -> Self {
        Self::new(ErrorKind::System, what).with_errno(errno)
    }

    /// A rule of `config.json` that is broken at `pointer` (RFC 6901).
    pub(crate) fn config(
        pointer: impl Into<String>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(ErrorKind::InvalidConfig, message).with_pointer(pointer)
    }

    /// Something valid that can't be honoured here, at `pointer` of `config.json`.
    pub(crate) fn unsupported(
        pointer: impl Into<String>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(ErrorKind::Unsupported, message).with_pointer(pointer)
    }

    /// Says so if what is wrong is that the system call isn't there.
    pub(crate) fn needs(self, call: required::Call) -> Self {
        match self.0.errno {
            Some(errno @ (Errno::NOSYS | Errno::PERM)) if call.missing() == Some(errno) => {
                self.with_hint(format!("this host lacks {}; {}", call.text(), required::HINT))
            }
            _ => self,
        }
    }

    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    pub(crate) fn with_errno(mut self, errno: Errno) -> Self {
        self.0.errno = Some(errno);
        self
    }

    pub(crate) fn with_file(mut self, file: impl AsRef<Path>) -> Self {
        self.0.file = Some(file.as_ref().to_string_lossy().into_owned());
        self
    }

    pub(crate) fn with_pointer(mut self, pointer: impl Into<String>) -> Self {
        self.0.pointer = Some(pointer.into());
        self
    }

    pub(crate) fn with_step(mut self, index: u32, name: &'static str) -> Self {
        self.0.step = Some((index, name));
        self
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says in front of the message what failed by it.
    pub(crate) fn in_context(mut self, what: &str) -> Self {
        self.0.message = format!("{what}: {}", self.0.message).into();
        self
    }

    /// Names the operation and the container unless an inner call did already.
    pub(crate) fn in_operation(mut self, operation: &'static str, container: &str) -> Self {
        self.0.operation.get_or_insert(operation);
        self.0.container.get_or_insert_with(|| container.to_owned());
        self
    }

    /// What went wrong, for programs that decide by it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The operation that failed: `"create"`, `"start"`, `"exec"` …
    #[must_use]
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// The container's id.
    #[must_use]
    pub fn container(&self) -> Option<&str> {
        self.0.container.as_deref()
    }

    /// The failed step of the plan: its index, as `hoist plan` numbers them, and its name.
    #[must_use]
    pub fn step(&self) -> Option<(u32, &'static str)> {
        self.0.step
    }

    /// The JSON pointer (RFC 6901) to the culprit in `config.json`.
    #[must_use]
    pub fn pointer(&self) -> Option<&str> {
        self.0.pointer.as_deref()
    }

    /// The file or path involved.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.0.file.as_deref()
    }

    /// The kernel's errno as a number, see errno(3).
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        self.0.errno.map(Errno::raw_os_error)
    }

    /// What to do next, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The message alone: without operation, container, step, pointer, errno and hint.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let e = &*self.0;
        let brief = f.alternate();
        match (e.operation, &e.container) {
            _ if brief => {}
            (Some(operation), Some(id)) => write!(f, "{operation} container {id}: ")?,
            (Some(operation), None) => write!(f, "{operation}: ")?,
            (None, Some(id)) => write!(f, "container {id}: ")?,
            (None, None) => {}
        }
        f.write_str(&e.message)?;
        if let Some(file) = &e.file {
            write!(f, ": {file}")?;
        }
        if let Some(errno) = e.errno {
            write!(f, ": {}", describe(errno))?;
        }
        if let Some(source) = &e.source {
            write!(f, ": {source}")?;
        }
        let container = e.container.as_ref().filter(|_| brief).map(|id| format!("container {id}"));
        let step = e.step.map(|(index, name)| format!("step {index} {name}"));
        let pointer = e.pointer.as_ref().map(|pointer| format!("config.json {pointer}"));
        let details: Vec<_> = [container, step, pointer].into_iter().flatten().collect();
        if !details.is_empty() {
            write!(f, " ({})", details.join(", "))?;
        }
        if let Some(hint) = &e.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|s| s as _)
    }
}

/// The errno as the C library words it, with its name: `no such file or directory (ENOENT)`.
pub(crate) fn describe(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string();
    let lower = text.split(" (os error").next().unwrap_or(&text).to_lowercase();
    let name = format!("{errno:?}");
    format!("{lower} ({})", errno_name(errno).unwrap_or(name.as_str()))
}

/// errno(3)'s symbolic name.
fn errno_name(errno: Errno) -> Option<&'static str> {
    macro_rules! names {
        ($($name:ident $code:ident),* $(,)?) => {
            match errno { $(Errno::$name => Some(stringify!($code)),)* _ => None }
        };
    }
    names!(
        PERM EPERM, NOENT ENOENT, SRCH ESRCH, INTR EINTR, IO EIO, NXIO ENXIO, TOOBIG E2BIG,
        NOEXEC ENOEXEC, BADF EBADF, CHILD ECHILD, AGAIN EAGAIN, NOMEM ENOMEM, ACCESS EACCES,
        FAULT EFAULT, NOTBLK ENOTBLK, BUSY EBUSY, EXIST EEXIST, XDEV EXDEV, NODEV ENODEV,
        NOTDIR ENOTDIR, ISDIR EISDIR, INVAL EINVAL, NFILE ENFILE, MFILE EMFILE, NOTTY ENOTTY,
        TXTBSY ETXTBSY, FBIG EFBIG, NOSPC ENOSPC, SPIPE ESPIPE, ROFS EROFS, MLINK EMLINK,
        PIPE EPIPE, DOM EDOM, RANGE ERANGE, DEADLK EDEADLK, NAMETOOLONG ENAMETOOLONG,
        NOSYS ENOSYS, NOTEMPTY ENOTEMPTY, LOOP ELOOP, NODATA ENODATA, OVERFLOW EOVERFLOW,
        USERS EUSERS, NOTSOCK ENOTSOCK, MSGSIZE EMSGSIZE, OPNOTSUPP EOPNOTSUPP,
        ADDRINUSE EADDRINUSE, CONNRESET ECONNRESET, CONNREFUSED ECONNREFUSED,
        TIMEDOUT ETIMEDOUT, DQUOT EDQUOT, CANCELED ECANCELED, NOKEY ENOKEY,
        NOTCONN ENOTCONN, PROTO EPROTO, BADMSG EBADMSG, STALE ESTALE, LIBBAD ELIBBAD,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_the_culprit() {
        let error = Error::system("mount proc", Errno::PERM)
            .with_kind(ErrorKind::Step)
            .with_step(7, "mount-filesystem")
            .with_pointer("/mounts/0")
            .with_file("/proc")
            .with_hint("try less")
            .in_operation("create", "web-1")
            .in_operation("run", "other");
        assert_eq!(
            error.to_string(),
            "create container web-1: mount proc: /proc: operation not permitted (EPERM) \
             (step 7 mount-filesystem, config.json /mounts/0); try less"
        );
        assert_eq!(error.kind(), ErrorKind::Step);
        assert_eq!(error.errno(), Some(1));
        assert_eq!(
            format!("{:#}", error.in_context("no container")),
            "no container: mount proc: /proc: operation not permitted (EPERM) \
             (container web-1, step 7 mount-filesystem, config.json /mounts/0); try less"
        );
    }
}
