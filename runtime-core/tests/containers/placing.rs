//! Where a container's processes are, whose the cgroup is, and where a container can't be.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Child;

use hoist::{Container, CreateOptions, ErrorKind, ExecOptions, Status};
use serde_json::json;

use crate::cgroups::{cgroup2, eventually, hierarchy, read, unified, write};
use crate::common::{Case, Output, assert_error, end, exec, exec_with, pointer_of, sh_process};
use crate::{case, skip};

/// The cgroups of a process: the controllers of each hierarchy, and the path.
fn cgroups_of(pid: u32) -> Vec<(String, String)> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let fields = text.lines().map(|line| line.splitn(3, ':').skip(1).map(str::to_owned));
    fields.map(|mut fields| (fields.next().unwrap(), fields.next().unwrap())).collect()
}

/// In which of a process's cgroups a container has one of its own, by the process's mounts.
fn placed(pid: u32) -> BTreeSet<String> {
    let ours = cgroups_of(pid).into_iter().filter(|(controllers, _)| match controllers.as_str() {
        "" => cgroup2().is_some(),
        list => {
            !unified() && list.split(',').next().is_some_and(|first| hierarchy(first).is_some())
        }
    });
    ours.map(|(_, path)| path).collect()
}

/// A process of the host's that only waits.
struct Foreign(Child);

impl Foreign {
    fn new() -> Self {
        Self(crate::removal::host_sleep())
    }

    fn enter(&self, cgroup: &Path) {
        write(&cgroup.join("cgroup.procs"), &self.0.id().to_string());
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A controller that cgroup2 has, whatever it is.
fn some_controller() -> Option<String> {
    if !unified() {
        return None;
    }
    let list = read(Path::new("/sys/fs/cgroup/cgroup.controllers"));
    // One that isn't for threads as well.
    let list: Vec<_> = list.split_whitespace().map(str::to_owned).collect();
    list.into_iter().find(|name| ["hugetlb", "memory", "io"].contains(&name.as_str()))
}

fn limit_for(controller: &str) -> serde_json::Value {
    match controller {
        "hugetlb" => json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}]}),
        "memory" => json!({"memory": {"limit": 100_000_000}}),
        _ => json!({"blockIO": {"weight": 300}}),
    }
}

/// Makes the cgroup mount, with a namespace for it, writable.
fn with_cgroups(case: &mut Case) {
    case.mount("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", "rw"]);
}

fn output_of(container: &Container, script: &str) -> Output {
    exec(container, sh_process(script))
}

#[test]
fn every_hierarchy_has_the_process() {
    let mut case = case!();
    case.linux()["resources"] = json!({"pids": {"limit": 1}});
    if hierarchy("pids").is_none() {
        case.linux()["resources"] = json!({});
    }
    case.script("exec sleep 1000");
    let container = case.create();
    let expected = BTreeSet::from([format!("/{}", case.id)]);
    // Also with the limit at which nobody can be forked there.
    assert_eq!(placed(container.pid().unwrap().unwrap()), expected);
    container.start().unwrap();
    assert_eq!(placed(container.pid().unwrap().unwrap()), expected);
    if hierarchy("pids").is_none() || !unified() {
        // v1 lets a process be attached where none may be forked.
        let output = output_of(&container, "echo $$ >/dev/null; echo here");
        assert_eq!(output.success(), "here\n");
    }
    end(container);
}

#[test]
fn cgroups_path() {
    let mut case = case!();
    case.script("exec sleep 1000");
    for (path, expected) in [
        (Some(format!("/{}", case.id)), format!("/{}", case.id)),
        (Some(format!("/{}/./b//c", case.id)), format!("/{}/b/c", case.id)),
        (Some(String::new()), format!("/{}", case.id)),
        (None, format!("/{}", case.id)),
    ] {
        let linux = case.linux().as_object_mut().unwrap();
        linux.remove("cgroupsPath");
        linux.extend(path.map(|path| ("cgroupsPath".to_owned(), json!(path))));
        let container = case.create();
        assert_eq!(placed(container.pid().unwrap().unwrap()), BTreeSet::from([expected]));
        container.delete().unwrap();
        case.assert_nothing_left();
    }
    for path in ["/", "/..", "/a/../../b", "../b"] {
        case.linux()["cgroupsPath"] = json!(path);
        let error = case.run().unwrap_err();
        assert_error(&error, ErrorKind::InvalidConfig, "/linux/cgroupsPath", "");
    }
}

/// A relative one is beside hoist's own cgroup on v2, which has processes.
#[test]
fn a_relative_cgroups_path() {
    let mut case = case!();
    if !unified() {
        skip!("on v1 it is below the caller's own cgroups, which are the machine's");
    }
    let own = cgroups_of(std::process::id()).into_iter().find(|(list, _)| list.is_empty());
    let parent = own.unwrap().1.rsplit_once('/').unwrap().0.to_owned();
    case.linux()["cgroupsPath"] = json!(case.id);
    case.script("exec sleep 1000");
    let container = case.create();
    let expected = format!("{parent}/{}", case.id);
    assert_eq!(placed(container.pid().unwrap().unwrap()), BTreeSet::from([expected.clone()]));
    container.delete().unwrap();
    assert!(!Path::new("/sys/fs/cgroup").join(expected.trim_start_matches('/')).exists());
}

/// Who owns what in a directory, by name; `.` is the directory itself.
fn owned_by(dir: &Path, uid: u32) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let all =
        entries.chain([dir.to_owned()]).filter(|path| fs::metadata(path).unwrap().uid() == uid);
    all.map(|path| match path == dir {
        true => ".".to_owned(),
        false => path.file_name().unwrap().to_string_lossy().into_owned(),
    })
    .collect()
}

#[test]
fn the_kernels_list_is_delegated() {
    let mut case = case!();
    if !unified() {
        skip!("v1 is never delegated");
    }
    case.user_namespace();
    case.script("exec sleep 1000");
    let dir = Path::new("/sys/fs/cgroup").join(&case.id);
    // With what somebody else has made there before: that isn't given away.
    fs::create_dir_all(dir.join("earlier")).unwrap();
    for (options, delegated) in [(None, false), (Some("ro"), false), (Some("rw"), true)] {
        case.mounts().retain(|mount| mount["type"] != "cgroup");
        if let Some(option) = options {
            case.mount("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", option]);
        }
        let container = case.create();
        let mut expected = BTreeSet::new();
        if delegated {
            let list = read(Path::new("/sys/kernel/cgroup/delegate"));
            let list = list.lines().filter(|file| dir.join(file).exists()).map(str::to_owned);
            expected = list.chain([".".to_owned()]).collect();
            assert!(expected.contains("cgroup.procs"));
        }
        assert_eq!(owned_by(&dir, 100_000), expected, "{options:?}");
        assert!(owned_by(&dir.join("earlier"), 100_000).is_empty());
        if delegated {
            container.start().unwrap();
            // Its root may divide it, and may not lift its limits.
            let script = "cd /sys/fs/cgroup && mkdir own && echo $$ > own/cgroup.procs &&
                cat /proc/self/cgroup; echo max > cgroup.max.depth || echo refused";
            let output = output_of(&container, script);
            assert!(output.stdout.contains("0::/own\n"), "{output:?}");
            assert!(output.stdout.contains("refused\n"), "{output:?}");
        }
        end(container);
        fs::create_dir_all(dir.join("earlier")).unwrap();
    }
    fs::remove_dir(dir.join("earlier")).unwrap();
    fs::remove_dir(&dir).unwrap();
}

/// What the container makes below its cgroup stays its own until it is deleted.
#[test]
fn sub_cgroups_stay_the_containers() {
    let mut case = case!();
    with_cgroups(&mut case);
    case.script("exec sleep 1000");
    let container = case.create();
    container.start().unwrap();
    let at = match unified() {
        true => "/sys/fs/cgroup".to_owned(),
        false => format!("/sys/fs/cgroup/{}", name_of(&hierarchy("devices").unwrap())),
    };
    let script = format!("mkdir -p {at}/a/b {at}/c && echo 1 > {at}/a/b/cgroup.procs");
    assert_eq!(output_of(&container, &script).success(), "");
    let out =
        output_of(&container, &format!("cat /proc/self/cgroup /proc/1/cgroup; ls -d {at}/*/"));
    let out = out.success();
    // exec is in the container's own cgroup, which is the root of its namespace.
    assert!(out.contains(":/\n") && out.contains(":/a/b\n"), "{out}");
    assert!(out.contains("/a/\n") && out.contains("/c/\n"), "{out}");
    let options = ExecOptions::new().cgroup(if unified() { "c" } else { "devices:c" });
    let output = exec_with(&container, sh_process("cat /proc/self/cgroup"), options).unwrap();
    assert!(output.success().contains(":/c\n"));
    // The first process isn't in the container's own cgroup, and is killed all the same.
    assert_eq!(container.processes().unwrap().len(), 1);
    end(container);
    case.assert_nothing_left();
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// As with systemd as the first process: the container's own cgroup has controllers for those
/// below it, and takes no process any more.
#[test]
fn exec_where_the_first_process_is() {
    let mut case = case!();
    let Some(controller) = some_controller() else {
        skip!("needs a cgroup2 with a controller");
    };
    with_cgroups(&mut case);
    let root = "/sys/fs/cgroup";
    case.script(&format!(
        "mkdir {root}/init.scope && echo 1 > {root}/init.scope/cgroup.procs &&
         echo +{controller} > {root}/cgroup.subtree_control && echo divided > /tmp/f
         exec sleep 1000"
    ));
    let container = case.create();
    container.start().unwrap();
    let said = case.rootfs().join("tmp/f");
    eventually("divided", || fs::read_to_string(&said).is_ok_and(|text| text == "divided\n"));
    let out = output_of(&container, "cat /proc/self/cgroup").success();
    assert!(out.contains("0::/init.scope\n"), "{out}");
    // Who says where to gets what he has asked for.
    let options = ExecOptions::new().cgroup("/");
    let error = exec_with(&container, sh_process("true"), options).unwrap_err();
    assert!(error.to_string().contains("EBUSY"), "{error}");
    assert!(error.file().is_some_and(|file| file.ends_with("cgroup.procs")), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("controllers")), "{error}");
    // A first process that was moved elsewhere doesn't lead anybody there.
    let outside = Path::new(root).join(format!("{}-outside", case.id));
    fs::create_dir(&outside).unwrap();
    let pid = container.pid().unwrap().unwrap();
    write(&outside.join("cgroup.procs"), &pid.to_string());
    let error = exec_with(&container, sh_process("true"), ExecOptions::new()).unwrap_err();
    assert_error(&error, ErrorKind::WrongState, "", "in none of those below it");
    let own = Path::new(root).join(&case.id);
    write(&own.join("init.scope/cgroup.procs"), &pid.to_string());
    fs::remove_dir(&outside).unwrap();
    end(container);
    case.assert_nothing_left();
}

/// Directories of the test's cgroup, made before the container.
fn prepare(case: &Case, below: &str) -> Vec<PathBuf> {
    let tops = match unified() {
        true => vec![PathBuf::from("/sys/fs/cgroup")],
        false => hierarchy("devices").into_iter().chain(cgroup2()).collect(),
    };
    let dirs: Vec<_> = tops.iter().map(|top| top.join(&case.id).join(below)).collect();
    dirs.iter().for_each(|dir| fs::create_dir_all(dir).unwrap());
    dirs
}

#[test]
fn a_cgroup_in_use_is_refused() {
    let mut case = case!();
    case.script("true");
    let foreign = Foreign::new();
    let dirs = prepare(&case, "");
    dirs.iter().for_each(|dir| foreign.enter(dir));
    let error = case.run().unwrap_err();
    assert_error(
        &error,
        ErrorKind::Cgroup,
        "/linux/cgroupsPath",
        "container's cgroup is not empty",
    );
    // It is somebody else's: neither it nor who is in it was touched.
    for dir in &dirs {
        assert_eq!(read(&dir.join("cgroup.procs")), foreign.0.id().to_string());
    }
    assert!(case.runtime.list().unwrap().is_empty());
    drop(foreign);
    // An empty one is taken, and left where it was found.
    eventually("empty", || dirs.iter().all(|dir| read(&dir.join("cgroup.procs")).is_empty()));
    case.run().unwrap().success();
    for dir in dirs {
        let _ = fs::remove_dir(dir);
    }
}

#[test]
fn a_frozen_cgroup_is_refused() {
    let mut case = case!();
    case.script("true");
    let Some(top) = (if unified() { cgroup2() } else { hierarchy("freezer") }) else {
        skip!("no freezer");
    };
    let dir = top.join(&case.id);
    fs::create_dir(&dir).unwrap();
    let (file, frozen) =
        if unified() { ("cgroup.freeze", "1") } else { ("freezer.state", "FROZEN") };
    write(&dir.join(file), frozen);
    let itself = case.run().unwrap_err();
    // A new one below it.
    case.linux()["cgroupsPath"] = json!(format!("/{}/new", case.id));
    let below = case.run().unwrap_err();
    let left = dir.join("new").exists();
    let _ = fs::remove_dir(&dir);
    for error in [itself, below] {
        assert_error(&error, ErrorKind::Cgroup, "", "unexpectedly frozen");
    }
    assert!(!left);
    case.assert_nothing_left();
}

/// cgroup-v2.rst, "Threads": below a threaded cgroup no controller that counts processes is to be
/// had; without any a container can be there.
#[test]
fn a_threaded_cgroup() {
    let mut case = case!();
    let Some(controller) = some_controller() else {
        skip!("needs a cgroup2 with a controller");
    };
    // The one above must have given nothing to those below.
    let above = prepare(&case, "t").remove(0);
    write(&above.join("cgroup.type"), "threaded");
    case.linux()["cgroupsPath"] = json!(format!("/{}/t/c", case.id));
    case.linux()["resources"] = limit_for(&controller);
    case.script("cat /proc/self/cgroup");
    let error = case.run().unwrap_err();
    let words = format!("can't have the controller {controller}");
    assert_error(&error, ErrorKind::Cgroup, pointer_of(&error), &words);
    assert!(pointer_of(&error).starts_with("/linux/resources/"));
    assert!(!above.join("c").exists());

    case.linux()["resources"] = json!({});
    case.script("sleep 1000 & sleep 1000 & wait");
    let container = case.runtime.run_with(&case.id, case.bundle().unwrap(), CreateOptions::new());
    let container = container.unwrap();
    assert_eq!(container.state().unwrap().status, Status::Running);
    assert_eq!(read(&above.join("c/cgroup.type")), "threaded");
    end(container);
    assert!(!above.join("c").exists());
    let _ = (fs::remove_dir(&above), fs::remove_dir(above.parent().unwrap()));
}

/// Who has processes of his own has no controllers for those below: the error says so.
#[test]
fn a_parent_with_processes() {
    let mut case = case!();
    let Some(controller) = some_controller() else {
        skip!("needs a cgroup2 with a controller");
    };
    let above = prepare(&case, "").remove(0);
    let foreign = Foreign::new();
    foreign.enter(&above);
    case.linux()["cgroupsPath"] = json!(format!("/{}/c", case.id));
    case.linux()["resources"] = limit_for(&controller);
    case.script("true");
    let error = case.run().unwrap_err();
    let words = format!("enable the controller {controller}");
    assert_error(&error, ErrorKind::Cgroup, pointer_of(&error), &words);
    assert_eq!(error.errno(), Some(rustix::io::Errno::BUSY.raw_os_error()));
    assert!(error.file().unwrap().ends_with("/cgroup.subtree_control"), "{error}");
    assert!(error.hint().unwrap().contains("processes of its own"), "{error}");
    assert!(!above.join("c").exists());
    case.linux()["resources"] = json!({});
    case.run().unwrap().success();
    drop(foreign);
    eventually("removed", || fs::remove_dir(&above).is_ok() || !above.exists());
}
