//! The container, from the first directory of its cgroup to the last.

use core::ffi::CStr;

use super::cgroup::{self, Cgroups};
use super::phases::Phases;
use super::sys::*;
use super::text::Text;

/// What a failure of the floor itself ends with, or of `/bin/true` to be executed.
const FAILED: i32 = 125;
const STRICT: u64 = MS_NOSUID | MS_NODEV | MS_NOEXEC;

struct Container {
    rootfs: &'static CStr,
    cgroups: Cgroups,
    /// `default`, and not `minimal`.
    whole: bool,
    filter: Option<&'static [u8]>,
    phases: Phases,
}

/// The program's entry point; `stack` is the stack pointer as the kernel left it.
pub extern "C" fn main(stack: *const usize) -> ! {
    let timed = argument(stack, 1) == Some(c"--phases");
    let argument = |index| argument(stack, index + usize::from(timed));
    let (Some(rootfs), Some(cgroups), Some(config)) = (argument(1), argument(2), argument(3))
    else {
        let _ = write(2, b"usage: floor [--phases] ROOTFS CGROUPS minimal|default [FILTER]\n");
        end(FAILED)
    };
    let mut container = Container {
        rootfs,
        cgroups: Cgroups(cgroups.to_bytes()),
        whole: config == c"default",
        filter: None,
        phases: Phases::new(timed),
    };
    let status = container.run(argument(4)).unwrap_or_else(|errno| container.failed(errno));
    container.phases.print();
    end(status)
}

fn end(status: i32) -> ! {
    loop {
        let _ = exit(status);
    }
}

extern "C" fn child(container: &mut Container) -> ! {
    let Err(errno) = container.inside() else { end(FAILED) };
    end(container.failed(errno))
}

impl Container {
    fn failed(&self, Errno(number): Errno) -> i32 {
        let text = Text::of(&[b"floor: after ", self.phases.latest().as_bytes(), b": errno "]);
        let _ = write(2, text.number(number as u64).and(b"\n").bytes());
        FAILED
    }

    fn run(&mut self, filter: Option<&CStr>) -> Result<i32> {
        self.filter = filter.map(map).transpose()?;
        umask(0)?;
        self.phases.end("start");
        let status = self.run_in_cgroups();
        self.cgroups.remove()?;
        self.phases.end("cgroup-remove");
        status
    }

    /// What `result` is the result of was the phase of this name.
    fn phase(&mut self, name: &'static str, result: Result) -> Result {
        result.map(|()| self.phases.end(name))
    }

    fn run_in_cgroups(&mut self) -> Result<i32> {
        self.phase("cgroup-make", self.cgroups.make())?;
        let cgroup2 = self.cgroups.open()?;
        self.phase("cgroup-prepare", self.cgroups.fill_cpuset())?;
        self.phase("device-rules", self.cgroups.limit_devices(cgroup2))?;
        let network = if self.whole { CLONE_NEWNET } else { 0 };
        let namespaces = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | network;
        let pid = vfork(namespaces, cgroup2, child, self)?;
        self.phases.end("exec");
        let status = wait(pid)?;
        self.phases.end("payload");
        Ok(status)
    }

    /// The child's part; it comes back only with an error.
    fn inside(&mut self) -> Result {
        self.phase("clone", Ok(()))?;
        if !self.cgroups.unified() {
            self.phase("cgroup-attach", self.cgroups.attach())?;
        } else if self.whole {
            self.phase("cgroup-namespace", unshare(CLONE_NEWCGROUP))?;
        }
        setsid()?;
        self.phase("session", new_session_keyring(c"_ses.floor"))?;
        if self.whole {
            self.phase("hostname", sethostname(b"hoist"))?;
            self.phase("loopback-up", loopback_up())?;
        }
        mount(c"", c"/", c"", MS_SLAVE | MS_REC, c"")?;
        mount(self.rootfs, self.rootfs, c"", MS_BIND | MS_REC, c"")?;
        self.phase("root-bind", chdir(self.rootfs))?;
        self.mount_filesystems()?;
        self.phase("device-nodes", make_devices())?;
        if self.whole {
            self.phase("read-only-paths", make_paths_read_only())?;
            self.phase("masked-paths", mask_paths())?;
        }
        self.phase("pivot-root", pivot_root(c".", c"."))?;
        self.phase("unmount-old-root", detach(c"."))?;
        if self.whole {
            self.phase("root-read-only", mount_setattr(c"/", 0, MS_RDONLY, MS_PRIVATE))?;
        }
        self.phase("limits-capabilities", restrict(self.whole))?;
        if let Some(filter) = self.filter {
            self.phase("seccomp", seccomp(filter))?;
        }
        let path = c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        execve(c"/bin/true", [path, c"TERM=xterm", c"HOME=/root"])
    }

    fn mount_filesystems(&mut self) -> Result {
        for (name, target, kind, flags, options) in FILESYSTEMS {
            if target.to_bytes().starts_with(b"dev/") {
                mkdir(target)?;
            }
            let source = if name == "shm" { c"shm" } else { kind };
            self.phase(name, mount(source, target, kind, flags, options))?;
            if name == "dev" && !self.whole {
                return Ok(());
            }
        }
        // Not by mount(2), which makes the whole filesystem read-only and not the mount.
        self.phase("sysfs-read-only", mount_setattr(c"sys", 0, MS_RDONLY, 0))?;
        self.phase("cgroup-mount", self.mount_cgroups())
    }

    fn mount_cgroups(&self) -> Result {
        let place = c"sys/fs/cgroup";
        if self.cgroups.unified() {
            let flags = STRICT | MS_RDONLY | MS_RELATIME;
            return mount(c"cgroup", place, c"cgroup2", flags, c"");
        }
        mount(c"tmpfs", place, c"tmpfs", STRICT, c"mode=755")?;
        for cgroup in self.cgroups.v1() {
            let target = Text::of(&[b"sys/fs/cgroup/", cgroup::hierarchy(cgroup)]);
            mkdir(target.path())?;
            mount(Text::of(&[cgroup]).path(), target.path(), c"", MS_BIND, c"")?;
        }
        mount_setattr(place, AT_RECURSIVE, STRICT | MS_RDONLY, 0)
    }
}

const PTS_OPTIONS: &CStr = c"newinstance,ptmxmode=0666,mode=0620,gid=5";

/// Phase, target, type, flags and options. They are mounted by mount(2): fsopen(2) and its kin take
/// half as much time again, as they make more calls.
#[rustfmt::skip]
const FILESYSTEMS: [(&str, &CStr, &CStr, u64, &CStr); 6] = [
    ("proc", c"proc", c"proc", 0, c""),
    ("dev", c"dev", c"tmpfs", MS_NOSUID | MS_STRICTATIME, c"mode=755,size=65536k"),
    ("pts", c"dev/pts", c"devpts", MS_NOSUID | MS_NOEXEC, PTS_OPTIONS),
    ("shm", c"dev/shm", c"tmpfs", STRICT, c"mode=1777,size=65536k"),
    ("mqueue", c"dev/mqueue", c"mqueue", STRICT, c""),
    ("sysfs", c"sys", c"sysfs", STRICT, c""),
];

#[rustfmt::skip]
fn make_devices() -> Result {
    for (path, number) in [
        (c"dev/null", 0x103), (c"dev/zero", 0x105), (c"dev/full", 0x107),
        (c"dev/random", 0x108), (c"dev/urandom", 0x109), (c"dev/tty", 0x500),
    ] {
        mknod(path, number)?;
    }
    symlink(c"pts/ptmx", c"dev/ptmx")?;
    symlink(c"/proc/self/fd", c"dev/fd")?;
    symlink(c"/proc/self/fd/0", c"dev/stdin")?;
    symlink(c"/proc/self/fd/1", c"dev/stdout")?;
    symlink(c"/proc/self/fd/2", c"dev/stderr")?;
    if access(c"proc/kcore").is_ok() { symlink(c"/proc/kcore", c"dev/core") } else { Ok(()) }
}

/// Not every kernel has every path.
fn if_there(result: Result) -> Result<bool> {
    if result == Err(ENOENT) { Ok(false) } else { result.map(|()| true) }
}

fn make_paths_read_only() -> Result {
    for path in [c"proc/bus", c"proc/fs", c"proc/irq", c"proc/sys", c"proc/sysrq-trigger"] {
        if if_there(mount(path, path, c"", MS_BIND | MS_REC, c""))? {
            mount_setattr(path, 0, MS_RDONLY, 0)?;
        }
    }
    Ok(())
}

#[rustfmt::skip]
fn mask_paths() -> Result {
    // One empty filesystem covers all directories: what is put over the first of them.
    let mut empty = None;
    for path in [c"proc/acpi", c"proc/asound", c"sys/firmware", c"proc/scsi"] {
        if let Some(empty) = empty {
            if_there(mount(empty, path, c"", MS_BIND, c""))?;
        } else if if_there(mount(c"none", path, c"tmpfs", STRICT, c"mode=755"))? {
            mount_setattr(path, 0, MS_RDONLY, 0)?;
            empty = Some(path);
        }
    }
    for path in [
        c"proc/kcore", c"proc/keys", c"proc/latency_stats", c"proc/timer_list",
        c"proc/timer_stats", c"proc/sched_debug",
    ] {
        if_there(mount(c"/dev/null", path, c"", MS_BIND, c""))?;
    }
    Ok(())
}

/// Limits and capabilities.
fn restrict(limit: bool) -> Result {
    const LAST_CAPABILITY: u32 = 40;
    const KEPT: u64 = 1 << 5 | 1 << 10 | 1 << 29; // kill, net_bind_service, audit_write
    umask(0o022)?;
    if limit {
        limit_open_files(&[1024, 1024])?;
    }
    for capability in (0..=LAST_CAPABILITY).filter(|number| KEPT & 1 << number == 0) {
        drop_from_bounding_set(capability)?;
    }
    setgroups(&[])?;
    capset(KEPT)?;
    no_new_privileges()?;
    close_range_on_exec(3)
}
