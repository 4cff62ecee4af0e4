//! Executes a plan, one step after another, and reports to the page.

mod console;
mod copy_up;
mod credentials;
mod devices;
mod masks;
mod mounts;
mod namespaces;
pub(crate) mod passwd;
mod process;
mod root;
mod rootfs;
mod scheduling;
mod target;

use core::ffi::CStr;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Relaxed, Release};

use crate::page::{MSG_ANNOUNCED, MSG_CLONED, Op, Page, ROLE_INNER, ROLE_OUTER};
use crate::sys::{self, EBADF, EINVAL, Errno, Fd};
use crate::wire::{Plan, Reg, Step, Steps};

/// A step's failure: what it was at, and the kernel's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fail {
    op: Op,
    errno: Errno,
}

type Outcome<T = ()> = Result<T, Fail>;

/// Says what a system call was for.
trait At<T> {
    fn at(self, op: Op) -> Outcome<T>;
}

impl<T> At<T> for sys::Result<T> {
    fn at(self, op: Op) -> Outcome<T> {
        self.map_err(|errno| Fail { op, errno })
    }
}

/// The descriptors that every init gets, counted from its base.
const PASSED_PLAN: i32 = 0;
const PASSED_PAGE: i32 = 1;
const PASSED_CONTROL: i32 = 2;
const PASSED_REGISTERS: i32 = 3;

/// What init knows. All of it is in this one value: there are no globals.
struct Init {
    page: &'static Page,
    times: &'static [AtomicU64],
    /// The steps are clocked.
    timed: bool,
    registers: [i32; Reg::COUNT as usize],
    /// How many of them may hold something.
    used: usize,
    /// Outer's last words.
    farewell: sys::Farewell,
    control: Option<Fd>,
    process: process::Prepared,
    /// The library has said "start" already.
    started: bool,
    /// The SELinux context of what masked directories are covered with.
    mask_label: &'static CStr,
    /// What covers masked files is no longer the host's mount.
    null_is_private: bool,
    /// The user namespace permits no setgroups(2).
    groups_denied: bool,
    /// The children will be in another time namespace.
    time_differs: bool,
}

/// The program's entry point; `stack` is the stack pointer as the kernel left it.
///
/// `argv[1]` is a decimal number, the base: the descriptors below it belong to the user's
/// process, those from there on are the plan, the page, the control socket and the registers'
/// first ones, as many as `argv[2]` says.
pub extern "C" fn main(stack: *const usize) -> ! {
    let stack = sys::stack(stack);
    let number = |index| stack.argument(index).and_then(decimal);
    let (Some(base), Some(passed)) = (number(1), number(2)) else { sys::exit(2) };
    let files =
        Files { plan: Fd::from_raw(base + PASSED_PLAN), page: Fd::from_raw(base + PASSED_PAGE) };
    // Without it nothing can be told.
    let Ok((page, times)) = files.map_page() else { sys::exit(3) };
    page.role.store(ROLE_OUTER, Relaxed);

    let mut init = Init {
        page,
        times,
        timed: false,
        registers: [-1; Reg::COUNT as usize],
        used: passed as usize,
        farewell: sys::Farewell::new(MSG_CLONED),
        control: Some(Fd::from_raw(base + PASSED_CONTROL)),
        process: process::Prepared::default(),
        started: false,
        mask_label: c"",
        null_is_private: false,
        groups_denied: false,
        time_differs: false,
    };
    for (slot, fd) in init.registers.iter_mut().zip(0..passed) {
        *slot = base + PASSED_REGISTERS + fd;
    }
    let fail = match files.map_plan().at(Op::Plan) {
        Ok(bytes) => init.run(bytes, files),
        Err(fail) => fail,
    };
    init.report(fail);
    sys::exit(1)
}

/// What init maps. Both may grow until the library says that the plan is complete, and are sealed then.
struct Files {
    plan: Fd,
    page: Fd,
}

impl Files {
    fn map_plan(&self) -> sys::Result<&'static [u8]> {
        sys::map(self.plan.raw(), sys::file_size(self.plan.raw())?)
    }

    fn map_page(&self) -> sys::Result<(&'static Page, &'static [AtomicU64])> {
        sys::map_page(self.page.raw(), sys::file_size(self.page.raw())?)
    }
}

/// Parses a small decimal number.
fn decimal(text: &CStr) -> Option<i32> {
    text.to_bytes().iter().try_fold(0i32, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|d| *d < 10)?;
        number.checked_mul(10)?.checked_add(i32::from(digit))
    })
}

impl Init {
    /// Does the plan's steps, of one part or of two. It returns only when one failed: the last one is
    /// execve(2).
    fn run(&mut self, bytes: &'static [u8], files: Files) -> Fail {
        const MALFORMED: Fail = Fail { op: Op::Plan, errno: EINVAL };
        let Ok(plan) = Plan::parse(bytes) else { return MALFORMED };
        self.timed = plan.timings();
        self.clock(0);
        if !plan.is_head() {
            drop(files);
            return self.steps(0, &mut plan.steps()).err().unwrap_or(MALFORMED);
        }
        let mut steps = plan.steps();
        let rest = self.steps(0, &mut steps).and_then(|()| {
            let read = bytes.len() - steps.rest();
            let bytes = files.map_plan().at(Op::Plan)?.get(read..).ok_or(MALFORMED)?;
            let rest = Plan::parse(bytes).map_err(|_| MALFORMED)?;
            if self.times.len() <= (plan.step_count() + rest.step_count()) as usize {
                (self.page, self.times) = files.map_page().at(Op::Plan)?;
            }
            Ok(rest)
        });
        drop(files);
        let rest = rest.and_then(|rest| self.steps(plan.step_count(), &mut rest.steps()));
        rest.err().unwrap_or(MALFORMED)
    }

    /// Does one step after another; the first has this index.
    fn steps(&mut self, first: u32, steps: &mut Steps<'static>) -> Outcome {
        for (index, step) in (first..).zip(steps) {
            self.page.step.store(index, Relaxed);
            let step = step.map_err(|_| Fail { op: Op::Plan, errno: EINVAL })?;
            self.page.code.store(step.code(), Relaxed);
            self.step(&step)?;
            // A clock read would be one more call that the filter could trap.
            if !matches!(step, Step::Seccomp { .. }) {
                self.clock(index as usize + 1);
            }
        }
        Ok(())
    }

    fn clock(&self, slot: usize) {
        if self.timed
            && let Some(time) = self.times.get(slot)
        {
            time.store(sys::now(), Relaxed);
        }
    }

    fn report(&self, fail: Fail) {
        self.page.errno.store(fail.errno.0, Relaxed);
        self.page.op.store(fail.op as u32, Relaxed);
        self.page.failed.store(1, Release);
    }

    /// The descriptor in a register.
    fn fd(&self, reg: Reg) -> Outcome<i32> {
        match self.registers.get(reg.0 as usize) {
            Some(fd) if *fd >= 0 => Ok(*fd),
            _ => Err(Fail { op: Op::Register, errno: EBADF }),
        }
    }

    /// Puts a descriptor into a register, closing what was there. Without a register it is
    /// closed at once.
    fn keep(&mut self, reg: Reg, fd: Fd) {
        if let Some(slot) = self.registers.get_mut(reg.0 as usize) {
            self.used = self.used.max(reg.0 as usize + 1);
            let before = core::mem::replace(slot, fd.into_raw());
            if before >= 0 {
                sys::close(before);
            }
        }
    }

    /// Closes one register's descriptor.
    fn close_register(&mut self, reg: Reg) {
        if let Some(slot) = self.registers.get_mut(reg.0 as usize)
            && *slot >= 0
        {
            sys::close(core::mem::replace(slot, -1));
        }
    }

    /// Closes what all registers but one hold.
    fn close_registers(&mut self, but: Reg) {
        for (index, slot) in (0..).zip(self.registers.iter_mut().take(self.used)) {
            if index != but.0 && *slot >= 0 {
                sys::close(core::mem::replace(slot, -1));
            }
        }
    }

    fn step(&mut self, step: &Step<'static>) -> Outcome {
        match *step {
            Step::JoinProcess { pidfd, flags } => sys::setns(self.fd(pidfd)?, flags).at(Op::Setns),
            Step::OpenNamespace { path, out } => {
                let fd = sys::openat(sys::AT_FDCWD, path, sys::O_RDONLY, 0).at(Op::Open)?;
                self.keep(out, fd);
                Ok(())
            }
            Step::JoinNamespace { fd, flag } => sys::setns(self.fd(fd)?, flag).at(Op::Setns),
            Step::Unshare { flags } => sys::unshare(flags).at(Op::Unshare),
            Step::TakeRest {} => self.take_rest(),
            Step::UnshareTime { offsets, .. } => {
                self.time_differs = true;
                namespaces::unshare_time(offsets)
            }
            Step::AttachCgroup { tasks } => {
                sys::write(self.fd(tasks)?, b"0").at(Op::Write)?;
                self.close_register(tasks);
                Ok(())
            }
            Step::LimitCapabilities { keep, last_cap } => credentials::limit(keep, last_cap),
            Step::CloneInner { flags, cgroup } => self.clone_inner(flags, cgroup),
            Step::CloneLast { drop, terminal } => self.clone_last(drop, terminal),
            Step::Sync { point } => self.synchronize(point),
            Step::Announce {} => self.tell(MSG_ANNOUNCED, 0, None),
            Step::BecomeRoot { setgroups } => {
                self.groups_denied = !credentials::become_root(setgroups)?;
                Ok(())
            }
            Step::NewSession {} => sys::setsid().at(Op::Session),
            Step::NewKeyring { name } => namespaces::new_keyring(name),
            Step::ResetInherited {} => scheduling::reset_inherited(),
            Step::Dumpable {} => sys::prctl(sys::PR_SET_DUMPABLE, 1, 0).at(Op::Prctl).map(drop),
            Step::NotDumpable {} => sys::prctl(sys::PR_SET_DUMPABLE, 0, 0).at(Op::Prctl).map(drop),
            Step::UnshareCgroup {} => sys::unshare(sys::CLONE_NEWCGROUP).at(Op::Unshare),

            Step::Propagation { flags, recursive } => rootfs::propagation(flags, recursive),
            Step::BindRoot { path, recursive, private_parent } => {
                self.bind_root(path, recursive, private_parent)
            }
            Step::OpenRoot { path } => {
                let flags = sys::O_PATH | sys::O_DIRECTORY;
                let fd = sys::openat(sys::AT_FDCWD, path, flags, 0).at(Op::Open)?;
                self.keep(Reg::ROOT, fd);
                Ok(())
            }
            Step::OpenProc {} => self.open_proc(),
            Step::MountFilesystem { .. } => self.mount_filesystem(step),
            Step::BindMount { .. } => self.bind_mount(step),
            Step::OpenTree { .. } => self.open_tree(step),
            Step::MapIds { tree, map, recursive } => self.ask_for_map(tree, map, recursive),
            Step::CreateMount { fstype, source, options, attributes, out, idmap } => {
                self.create_mount(fstype, source, options, attributes, out, idmap)
            }
            Step::SetMount { mount, set, propagation } => {
                mounts::set_mount(self.fd(mount)?, set, propagation)
            }
            Step::MakeDirectory { path } => {
                root::make_directory(self.fd(Reg::ROOT)?, path).map(drop)
            }
            Step::OpenDirectory { path, out } => {
                let flags = sys::O_RDONLY | sys::O_DIRECTORY;
                let fd = root::open(self.fd(Reg::ROOT)?, path, flags)?;
                self.keep(out, fd);
                Ok(())
            }
            Step::OpenMasks { label } => self.open_masks(label),
            Step::MaskPath { path, within } => self.mask_path(path, within),
            Step::ReadonlyPath { path, within } => self.readonly_path(path, within),
            Step::PivotRoot {} => self.pivot_root(),
            Step::MoveRoot {} => self.move_root(),
            Step::Chroot {} => self.chroot(),
            Step::SetRoot { attributes, propagation } => self.set_root(attributes, propagation),

            Step::MakeDevice { directory, path, mode, major, minor, uid, gid } => {
                let node = devices::Node { mode, major, minor, uid, gid };
                devices::make(self.fd(directory)?, path, &node)
            }
            Step::BindDevice { directory, path, source, tree } => {
                let tree = if tree == Reg::NONE { None } else { Some(self.fd(tree)?) };
                devices::bind(self.fd(directory)?, path, source, tree)
            }
            Step::MakeSymlink { directory, name, target, replace } => {
                devices::symlink(self.fd(directory)?, name, target, replace)
            }
            Step::LoopbackUp {} => namespaces::loopback_up(),
            Step::Hostname { name } => sys::sethostname(name.to_bytes()).at(Op::Hostname),
            Step::Domainname { name } => sys::setdomainname(name.to_bytes()).at(Op::Domainname),
            Step::Sysctl { path, value } => self.write_proc(path, value, Op::Write),
            Step::Console { socket, rows, columns, uid, mount, later } => {
                self.console(socket, (rows, columns), uid, mount)?;
                if later { Ok(()) } else { console::take_terminal() }
            }
            Step::ReopenNull {} => console::reopen_null(self.fd(Reg::ROOT)?),
            Step::ChownStdio { uid } => console::chown_stdio(uid),

            Step::Rlimit { resource, soft, hard } => {
                sys::setrlimit(resource, soft, hard).at(Op::Limit)
            }
            Step::RaiseLimit { resource, hard } => credentials::raise_limit(resource, hard),
            Step::Scheduler { attributes } => sys::sched_setattr(attributes).at(Op::Schedule),
            Step::IoPriority { value } => sys::ioprio_set(value).at(Op::IoPriority),
            Step::Affinity { mask } => sys::sched_setaffinity(mask).at(Op::Affinity),
            Step::MemoryPolicy { mode, nodes, bits } => {
                sys::set_mempolicy(mode, nodes, bits).at(Op::MemoryPolicy)
            }
            Step::Personality { value } => sys::personality(value).at(Op::Personality).map(drop),
            Step::NoNewPrivileges {} => {
                sys::prctl(sys::PR_SET_NO_NEW_PRIVS, 1, 0).at(Op::Prctl).map(drop)
            }
            Step::ExecLabel { attr, fallback, label } => self.exec_label(attr, fallback, label),
            Step::Umask { mask } => {
                sys::umask(mask);
                Ok(())
            }
            Step::BoundingSet { keep, last_cap } => credentials::bounding_set(keep, last_cap),
            Step::User { uid, gid, groups, set_groups } => {
                // Where none can be set, having asked for none is no error.
                let set_groups = set_groups && !(self.groups_denied && groups.is_empty());
                credentials::user(uid, gid, set_groups.then_some(groups))
            }
            Step::Capabilities { effective, permitted, inheritable, ambient, filter } => {
                let sets = sys::CapSets { effective, permitted, inheritable };
                let ungranted = credentials::capabilities(&sets, ambient, filter)?;
                self.page.ungranted.store(ungranted, Relaxed);
                Ok(())
            }

            Step::WorkingDirectory { path, last } => self.process.working_directory(path, last),
            Step::LookupHome { uid } => {
                let root = self.fd(Reg::ROOT)?;
                self.process.lookup_home(root, uid);
                Ok(())
            }
            Step::FindProgram { name, path } => self.process.find(name, path),
            Step::AwaitStart { announced: true, .. } => self.await_announced(),
            Step::AwaitStart { listener, hooks, .. } => self.await_start(listener, hooks),
            Step::PrepareExecute { arguments, environment } => {
                self.process.prepare(arguments, environment)
            }
            Step::CloseHost { keep } => {
                self.close_registers(keep);
                Ok(())
            }
            Step::CloseFrom { first } => {
                sys::close_range(first, sys::CLOSE_RANGE_CLOEXEC).at(Op::Close)
            }
            Step::Seccomp { flags, program, notify } => {
                process::load_filter(self.page, flags, program, notify)
            }
            Step::Execute {} => Err(self.process.execute()),
        }
    }

    /// Marks this process as inner.
    fn become_inner(&self) {
        self.page.role.store(ROLE_INNER, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn decimal_numbers() {
        assert_eq!(decimal(c"17"), Some(17));
        assert_eq!(decimal(c""), Some(0));
        assert_eq!(decimal(c"1x"), None);
        assert_eq!(decimal(c"99999999999"), None);
    }
}
