use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;

use super::*;

/// Runs ip(8).
fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// A network namespace that ends with this.
struct Netns(String, File);

impl Netns {
    fn new(name: &str) -> Self {
        let name = format!("hoist-{}-{name}", std::process::id());
        ip(&format!("netns add {name}"));
        let file = File::open(format!("/run/netns/{name}")).unwrap();
        Self(name, file)
    }

    fn ip(&self, arguments: &str) -> String {
        ip(&format!("-n {} {arguments}", self.0))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// Two namespaces, or none where they can't be had.
fn host_and_container(test: &str) -> Option<(Netns, Netns)> {
    let root = rustix::process::geteuid().is_root();
    if !root || Command::new("ip").arg("-V").output().is_err() {
        eprintln!("skipped: needs root and ip(8)");
        return None;
    }
    Some((Netns::new(&format!("{test}-h")), Netns::new(&format!("{test}-c"))))
}

/// Moves devices from one namespace to the other, as a program in the first would.
fn run(host: &Netns, container: &Netns, devices: &[(&str, Option<&str>)]) -> Result<()> {
    let devices = devices
        .iter()
        .map(|(name, new)| {
            let mut device = LinuxNetDevice::default();
            device.set_name(new.map(str::to_owned));
            ((*name).to_owned(), device)
        })
        .collect();
    std::thread::scope(|scope| {
        let body = || {
            let kind = Some(LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(host.1.as_fd(), kind).unwrap();
            move_devices(container.1.as_fd(), &devices)
        };
        scope.spawn(body).join().unwrap()
    })
}

#[test]
fn a_device_goes_with_all_that_is_its_own() {
    let Some((host, container)) = host_and_container("all") else { return };
    host.ip("link add one type veth peer name two");
    host.ip("link set one mtu 1400 address 02:00:00:00:00:07");
    host.ip("link set one up");
    host.ip("link set two up");
    host.ip("addr add 192.0.2.1/24 brd 192.0.2.255 dev one");
    host.ip("addr add 198.51.100.1 peer 198.51.100.2 dev one");
    host.ip("addr add 2001:db8::1/64 dev one nodad");
    host.ip("addr add 203.0.113.1/32 dev one scope link");
    host.ip("addr add 203.0.113.2/32 dev one valid_lft 600 preferred_lft 600");
    host.ip("addr add 203.0.113.3/24 dev two");

    run(&host, &container, &[("one", Some("eth0"))]).unwrap();
    assert!(!host.ip("-o link").contains("one@"));
    let link = container.ip("-o link show eth0");
    for expected in ["mtu 1400", "02:00:00:00:00:07", "UP"] {
        assert!(link.contains(expected), "{link}");
    }
    let addresses = container.ip("-o addr show eth0");
    for expected in [
        "inet 192.0.2.1/24 brd 192.0.2.255 scope global eth0",
        "inet 198.51.100.1 peer 198.51.100.2/32 scope global eth0",
        "inet6 2001:db8::1/64 scope global",
    ] {
        assert!(addresses.contains(expected), "{addresses}");
    }
    assert!(!addresses.contains("203.0.113."), "{addresses}");
}

#[test]
fn names_are_kept_or_made_from_a_template() {
    let Some((host, container)) = host_and_container("name") else { return };
    host.ip("link add one type veth peer name two");
    container.ip("link add eth0 type veth peer name eth1");
    run(&host, &container, &[("one", None), ("two", Some("eth%d"))]).unwrap();
    let links = container.ip("-o link");
    for name in ["one", "eth2"] {
        assert!(links.contains(&format!(": {name}@")), "{links}");
        assert!(container.ip(&format!("-o link show {name}")).contains("UP"));
    }
}

#[test]
fn a_taken_index_is_avoided() {
    let Some((host, container)) = host_and_container("index") else { return };
    host.ip("link add one index 77 type veth peer name two index 79");
    container.ip("link add eth0 index 77 type veth peer name eth1 index 78");
    run(&host, &container, &[("one", None)]).unwrap();
    assert!(container.ip("-o link show one").starts_with("79: "));
}

#[test]
fn a_taken_name_leaves_the_device_where_it_is() {
    let Some((host, container)) = host_and_container("taken") else { return };
    host.ip("link add one type veth peer name two");
    container.ip("link add eth0 type veth peer name eth1");
    let error = run(&host, &container, &[("one", Some("eth0"))]).unwrap_err();
    assert_eq!(error.errno(), Some(libc::EEXIST));
    assert_eq!(error.pointer(), Some("/linux/netDevices/one"));
    host.ip("link show one");
}

#[test]
fn refusals_name_the_device_and_the_reason() {
    let Some((host, container)) = host_and_container("no") else { return };
    let error = run(&host, &container, &[("none", None)]).unwrap_err();
    assert_eq!(error.errno(), Some(libc::ENODEV));
    assert_eq!(error.pointer(), Some("/linux/netDevices/none"));
    // The loopback device stays at home; newer kernels say why.
    let error = run(&host, &container, &[("lo", Some("lo1"))]).unwrap_err();
    assert_eq!(error.errno(), Some(libc::EINVAL));
    assert!(error.to_string().contains("network device lo"), "{error}");
}

#[test]
fn the_caller_stays_in_its_namespace() {
    let Some((_, container)) = host_and_container("stay") else { return };
    let own = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    let before = own();
    socket_in(container.1.as_fd()).unwrap();
    assert_eq!(own(), before);
    assert!(socket_in(File::open("/dev/null").unwrap().as_fd()).is_err());
    assert_eq!(own(), before);
}
