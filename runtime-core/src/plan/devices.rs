//! `/dev`: the default devices, those of `linux.devices`, and the usual links.

use std::ffi::{CStr, CString};

use hoist_init::wire::{Reg, Step};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};

use super::builder::{Builder, path, text};
use super::context::Context;
use super::mounts::{DEVICE_PROPAGATION, clean};
use crate::error::{Error, Result};

/// config-linux.md "Default Devices", but for console and ptmx, which are made otherwise.
const DEFAULTS: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// A device to be made.
#[derive(Debug)]
pub(super) struct Device {
    pointer: String,
    /// Absolute and clean.
    path: String,
    /// Where it is on the host, as it stands in the configuration.
    source: CString,
    mode: u32,
    major: u32,
    minor: u32,
    uid: u32,
    gid: u32,
    /// Bound from the host and not made.
    bind: bool,
    /// Opened by outer.
    tree: Reg,
}

/// The default devices that the configuration doesn't replace, then the configuration's own.
pub(super) fn resolve(ctx: &Context<'_>) -> Result<Vec<Device>> {
    let own = ctx.linux().and_then(|linux| linux.devices().as_deref()).unwrap_or_default();
    let own = own.iter().enumerate().map(|(index, device)| (index, device, place(device)));
    let own: Vec<_> = own.filter(|(_, _, place)| place != "/dev/ptmx").collect();
    let bind = ctx.facts.bind_devices || ctx.user_namespace();
    let mut devices = Vec::new();
    for (name, major, minor) in DEFAULTS {
        if own.iter().all(|(_, _, place)| place != name) {
            devices.push(Device {
                pointer: String::new(),
                path: name.to_owned(),
                source: text(name, "")?,
                mode: libc::S_IFCHR | 0o666,
                major,
                minor,
                uid: 0,
                gid: 0,
                bind,
                tree: Reg::NONE,
            });
        }
    }
    for (index, device, path) in own {
        devices.push(Device::new(device, path, bind, format!("/linux/devices/{index}"))?);
    }
    Ok(devices)
}

fn place(device: &LinuxDevice) -> String {
    clean(&device.path().to_string_lossy()).into_owned()
}

impl Device {
    fn new(device: &LinuxDevice, place: String, bind: bool, pointer: String) -> Result<Self> {
        let kind = match device.typ() {
            LinuxDeviceType::C | LinuxDeviceType::U => libc::S_IFCHR,
            LinuxDeviceType::B => libc::S_IFBLK,
            LinuxDeviceType::P => libc::S_IFIFO,
            LinuxDeviceType::A => {
                let message = "`a` is no type of a device node";
                return Err(Error::config(format!("{pointer}/type"), message));
            }
        };
        if place == "/" {
            return Err(Error::config(format!("{pointer}/path"), "this is the root directory"));
        }
        // A FIFO has no number, and needs no privilege.
        let fifo = kind == libc::S_IFIFO;
        let number = |name: &str, value: i64| match u32::try_from(value) {
            _ if fifo => Ok(0),
            Ok(number) => Ok(number),
            Err(_) => {
                let message = format!("{value} is not a device number");
                Err(Error::config(format!("{pointer}/{name}"), message))
            }
        };
        Ok(Self {
            path: place,
            source: path(device.path(), &format!("{pointer}/path"))?,
            // Some engines put the file's type into its mode.
            mode: kind | device.file_mode().unwrap_or(0o666) & 0o7777,
            major: number("major", device.major())?,
            minor: number("minor", device.minor())?,
            uid: device.uid().unwrap_or(0),
            gid: device.gid().unwrap_or(0),
            bind: bind && !fifo,
            tree: Reg::NONE,
            pointer,
        })
    }
}

/// Outer: opens what inner binds.
pub(super) fn open(plan: &mut Builder, ctx: &Context<'_>, devices: &mut [Device]) -> Result<()> {
    if !ctx.open_outside() {
        return Ok(());
    }
    for device in devices.iter_mut().filter(|device| device.bind) {
        device.tree = plan.register(&device.pointer)?;
        let step = Step::OpenTree {
            source: &device.source,
            inside: false,
            out: device.tree,
            recursive: false,
            idmap: Reg::NONE,
            idmap_recursive: false,
            propagation: DEVICE_PROPAGATION,
        };
        plan.push(&device.pointer, &step);
    }
    Ok(())
}

/// Inner: makes them and the links. `mounted` tells whether `/dev` is there for sure.
pub(super) fn make(
    plan: &mut Builder,
    ctx: &Context<'_>,
    devices: &[Device],
    mounted: bool,
) -> Result<()> {
    if !mounted {
        plan.push("", &Step::MakeDirectory { path: c"/dev" });
    }
    plan.push("", &Step::OpenDirectory { path: c"/dev", out: Reg::DEV });
    for device in devices {
        // What isn't right in /dev is found from the root, where links lead as they should.
        let (directory, path) = match device.path.strip_prefix("/dev/") {
            Some(name) if !name.contains('/') => (Reg::DEV, name),
            _ => (Reg::ROOT, device.path.trim_start_matches('/')),
        };
        let path = text(path, &device.pointer)?;
        let step = if device.bind {
            Step::BindDevice { directory, path: &path, source: &device.source, tree: device.tree }
        } else {
            Step::MakeDevice {
                directory,
                path: &path,
                mode: device.mode,
                major: device.major,
                minor: device.minor,
                uid: device.uid,
                gid: device.gid,
            }
        };
        plan.push(&device.pointer, &step);
    }
    // The image's own /dev/ptmx would be the host's.
    link(plan, c"ptmx", c"pts/ptmx", true);
    link(plan, c"fd", c"/proc/self/fd", false);
    link(plan, c"stdin", c"/proc/self/fd/0", false);
    link(plan, c"stdout", c"/proc/self/fd/1", false);
    link(plan, c"stderr", c"/proc/self/fd/2", false);
    if ctx.facts.kcore {
        link(plan, c"core", c"/proc/kcore", false);
    }
    Ok(())
}

fn link(plan: &mut Builder, name: &CStr, target: &CStr, replace: bool) {
    plan.push("", &Step::MakeSymlink { directory: Reg::DEV, name, target, replace });
}
