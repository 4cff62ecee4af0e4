//! What is wrong is refused with its kind and its place, and after any failed create nothing is
//! left: no state, cgroup, mount, process or descriptor.

#![cfg(test)]

#[allow(dead_code, reason = "a part is used")]
#[path = "../examples/many_threads/caller.rs"]
mod caller;

mod harness;

use std::os::unix::fs::symlink;
use std::time::Duration;

use harness::{Lab, again, finish};
use hoist::{Bundle, CreateOptions, Error, ErrorKind, Result, Stdio};
use serde_json::{Value, json};

/// What has to be refused: its name, the id, what is done to the configuration, the error's
/// kind, and its pointer.
type Case = (&'static str, &'static str, fn(&mut Value), ErrorKind, Option<&'static str>);

const LONG: &str = match std::str::from_utf8(&[b'x'; 256]) {
    Ok(text) => text,
    Err(_) => "",
};

fn same(_: &mut Value) {}

const CASES: &[Case] = &[
    ("an empty id", "", same, ErrorKind::InvalidArgument, None),
    ("an id with a slash", "a/b", same, ErrorKind::InvalidArgument, None),
    ("an id that leads up", "..", same, ErrorKind::InvalidArgument, None),
    ("an id that stays", ".", same, ErrorKind::InvalidArgument, None),
    ("an id with a NUL", "a\0b", same, ErrorKind::InvalidArgument, None),
    ("a long id", LONG, same, ErrorKind::InvalidArgument, None),
    (
        "a program that is not in PATH",
        "id",
        |c| c["process"]["args"] = json!(["no-such-program"]),
        ErrorKind::CommandNotFound,
        Some("/process/args/0"),
    ),
    (
        "a program that is not there",
        "id",
        |c| c["process"]["args"] = json!(["/no/such/program"]),
        ErrorKind::CommandNotFound,
        Some("/process/args/0"),
    ),
    (
        "a program that is a directory",
        "id",
        |c| c["process"]["args"] = json!(["/etc"]),
        ErrorKind::CommandNotExecutable,
        Some("/process/args/0"),
    ),
    (
        "no arguments",
        "id",
        |c| c["process"]["args"] = json!([]),
        ErrorKind::InvalidConfig,
        Some("/process/args"),
    ),
    (
        "two namespaces of a kind",
        "id",
        |c| c["linux"]["namespaces"][1] = c["linux"]["namespaces"][0].clone(),
        ErrorKind::InvalidConfig,
        Some("/linux/namespaces/1"),
    ),
    (
        "a namespace that is not one",
        "id",
        |c| c["linux"]["namespaces"][0]["path"] = json!("/dev/null"),
        ErrorKind::Step,
        Some("/linux/namespaces/0"),
    ),
    (
        "a root that is not there",
        "id",
        |c| c["root"]["path"] = json!("nowhere"),
        ErrorKind::Step,
        Some("/root/path"),
    ),
    (
        "a filesystem that is unknown",
        "id",
        |c| c["mounts"][3]["type"] = json!("no-such-fs"),
        ErrorKind::Step,
        Some("/mounts/3"),
    ),
    (
        "a bind mount of nothing",
        "id",
        |c| {
            c["mounts"][1] =
                json!({ "destination": "/x", "source": "/no/such", "options": ["rbind"] });
        },
        ErrorKind::Step,
        Some("/mounts/1"),
    ),
    (
        "a working directory that is a file",
        "id",
        |c| c["process"]["cwd"] = json!("/bin/busybox"),
        ErrorKind::Step,
        Some("/process/cwd"),
    ),
    (
        "a hook that is not there",
        "id",
        |c| c["hooks"] = json!({ "createRuntime": [{ "path": "/no/such/hook" }] }),
        ErrorKind::Hook,
        Some("/hooks/createRuntime/0"),
    ),
    (
        "a hook that fails",
        "id",
        |c| {
            c["hooks"] = json!({ "createContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", "exit 3"] }] });
        },
        ErrorKind::Hook,
        Some("/hooks/createContainer/0"),
    ),
    (
        "a sysctl that is the host's",
        "id",
        |c| c["linux"]["sysctl"] = json!({ "vm.swappiness": "1" }),
        ErrorKind::InvalidConfig,
        Some("/linux/sysctl/vm.swappiness"),
    ),
];

fn create(lab: &Lab, id: &str) -> Result<()> {
    let bundle = Bundle::load(lab.bundle())?;
    let options = CreateOptions::new().stdio(Stdio::null());
    lab.runtime().create_with(id, bundle, options).map(drop)
}

/// In a program of its own, whose children and descriptors are the test's alone.
#[test]
fn what_is_wrong_is_refused_and_leaves_nothing() {
    if Lab::new("what_is_wrong_is_refused_and_leaves_nothing").is_none() {
        return;
    }
    let finished = finish(again("all_cases", r#"exec "$@""#), Duration::from_secs(60));
    finished.passed();
}

#[test]
#[ignore = "run by what_is_wrong_is_refused_and_leaves_nothing"]
fn all_cases() {
    let mut wrong = Vec::new();
    for (what, id, change, kind, pointer) in CASES {
        let Some(lab) = Lab::new(what) else { return };
        let mut config = lab.config(&["sh"]);
        change(&mut config);
        lab.write_config(&config);
        let before = caller::descriptors();
        match create(&lab, id) {
            Ok(()) => wrong.push(format!("{what}: accepted")),
            Err(error) => {
                let place = error.pointer();
                if error.kind() != *kind
                    || pointer.is_some_and(|pointer| place.is_none_or(|p| !p.starts_with(pointer)))
                {
                    wrong.push(format!("{what}: {:?} at {place:?}: {error}", error.kind()));
                }
            }
        }
        if before != caller::descriptors() {
            wrong.push(format!("{what}: descriptors: {:?}", caller::descriptors()));
        }
        if !caller::children().is_empty() {
            wrong.push(format!("{what}: children: {:?}", caller::children()));
        }
        wrong.extend(lab.left().into_iter().map(|left| format!("{what}: {left} is left")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{} cases", CASES.len());
}

#[test]
fn an_id_is_taken_once() {
    let Some(lab) = Lab::new("an_id_is_taken_once") else { return };
    create(&lab, "one").expect("the first");
    let kind = |result: Result<()>| result.map_err(|error: Error| error.kind());
    assert_eq!(kind(create(&lab, "one")), Err(ErrorKind::AlreadyExists));
    // The first is as it was.
    let container = lab.runtime().container("one").expect("there");
    assert_eq!(container.state().expect("state").status, hoist::Status::Created);
    container.delete().expect("delete");
    assert_eq!(lab.left(), Vec::<String>::new());
}

/// A destination that leads out of the root ends up in it: nothing of the host is mounted over,
/// and nothing made there.
#[test]
fn mounts_stay_inside_the_root() {
    let Some(lab) = Lab::new("mounts_stay_inside_the_root") else { return };
    let outside = lab.dir().join("outside");
    std::fs::create_dir(&outside).expect("mkdir");
    let up = "../".repeat(20);
    symlink(&outside, lab.rootfs().join("absolute")).expect("symlink");
    symlink(format!("{up}{}", outside.display()), lab.rootfs().join("relative")).expect("symlink");
    let mut config = lab.config(&["sh", "-c", "read line"]);
    config["root"]["readonly"] = json!(false);
    let mounts = config["mounts"].as_array_mut().expect("mounts");
    for destination in ["/absolute/a".to_owned(), "/relative/b".to_owned()]
        .into_iter()
        .chain([format!("/{up}{}/c", outside.display())])
    {
        mounts.push(json!({
            "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"],
        }));
    }
    lab.write_config(&config);
    let outcome = create(&lab, "one");
    let made: Vec<_> = std::fs::read_dir(&outside).expect("outside").flatten().collect();
    assert!(made.is_empty(), "{made:?}");
    if outcome.is_ok() {
        let container = lab.runtime().container("one").expect("there");
        let pid = container.pid().expect("state").expect("alive");
        let mountinfo = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("read");
        for name in ["a", "b", "c"] {
            let inside = format!(" {}/{name} ", outside.display());
            assert!(mountinfo.contains(&inside), "{name}: {mountinfo}");
        }
        container.delete_force().expect("delete");
    }
    assert_eq!(lab.left(), Vec::<String>::new());
}

#[test]
fn a_huge_configuration_is_refused_quickly() {
    let Some(lab) = Lab::new("a_huge_configuration_is_refused_quickly") else { return };
    let path = lab.bundle().join("config.json");
    for (what, text) in [
        ("spaces", " ".repeat(64 << 20)),
        ("a string", format!("{{\"hostname\":\"{}\"}}", "x".repeat(64 << 20))),
        ("brackets", "[".repeat(64 << 20)),
    ] {
        std::fs::write(&path, text).expect("write");
        let error = create(&lab, "one").expect_err(what);
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{what}: {error}");
        assert!(error.to_string().len() < 1000, "{what}: {error}");
    }
    assert_eq!(lab.left(), Vec::<String>::new());
}
