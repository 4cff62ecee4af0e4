//! The floor is a yardstick only if it makes the very container that hoist makes: here a container
//! of each tells what it sees.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

#[path = "../src/floor.rs"]
#[allow(dead_code)]
mod floor;

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hoist::{Bundle, CreateOptions, DefaultSpec, Runtime};
use serde_json::{Value, json};

/// What `/bin/true` is here.
const TELL: &str = "#!/bin/sh
echo '== mounts'
cat /proc/self/mountinfo
echo '== devices'
stat -c '%n %F %a %t %T %u %g %N' /dev /dev/*
echo '== process'
grep -E '^(Umask|NSpid|NSsid|Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|Speculation)' /proc/self/status
cut -d' ' -f6,7 /proc/self/stat # session and terminal
pwd
env | sort
echo '== limits'
cat /proc/self/limits
echo '== cgroups'
cat /proc/self/cgroup
echo '== namespaces'
for namespace in /proc/self/ns/*; do readlink $namespace; done
echo '== network'
cut -d: -f1 /proc/net/dev
[ ! -d /sys/class ] || cat /sys/class/net/lo/flags
";

/// Where both run: a root file system, and a place for state.
struct Lab {
    directory: PathBuf,
    name: String,
}

impl Lab {
    /// `None`, after a SKIP line, where containers can't be run.
    fn new(test: &str) -> Option<Self> {
        let skip = if !rustix::process::geteuid().is_root() {
            "needs root"
        } else if !Path::new("/bin/busybox").exists() {
            "needs /bin/busybox (busybox-static)"
        } else {
            let name = format!("hoist-floor-{}-{test}", std::process::id());
            let lab = Self { directory: std::env::temp_dir().join(&name), name };
            lab.make_root().expect("make a root");
            return Some(lab);
        };
        println!("SKIP {test}: {skip}");
        if let Some(path) = std::env::var_os("HOIST_SKIPS") {
            use std::io::Write as _;
            let file = fs::OpenOptions::new().create(true).append(true).open(path);
            let _ = file.and_then(|mut file| writeln!(file, "SKIP {test}: {skip}"));
        }
        None
    }

    fn make_root(&self) -> std::io::Result<()> {
        let root = self.root();
        for directory in ["bin", "proc", "sys", "dev", "etc"] {
            fs::create_dir_all(root.join(directory))?;
        }
        fs::copy("/bin/busybox", root.join("bin/busybox"))?;
        for name in ["sh", "cat", "stat", "grep", "env", "sort", "readlink", "cut"] {
            symlink("busybox", root.join("bin").join(name))?;
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
        fs::write(root.join("bin/true"), TELL)?;
        fs::set_permissions(root.join("bin/true"), fs::Permissions::from_mode(0o755))
    }

    fn root(&self) -> PathBuf {
        self.directory.join("rootfs")
    }

    fn bundle(&self, config: &Value) -> Bundle {
        let mut config = config.clone();
        config["root"]["path"] = json!(self.root());
        config["linux"]["cgroupsPath"] = json!(format!("/{}", self.name));
        Bundle::from_json(&self.directory, config.to_string()).expect("a bundle")
    }

    fn runtime(&self) -> Runtime {
        Runtime::builder().root(self.directory.join("state")).build().expect("a runtime")
    }

    fn hoist(&self, config: &Value) -> String {
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let null = || fs::File::open("/dev/null").expect("/dev/null").into();
        let error = writer.try_clone().expect("a descriptor");
        let stdio = hoist::Stdio::from_descriptors(null(), writer.into(), error.into());
        let runtime = self.runtime();
        let container = runtime.create(&self.name, self.bundle(config), stdio).expect("create");
        container.start().expect("start");
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("read");
        assert!(container.wait().expect("wait").success(), "{text}");
        container.delete().expect("delete");
        self.plain(&text)
    }

    fn floor(&self, config: &str, filter: Option<&Path>) -> String {
        let program = self.directory.join("floor");
        fs::write(&program, floor::program()).expect("write the floor");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
        let output = Command::new(&program)
            .arg(self.root())
            .arg(floor::cgroups(&self.name).expect("the hierarchies"))
            .arg(config)
            .args(filter)
            .stdin(Stdio::null())
            .output()
            .expect("run the floor");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}{text}", String::from_utf8_lossy(&output.stderr));
        assert!(self.left().is_empty(), "the floor left a cgroup");
        self.plain(&text)
    }

    /// Cgroups that are still there.
    fn left(&self) -> Vec<PathBuf> {
        let paths = floor::cgroups(&self.name).unwrap_or_default().into_string();
        let paths = paths.unwrap_or_default();
        paths.split(':').map(PathBuf::from).filter(|path| path.exists()).collect()
    }

    /// Without what differs from one container to the next: numbers of mounts, devices and namespaces.
    fn plain(&self, text: &str) -> String {
        let mut mounts = Vec::new();
        let mut plain = String::new();
        for line in text.lines() {
            if line.split(' ').next().is_some_and(|id| id.parse::<u32>().is_ok())
                && line.contains(" - ")
            {
                mounts.push(mount(line));
            } else if let Some((kind, id)) = line.split_once(":[") {
                let host = fs::read_link(format!("/proc/self/ns/{}", kind.trim()));
                let own = host.is_ok_and(|host| !host.to_string_lossy().ends_with(id));
                let _ = writeln!(plain, "{kind} {}", if own { "of its own" } else { "the host's" });
            } else {
                let _ = writeln!(plain, "{line}");
            }
        }
        mounts.sort();
        let _ = writeln!(plain, "{}", mounts.join("\n"));
        plain
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Ok(container) = self.runtime().container(&self.name) {
            let _ = container.delete_force();
        }
        for cgroup in self.left() {
            let _ = fs::remove_dir(cgroup);
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A line of mountinfo without the numbers of mounts, peer groups and anonymous devices.
fn mount(line: &str) -> String {
    let words = line.split(' ').skip(2).map(|word| match word.split_once(':') {
        Some(("0", _)) => "0:N",
        Some((kind @ ("master" | "shared"), _)) => kind,
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

fn default() -> Value {
    let unified = Path::new("/sys/fs/cgroup/cgroup.procs").exists();
    let spec = DefaultSpec::default().cgroup_namespace(unified).json();
    let mut config: Value = serde_json::from_str(&spec).expect("JSON");
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/true"]);
    config
}

#[test]
fn default_is_the_same() {
    let Some(lab) = Lab::new("default") else { return };
    compare(&lab.floor("default", None), &lab.hoist(&default()));
}

#[test]
fn minimal_is_the_same() {
    let Some(lab) = Lab::new("minimal") else { return };
    let config = serde_json::from_str(floor::MINIMAL).expect("JSON");
    compare(&lab.floor("minimal", None), &lab.hoist(&config));
}

#[test]
fn default_with_a_filter_is_the_same() {
    let Some(lab) = Lab::new("filter") else { return };
    let profile = include_str!("../../runtime-core/tests/data/docker-seccomp.json");
    let mut config = default();
    config["linux"]["seccomp"] = serde_json::from_str(profile).expect("JSON");
    let plan = lab.runtime().plan(&lab.name, &lab.bundle(&config), &CreateOptions::default());
    let path = lab.directory.join("filter");
    fs::write(&path, plan.expect("a plan").filter().expect("a filter")).expect("write");
    compare(&lab.floor("default", Some(&path)), &lab.hoist(&config));
}

/// On a machine with v1 hierarchies cgroup2 has few controllers, and none is needed here.
#[test]
fn all_are_the_same_on_cgroup2() {
    if Path::new("/sys/fs/cgroup/cgroup.procs").exists() || Lab::new("cgroup2").is_none() {
        return;
    }
    let view = "mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";
    let mut again = Command::new("unshare");
    again.args(["-m", "--propagation", "private", "sh", "-c", view, "sh"]);
    again.arg(std::env::current_exe().expect("this program's path"));
    let output = again.arg("is_the_same").output().expect("unshare");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("3 passed"), "{text}");
}

/// Names each line that only one of both has.
fn compare(floor: &str, hoist: &str) {
    assert!(hoist.contains("== limits"), "it said too little:\n{hoist}");
    let without = |text: &str, other: &str| {
        let missing = text.lines().filter(|line| !other.lines().any(|same| same == *line));
        missing.map(|line| format!("\n    {line}")).collect::<String>()
    };
    let (more, less) = (without(floor, hoist), without(hoist, floor));
    assert!(floor == hoist, "only the floor's container:{more}\nonly hoist's container:{less}");
}
