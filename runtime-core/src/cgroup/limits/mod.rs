//! `linux.resources` as a list of values to write: pure data, made before anything is touched.
//!
//! [`v1`] and [`v2`] translate. A value of 0 means "not given" for most fields, because engines
//! that are written in Go send zeros for what they don't set; `pids.limit` is an exception since
//! runtime-spec 1.3. What can't be honoured is an error with its pointer, never passed over.

mod block_io;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use std::borrow::Cow;

use oci_spec::runtime::{LinuxCpu, LinuxResources};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::dir::Dir;
use super::host::Mode;
use crate::error::{Error, ErrorKind, Result};

/// A value for one of a cgroup's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    /// The controller: without it there is no such file.
    pub(super) controller: &'static str,
    pub(super) file: Cow<'static, str>,
    pub(super) value: String,
    /// Below `/linux/resources`.
    pub(super) pointer: String,
    pub(super) absent: Absent,
}

/// What it means that a file does not exist although its controller does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Absent {
    /// The kernel can't do what was asked for.
    Error,
    /// There is nothing to limit.
    Fine,
    /// Another file serves the purpose, with another value.
    Instead(&'static str, String),
}

/// Translates the limits: everything but `devices`.
pub(super) fn translate(resources: &LinuxResources, mode: Mode) -> Result<Vec<Write>> {
    match mode {
        Mode::Unified => v2::translate(resources),
        Mode::Legacy | Mode::Hybrid => v1::translate(resources),
    }
}

/// Writes the values. `dir_of` has the directory where a controller's files are.
pub(super) fn apply<'a>(
    writes: &[Write],
    dir_of: impl Fn(&'static str) -> Option<&'a Dir>,
) -> Result<()> {
    for same in writes.chunk_by(|a, b| a.controller == b.controller) {
        // The kernel compares each value with what is set already: a quota with the period and the
        // burst, the limit of memory with that of memory and swap. What it refuses may be right
        // once others of the list are written, and these in turn after yet others.
        let mut pending: Vec<&Write> = same.iter().collect();
        while !pending.is_empty() {
            let mut refused = Vec::new();
            for write in &pending {
                let dir = dir_of(write.controller).ok_or_else(|| write.missing_controller(None))?;
                match write.to(dir) {
                    Ok(()) => {}
                    Err(Errno::INVAL) if pending.len() > 1 => refused.push((*write, dir)),
                    Err(errno) => return Err(write.error(dir, errno)),
                }
            }
            match refused.first() {
                Some((write, dir)) if refused.len() == pending.len() => {
                    return Err(write.error(dir, Errno::INVAL));
                }
                _ => pending = refused.into_iter().map(|(write, _)| write).collect(),
            }
        }
    }
    Ok(())
}

impl Write {
    fn new(
        controller: &'static str,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
        pointer: impl Into<String>,
    ) -> Self {
        let (file, value, pointer) = (file.into(), value.to_string(), pointer.into());
        Self { controller, file, value, pointer, absent: Absent::Error }
    }

    fn or(mut self, absent: Absent) -> Self {
        self.absent = absent;
        self
    }

    /// cgroup2 has one file for quota and period: to change the period alone is to write the
    /// quota that there is. A new cgroup has none.
    pub(in crate::cgroup) fn keep_quota(&mut self, dir: &Dir) {
        if self.file == "cpu.max"
            && self.pointer == "cpu/period"
            && let Ok(now) = dir.read("cpu.max")
            && let (Some((quota, _)), Some((_, period))) =
                (now.split_once(' '), self.value.split_once(' '))
        {
            self.value = format!("{quota} {period}");
        }
    }

    pub(in crate::cgroup) fn full_pointer(&self) -> String {
        format!("/linux/resources/{}", self.pointer)
    }

    /// The file that is written and the lines that it gets: `unified` may have several for a file
    /// such as io.max, which takes one at a time.
    pub(in crate::cgroup) fn target(&self, dir: &Dir) -> (&str, impl Iterator<Item = &str>) {
        match &self.absent {
            Absent::Instead(file, value) if dir.open(&self.file, OFlags::PATH).is_err() => {
                (file, lines(value))
            }
            _ => (&self.file, lines(&self.value)),
        }
    }

    fn to(&self, dir: &Dir) -> std::result::Result<(), Errno> {
        for line in lines(&self.value) {
            match (dir.write(&self.file, line), &self.absent) {
                (Err(Errno::NOENT), Absent::Fine) => {}
                (Err(Errno::NOENT), Absent::Instead(file, value)) => dir.write(file, value)?,
                (other, _) => other?,
            }
        }
        Ok(())
    }

    fn error(&self, dir: &Dir, errno: Errno) -> Error {
        // kernfs has no files of a controller that isn't enabled; without O_CREAT the attempt to
        // write to one fails with ENOENT.
        if errno == Errno::NOENT && !self.is_enabled(dir) {
            return self.missing_controller(Some(dir));
        }
        let what = match errno {
            Errno::BUSY if self.file == "memory.limit_in_bytes" => self.memory_in_use(dir),
            _ => format!("write {:?}", self.value),
        };
        let error = Error::system(what, errno)
            .with_kind(ErrorKind::Cgroup)
            .with_file(dir.path().join(&*self.file))
            .with_pointer(self.full_pointer());
        match errno {
            Errno::NOENT => error.with_hint("this kernel's controller has no such setting"),
            Errno::BUSY if self.controller == "memory" => {
                error.with_hint("more than that is in use")
            }
            _ => error,
        }
    }

    /// runc's wording.
    fn memory_in_use(&self, dir: &Dir) -> String {
        let read = |file| dir.read(file).unwrap_or_default().trim_end().to_owned();
        format!(
            "unable to set memory limit to {} (current usage: {}, peak usage: {})",
            self.value,
            read("memory.usage_in_bytes"),
            read("memory.max_usage_in_bytes")
        )
    }

    fn is_enabled(&self, dir: &Dir) -> bool {
        self.controller == "cgroup"
            || dir.read("cgroup.controllers").map_or(true, |enabled| {
                enabled.split_whitespace().any(|name| name == self.controller)
            })
    }

    fn missing_controller(&self, dir: Option<&Dir>) -> Error {
        let message = format!(
            "cannot set {} limit: the cgroup controller {0} is not available",
            self.controller
        );
        let error = Error::new(ErrorKind::Cgroup, message).with_pointer(self.full_pointer());
        match dir {
            Some(dir) => error.with_file(dir.path()),
            None => error,
        }
    }
}

/// An empty value is one empty line: write(2) of nothing would do nothing, while a newline is what
/// empties cpuset.cpus.
fn lines(value: &str) -> impl Iterator<Item = &str> {
    let empty = if value.is_empty() { Some("\n") } else { None };
    value.lines().chain(empty)
}

/// Numbers that count only if they are not 0.
fn given<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

fn invalid(pointer: &str, message: &'static str) -> Error {
    Error::config(format!("/linux/resources/{pointer}"), message)
}

fn unsupported(pointer: &str, message: &'static str) -> Error {
    Error::unsupported(format!("/linux/resources/{pointer}"), message)
}

/// What neither version of cgroups can do any more. (Limits of kernel memory were passed over with
/// a warning when the configuration was validated.)
fn refuse_obsolete(resources: &LinuxResources) -> Result<()> {
    let Some(memory) = resources.memory() else { return Ok(()) };
    if memory.use_hierarchy() == Some(false) {
        let message = "Linux always accounts memory hierarchically";
        return Err(unsupported("memory/useHierarchy", message));
    }
    Ok(())
}

/// pids.max, the same in both versions. 0 is a limit since runtime-spec 1.3, negative is none.
///
/// A container's first process is placed there by clone3(2), which a limit of 0 would make fail,
/// and no limit below 1 is told from 1 by a process that can't fork: so 0 is written as 1, as in
/// runc.
fn pids(resources: &LinuxResources, writes: &mut Vec<Write>) {
    if let Some(pids) = resources.pids() {
        let value = match pids.limit() {
            limit if limit < 0 => "max".to_owned(),
            limit => limit.max(1).to_string(),
        };
        writes.push(Write::new("pids", "pids.max", value, "pids/limit"));
    }
}

/// The shares, unless the cgroup is to be idle: then they mean nothing, and the kernel takes none
/// (sched_group_set_shares in kernel/sched/fair.c).
fn shares(resources: &LinuxResources, cpu: &LinuxCpu) -> Option<u64> {
    given(cpu.shares()).filter(|_| !crate::spec::is_idle(resources))
}

/// cpu.idle, unless `unified` has it too: a cgroup that was idle for a moment has lost its weight.
fn idle(resources: &LinuxResources, cpu: &LinuxCpu) -> Option<i64> {
    let unified = resources.unified().as_ref();
    cpu.idle().filter(|_| !unified.is_some_and(|unified| unified.contains_key("cpu.idle")))
}

/// cpuset.cpus and cpuset.mems, the same in both versions.
fn cpuset(resources: &LinuxResources, writes: &mut Vec<Write>) {
    let Some(cpu) = resources.cpu() else { return };
    let mut set = |file, list: &Option<String>, pointer| {
        if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
            writes.push(Write::new("cpuset", file, list, pointer));
        }
    };
    set("cpuset.cpus", cpu.cpus(), "cpu/cpus");
    set("cpuset.mems", cpu.mems(), "cpu/mems");
}

/// hugetlb.SIZE.…: `suffix` is what the version calls a limit. Reservations are limited as well,
/// for otherwise a process that has reserved a page dies of SIGBUS on touching it.
fn hugetlb(
    resources: &LinuxResources,
    suffix: &'static str,
    writes: &mut Vec<Write>,
) -> Result<()> {
    for (index, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        let pointer = format!("hugepageLimits/{index}");
        let size = limit.page_size();
        if size.is_empty() || !size.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(invalid(&format!("{pointer}/pageSize"), "not a page size such as 2MB"));
        }
        if limit.limit() < 0 {
            return Err(invalid(&format!("{pointer}/limit"), "a limit can't be negative"));
        }
        let file = format!("hugetlb.{size}.{suffix}");
        writes.push(Write::new("hugetlb", file, limit.limit(), pointer.clone()));
        // Linux 5.7.
        let file = format!("hugetlb.{size}.rsvd.{suffix}");
        writes.push(Write::new("hugetlb", file, limit.limit(), pointer).or(Absent::Fine));
    }
    Ok(())
}

/// rdma.max, the same in both versions.
fn rdma(resources: &LinuxResources, writes: &mut Vec<Write>) -> Result<()> {
    for (device, limits) in resources.rdma().iter().flatten() {
        if device.is_empty() || device.contains(char::is_whitespace) {
            return Err(invalid("rdma", "not a device's name"));
        }
        let mut value = device.clone();
        for (name, limit) in
            [("hca_handle", limits.hca_handles()), ("hca_object", limits.hca_objects())]
        {
            if let Some(limit) = limit {
                value.push_str(&format!(" {name}={limit}"));
            }
        }
        if value != *device {
            writes.push(Write::new("rdma", "rdma.max", value, format!("rdma/{device}")));
        }
    }
    Ok(())
}
