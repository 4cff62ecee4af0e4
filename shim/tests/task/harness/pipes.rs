//! Fifos, from containerd's side.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl, mknodat};

use super::{LIMIT, lock, until};

pub(crate) fn make_fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("make a fifo");
}

/// The end of a fifo that is written to, as soon as somebody reads it.
pub(crate) fn open_writer(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(libc::O_NONBLOCK);
    let file = until("a reader of the fifo", || options.open(path).ok());
    let flags = fcntl_getfl(&file).expect("flags");
    fcntl_setfl(&file, flags - OFlags::NONBLOCK).expect("set flags");
    file
}

#[derive(Default)]
struct Inner {
    bytes: Vec<u8>,
    ended: bool,
}

/// Reads a fifo in the background.
pub(crate) struct Reader(Arc<(Mutex<Inner>, Condvar)>);

impl Reader {
    /// Until its last writer has closed it. A writer that comes and goes before the thread runs is seen, too:
    /// the fifo is open at once, and fifo(7)'s end of file is told by poll(2) only after there was a writer.
    pub(crate) fn new(path: &Path) -> Self {
        let mut options = OpenOptions::new();
        let file = options.read(true).custom_flags(libc::O_NONBLOCK).open(path);
        Self::from(file.expect("open the fifo"))
    }

    /// Until what is returned beside it is dropped, and every writer has closed it: until then it
    /// may be opened again.
    pub(crate) fn keep(path: &Path) -> (Self, File) {
        let keeper = OpenOptions::new().read(true).write(true).open(path).expect("open the fifo");
        (Self::new(path), keeper)
    }

    fn from(mut file: File) -> Self {
        let reader = Self(Arc::default());
        let shared = Arc::clone(&reader.0);
        std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            poll(&mut [PollFd::new(&file, PollFlags::IN)], None).expect("poll the fifo");
            let flags = fcntl_getfl(&file).expect("flags");
            fcntl_setfl(&file, flags - OFlags::NONBLOCK).expect("set flags");
            loop {
                let read = file.read(&mut buffer).unwrap_or(0);
                let mut inner = lock(&shared.0);
                inner.bytes.extend(&buffer[..read]);
                inner.ended = read == 0;
                shared.1.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        reader
    }

    pub(crate) fn so_far(&self) -> Vec<u8> {
        lock(&self.0.0).bytes.clone()
    }

    fn wait(&self, what: &str, done: impl Fn(&Inner) -> bool) -> Vec<u8> {
        let end = Instant::now() + LIMIT;
        let mut inner = lock(&self.0.0);
        while !done(&inner) {
            let left = end.saturating_duration_since(Instant::now());
            let text = String::from_utf8_lossy(&inner.bytes[..inner.bytes.len().min(1000)]);
            assert!(!left.is_zero(), "{what} doesn't come, after {:?}", text);
            inner = self.0.1.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        inner.bytes.clone()
    }

    /// All of it, when the last writer has closed it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.wait("the end of the stream", |inner| inner.ended)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.bytes()).expect("UTF-8")
    }

    /// Waits until this has been read.
    pub(crate) fn until(&self, text: &str) {
        let found = |inner: &Inner| String::from_utf8_lossy(&inner.bytes).contains(text);
        self.wait(&format!("{text:?}"), found);
    }
}
