//! The terminal: a pseudo-terminal of the container's own devpts.

use core::ffi::CStr;

use super::{At, Fail, Init, Outcome, root};
use crate::page::Op;
use crate::sys::{
    self, AT_EMPTY_PATH, EINVAL, EPERM, EROFS, Fd, O_NOCTTY, O_RDWR, OPEN_TREE_CLONE, Statx,
    WinSize,
};
use crate::wire::Reg;

impl Init {
    /// pty(7), by descriptor: the slave is the master's own peer (TIOCGPTPEER), so no path below
    /// `/dev/pts` is trusted (CVE-2025-52565).
    pub(super) fn console(
        &mut self,
        socket: Reg,
        (rows, columns): (u32, u32),
        uid: u32,
        mount: bool,
    ) -> Outcome {
        let rootfd = self.fd(Reg::ROOT)?;
        let master = root::open(rootfd, c"/dev/pts/ptmx", O_RDWR | O_NOCTTY)?;
        if sys::filesystem_magic(master.raw()) != Ok(sys::DEVPTS_SUPER_MAGIC) {
            return Err(Fail { op: Op::NotADevice, errno: EINVAL });
        }
        let mut unlock = 0u32;
        sys::ioctl_with(master.raw(), sys::TIOCSPTLCK, &mut unlock).at(Op::Ioctl)?;
        let flags = (O_RDWR | O_NOCTTY | sys::O_CLOEXEC) as usize;
        let slave = sys::ioctl(master.raw(), sys::TIOCGPTPEER, flags).at(Op::Ioctl)?;
        let slave = Fd::from_raw(slave as i32);
        if rows != 0 || columns != 0 {
            let mut size = WinSize { rows: rows as u16, columns: columns as u16, pixels: [0; 2] };
            sys::ioctl_with(master.raw(), sys::TIOCSWINSZ, &mut size).at(Op::Ioctl)?;
        }
        sys::fchown(slave.raw(), uid, u32::MAX).at(Op::Chown)?;
        if mount {
            let tree = sys::open_tree(slave.raw(), c"", OPEN_TREE_CLONE | AT_EMPTY_PATH)
                .at(Op::OpenTree)?;
            let target = root::make_file(rootfd, c"/dev/console")?;
            sys::move_mount(tree.raw(), target.raw()).at(Op::MoveMount)?;
        }
        send_master(self.fd(socket)?, &master)?;
        if let Some(slot) = self.registers.get_mut(socket.0 as usize) {
            sys::close(core::mem::replace(slot, -1));
        }
        for fd in 0..3 {
            sys::dup3(slave.raw(), fd, 0).at(Op::Open)?;
        }
        Ok(())
    }
}

/// Makes descriptor 0 the session's controlling terminal, ioctl_tty(2).
pub(super) fn take_terminal() -> Outcome {
    sys::ioctl(0, sys::TIOCSCTTY, 0).at(Op::Ioctl).map(drop)
}

/// The master's descriptor goes along with the terminal's name, `/dev/pts/N`.
fn send_master(socket: i32, master: &Fd) -> Outcome {
    let mut number = 0u32;
    sys::ioctl_with(master.raw(), sys::TIOCGPTN, &mut number).at(Op::Ioctl)?;
    let mut name = *b"/dev/pts/\0\0\0\0\0\0\0\0\0\0";
    let mut end = 9 + number.checked_ilog10().unwrap_or(0) as usize + 1;
    let length = end;
    loop {
        end -= 1;
        if let Some(digit) = name.get_mut(end) {
            *digit = b'0' + (number % 10) as u8;
        }
        number /= 10;
        if number == 0 {
            break;
        }
    }
    sys::send(socket, name.get(..length).unwrap_or_default(), Some(master.raw())).at(Op::Send)
}

/// True for `/dev/null`, whichever.
fn is_null(stat: &Statx) -> bool {
    stat.kind() == sys::S_IFCHR && (stat.rdev_major, stat.rdev_minor) == (1, 3)
}

/// The container's own `/dev/null` for descriptors that are the host's.
pub(super) fn reopen_null(rootfd: i32) -> Outcome {
    let mut null = None;
    for fd in 0..3 {
        match sys::statx(fd, c"", AT_EMPTY_PATH) {
            Ok(stat) if is_null(&stat) => {}
            _ => continue,
        }
        let null = match &null {
            Some(null) => null,
            None => null.insert(root::open(rootfd, c"/dev/null", O_RDWR | O_NOCTTY)?),
        };
        if !is_null(&sys::statx(null.raw(), c"", AT_EMPTY_PATH).at(Op::Stat)?) {
            return Err(Fail { op: Op::NotADevice, errno: EINVAL });
        }
        sys::dup3(null.raw(), fd, 0).at(Op::Open)?;
    }
    Ok(())
}

/// Gives descriptors 0 to 2 to the user, so that `/dev/stdout` can be opened; but not
/// `/dev/null`, which belongs to all.
pub(super) fn chown_stdio(uid: u32) -> Outcome {
    for fd in 0..3 {
        let Ok(stat) = sys::statx(fd, c"", AT_EMPTY_PATH) else { continue };
        if is_null(&stat) || stat.uid == uid {
            continue;
        }
        // The group stays: the user may not have it in the namespace. Where the file can't be
        // given away (read-only, not mapped here), the process still has it open.
        match sys::fchown(fd, uid, stat.gid) {
            Ok(()) | Err(EINVAL | EPERM | EROFS) => {}
            Err(errno) => return Err(Fail { op: Op::Chown, errno }),
        }
    }
    Ok(())
}

impl Init {
    /// The label that execve(2) will give, written through the private procfs (law 2).
    pub(super) fn exec_label(&self, attr: &CStr, fallback: &CStr, label: &CStr) -> Outcome {
        match self.write_proc(attr, label, Op::Label) {
            Err(Fail { op: Op::Open, errno: sys::ENOENT }) if !fallback.is_empty() => {
                match self.write_proc(fallback, label, Op::Label) {
                    // Without AppArmor everything is unconfined, and the file knows no such label.
                    Err(Fail { op: Op::Label, errno: EINVAL }) if label == c"exec unconfined" => {
                        Ok(())
                    }
                    other => other,
                }
            }
            other => other,
        }
    }
}
