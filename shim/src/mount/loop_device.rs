//! Files as block devices: loop(4).

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;

use super::sys::{self, LoopFlags};
use crate::failure::{Code, During, Failure, Result};

/// A file attached to a loop device, which is free again when its last user is gone: this value,
/// and then the filesystem on it.
#[derive(Debug)]
pub(super) struct LoopDevice {
    path: String,
    _device: File,
}

/// Others look for a free device at the same time, and each time one of them gets it.
const TRIES: usize = 256;

impl LoopDevice {
    pub(super) fn attach(source: &Path, read_only: bool, direct_io: bool) -> Result<Self> {
        let mut how = OpenOptions::new();
        how.read(true).write(!read_only);
        let file = how.open(source).during(format_args!("loop: open {}", source.display()))?;
        let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control");
        let control = control.during("loop: open /dev/loop-control")?;
        let flags = LoopFlags { read_only, direct_io };
        for _ in 0..TRIES {
            let number = sys::free_loop_device(control.as_fd())
                .during("loop: ioctl(/dev/loop-control, LOOP_CTL_GET_FREE)")?;
            let path = format!("/dev/loop{number}");
            let device = match how.open(&path) {
                // Removed again by somebody (LOOP_CTL_REMOVE).
                Err(error) if error.raw_os_error() == Some(libc::ENXIO) => continue,
                device => device.during(format_args!("loop: open {path}"))?,
            };
            let name = source.as_os_str().as_bytes();
            match sys::configure_loop(device.as_fd(), file.as_fd(), name, flags) {
                Err(Errno::BUSY) => {}
                result => {
                    result.during(format_args!("loop: ioctl({path}, LOOP_CONFIGURE)"))?;
                    return Ok(Self { path, _device: device });
                }
            }
        }
        let message = format!("loop: of {TRIES} free devices others were faster to take each");
        Err(Failure::new(Code::ResourceExhausted, message))
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }
}
