//! `linux.netDevices`: moves network devices of the host into the container's network namespace.
//!
//! What belongs to the device goes along by itself: MTU, hardware address, queues. Its addresses
//! don't; so they are read before (all of global scope that don't expire, as the runtime-spec
//! wants it) and added again inside. Nothing is ever moved back: when the namespace ends, the
//! kernel returns physical devices and destroys virtual ones, see network_namespaces(7).

mod netlink;
mod stats;

use std::collections::HashMap;
use std::os::fd::{AsRawFd, BorrowedFd};

use oci_spec::runtime::LinuxNetDevice;
use rustix::io::Errno;
use rustix::thread::LinkNameSpaceType;

use crate::error::{Error, Result};
use crate::sys::vfork::BlockedSignals;
use netlink::{Refusal, Reply, Request, Socket, u32_at};

pub use stats::NetworkStats;

/// Bytes of the fixed bodies: struct ifinfomsg and struct ifaddrmsg of rtnetlink(7).
const LINK: usize = 16;
const ADDRESS: usize = 8;
/// What describes an address apart from its device. IFA_LABEL is left out, for it holds the
/// device's name.
const KEPT: [u16; 5] =
    [libc::IFA_ADDRESS, libc::IFA_LOCAL, libc::IFA_BROADCAST, libc::IFA_CACHEINFO, IFA_RT_PRIORITY];
/// In linux/if_addr.h: the metric of the address's route.
const IFA_RT_PRIORITY: u16 = 9;
/// Flags that are an address's configuration; the others are its state.
const KEPT_FLAGS: u32 = libc::IFA_F_NODAD
    | libc::IFA_F_HOMEADDRESS
    | libc::IFA_F_MANAGETEMPADDR
    | libc::IFA_F_NOPREFIXROUTE
    | libc::IFA_F_MCAUTOJOIN;

/// Moves devices from the caller's network namespace into `netns`, gives them their new names
/// and addresses, and brings them up.
pub(crate) fn move_devices(
    netns: BorrowedFd<'_>,
    devices: &HashMap<String, LinuxNetDevice>,
) -> Result<()> {
    if devices.is_empty() {
        return Ok(());
    }
    let fail =
        |errno| Error::system("make a netlink socket", errno).with_pointer("/linux/netDevices");
    let mut host = Socket::new().map_err(fail)?;
    let mut container = socket_in(netns).map_err(fail)?;
    let mut devices: Vec<_> = devices.iter().collect();
    devices.sort_unstable_by_key(|(name, _)| *name); // the same order each time
    for (name, device) in devices {
        let new_name = device.name().as_deref().filter(|name| !name.is_empty()).unwrap_or(name);
        move_device(&mut host, &mut container, netns, name, new_name).map_err(|(what, why)| {
            let escaped = name.replace('~', "~0").replace('/', "~1");
            let error = Error::system(format!("{what}, network device {name}"), why.errno)
                .with_pointer(format!("/linux/netDevices/{escaped}"));
            match why.message {
                Some(message) => error.with_source(message),
                None => error,
            }
        })?;
    }
    Ok(())
}

/// A netlink socket in another network namespace.
///
/// A namespace belongs to a thread, and a socket stays in the one where it was made. So a thread
/// of its own enters the namespace, makes the socket and is gone; the caller's never leaves its
/// own. All signals are blocked there, for a handler of the caller's must not run in it.
fn socket_in(netns: BorrowedFd<'_>) -> std::result::Result<Socket, Errno> {
    // A new thread inherits the mask, so there is no moment without.
    let blocked = BlockedSignals::new();
    std::thread::scope(|scope| {
        let body = || {
            let kind = Some(LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(netns, kind)?;
            Socket::new()
        };
        let thread =
            std::thread::Builder::new().name("hoist-netns".into()).spawn_scoped(scope, body);
        drop(blocked);
        match thread {
            Ok(thread) => thread.join().unwrap_or(Err(Errno::IO)),
            Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::AGAIN)),
        }
    })
}

/// What was being done, and why the kernel refused.
type Failure = (&'static str, Refusal);

fn move_device(
    host: &mut Socket,
    container: &mut Socket,
    netns: BorrowedFd<'_>,
    name: &str,
    new_name: &str,
) -> std::result::Result<(), Failure> {
    let index = index_of(host, name).map_err(|why| ("find", why))?;
    // Before anything else: moving takes the device down, and with that it loses its addresses.
    let addresses = addresses(host, index).map_err(|why| ("list the addresses", why))?;

    // The kernel first moves and then renames: a name that is taken is better found before. A
    // template (`eth%d`) never is.
    if !new_name.contains('%') {
        match index_of(container, new_name) {
            Ok(_) => return Err(("move and rename to a name that is taken", Errno::EXIST.into())),
            Err(why) if why.errno == Errno::NODEV => {}
            Err(why) => return Err(("look for the new name in the container", why)),
        }
    }
    // The new index is chosen here, so that the device is found again under whatever name.
    let new_index =
        free_index(container, index).map_err(|why| ("choose an index in the container", why))?;
    let fd = netns.as_raw_fd().to_ne_bytes();
    host.ask(|flags| {
        Request::new(libc::RTM_SETLINK, flags, &link(index, 0))
            .attribute(libc::IFLA_NET_NS_FD, &fd)
            .attribute(libc::IFLA_NEW_IFINDEX, &new_index.to_ne_bytes())
            .name(libc::IFLA_IFNAME, new_name)
    })
    .map_err(|why| ("move and rename", why))?;

    for address in addresses {
        container
            .ask(|flags| address.request(new_index, flags))
            .map_err(|why| ("add an address in the container", why))?;
    }
    let up = libc::IFF_UP.cast_unsigned();
    container
        .ask(|flags| Request::new(libc::RTM_SETLINK, flags, &link(new_index, up)))
        .map_err(|why| ("bring up in the container", why))?;
    Ok(())
}

/// struct ifinfomsg: the device's index, and the flags of netdevice(7) that are to be set.
fn link(index: u32, flags: u32) -> [u8; LINK] {
    let mut body = [0; LINK];
    for (at, value) in [(4, index), (8, flags), (12, flags)] {
        if let Some(field) = body.get_mut(at..at + 4) {
            field.copy_from_slice(&value.to_ne_bytes());
        }
    }
    body
}

fn index_of(socket: &mut Socket, name: &str) -> std::result::Result<u32, Refusal> {
    let replies = socket.ask(|flags| {
        Request::new(libc::RTM_GETLINK, flags, &link(0, 0)).name(libc::IFLA_IFNAME, name)
    })?;
    let reply = replies.first().ok_or(Errno::NODEV)?;
    Ok(u32_at(reply.body(LINK), 4)?)
}

/// The lowest index from `wanted` on that no device has.
fn free_index(socket: &mut Socket, wanted: u32) -> std::result::Result<u32, Refusal> {
    let largest = i32::MAX.cast_unsigned();
    for index in wanted..=largest {
        match socket.ask(|flags| Request::new(libc::RTM_GETLINK, flags, &link(index, 0))) {
            Ok(_) => {}
            Err(why) if why.errno == Errno::NODEV => return Ok(index),
            Err(why) => return Err(why),
        }
    }
    Err(Errno::NOSPC.into())
}

/// The device's addresses that go along.
fn addresses(socket: &mut Socket, index: u32) -> std::result::Result<Vec<Address>, Refusal> {
    let all = socket.dump(|flags| Request::new(libc::RTM_GETADDR, flags, &[0; ADDRESS]))?;
    Ok(all.into_iter().map(Address).filter(|address| address.goes_along(index)).collect())
}

/// An address, as RTM_GETADDR lists it.
struct Address(Reply);

impl Address {
    fn flags(&self) -> u32 {
        // The body's field has but 8 bits.
        let value = self.0.attribute(ADDRESS, libc::IFA_FLAGS).unwrap_or_default();
        u32_at(value, 0).unwrap_or_default()
    }

    fn goes_along(&self, index: u32) -> bool {
        let [.., scope, a, b, c, d] = self.0.body(ADDRESS) else { return false };
        u32::from_ne_bytes([*a, *b, *c, *d]) == index
            && *scope == libc::RT_SCOPE_UNIVERSE
            && self.flags() & libc::IFA_F_PERMANENT != 0
    }

    /// The request that adds it to another device.
    fn request(&self, index: u32, flags: i32) -> Request {
        let mut body = [0; ADDRESS];
        // Family and length of the prefix; flags are an attribute, and the scope is 0.
        for (to, from) in body.iter_mut().zip(self.0.body(2)) {
            *to = *from;
        }
        if let Some(field) = body.last_chunk_mut() {
            *field = index.to_ne_bytes();
        }
        let flags = flags | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let kept = self.flags() & KEPT_FLAGS;
        let request = Request::new(libc::RTM_NEWADDR, flags, &body)
            .attribute(libc::IFA_FLAGS, &kept.to_ne_bytes());
        KEPT.iter().fold(request, |request, &kind| match self.0.attribute(ADDRESS, kind) {
            Some(value) => request.attribute(kind, value),
            None => request,
        })
    }
}

#[cfg(test)]
mod tests;
