//! The container's root, as snapshotters hand it out.

use std::fs;
use std::path::Path;

use containerd_shim_protos::types::mount::Mount;
use serde_json::json;

use crate::harness::{Containerd, text};

fn mount(kind: &str, source: &Path, options: &[String]) -> Mount {
    let (type_, source, options) = (kind.to_owned(), text(source), options.to_vec());
    Mount { type_, source, options, ..Mount::default() }
}

/// An image of forty layers: the options of its mount are longer than a page.
#[test]
fn forty_layers() {
    let Some(containerd) = Containerd::new("forty_layers") else { return };
    let snapshots =
        containerd.dir().join("snapshots-with-a-name-as-long-as-those-of-containerd-are-x");
    let layers: Vec<_> = (0..40).map(|number| snapshots.join(format!("{number}/fs"))).collect();
    for (number, layer) in layers.iter().enumerate() {
        fs::create_dir_all(layer).expect("make a layer");
        fs::write(layer.join(format!("file-{number}")), "").expect("write");
        fs::write(layer.join("top"), number.to_string()).expect("write");
    }
    let [upper, work] = ["upper", "work"].map(|name| snapshots.join(name));
    for path in [&upper, &work] {
        fs::create_dir_all(path).expect("make a directory");
    }
    let lower: Vec<String> =
        layers.iter().map(|layer| text(layer)).chain([text(&containerd.root())]).collect();
    let options = [
        format!("workdir={}", text(&work)),
        format!("upperdir={}", text(&upper)),
        format!("lowerdir={}", lower.join(":")),
    ];
    assert!(options[2].len() > 3000);
    let script = "cat /top; echo; echo /file-*; echo new >/written";
    let (mut bundle, out, _) = containerd.bundle("a", &["sh", "-c", script]).output();
    bundle.rootfs = vec![mount("overlay", Path::new("overlay"), &options)];
    bundle.config["root"]["readonly"] = json!(false);
    let task = bundle.run();
    assert_eq!(task.wait().expect("wait"), 0);
    task.delete().expect("delete");
    let said = out.text();
    assert!(said.starts_with("0\n"), "the first layer is on top: {said}");
    assert_eq!(said.matches("/file-").count(), 40, "{said}");
    assert_eq!(fs::read_to_string(upper.join("written")).expect("the upper layer"), "new\n");
    task.shim.end();
    assert_eq!(containerd.left(), [""; 0]);
}

/// Docker gives no mounts: the root is in config.json.
#[test]
fn without_mounts() {
    let Some(containerd) = Containerd::new("without_mounts") else { return };
    let root = containerd.root();
    let (mut bundle, out, _) = containerd.bundle("a", &["echo", "hello"]).output();
    bundle.rootfs = Vec::new();
    bundle.config["root"]["path"] = json!(root);
    let task = bundle.run();
    assert_eq!(task.wait().expect("wait"), 0);
    task.delete().expect("delete");
    assert_eq!(out.text(), "hello\n");
    assert!(root.join("bin/busybox").exists(), "nobody removes what they haven't made");
    task.shim.end();
}

/// The second one can't be: the first one goes, too.
#[test]
fn a_mount_that_fails() {
    let Some(containerd) = Containerd::new("a_mount_that_fails") else { return };
    let mut bundle = containerd.bundle("a", &["true"]);
    bundle.rootfs.push(mount("overlay", Path::new("overlay"), &["lowerdir=/nowhere".to_owned()]));
    let shim = bundle.start_shim();
    let refused = bundle.create_in(&shim).err().expect("there is no such directory");
    assert!(refused.message.contains("mount"), "{refused}");
    shim.end();
    assert_eq!(containerd.left(), [""; 0]);
}

/// What is mounted below the root while it runs goes with it: nothing keeps the bundle.
#[test]
fn mounts_below_the_root() {
    let Some(containerd) = Containerd::new("mounts_below_the_root") else { return };
    let bundle = containerd.bundle("a", &["sleep", "1000"]);
    let task = bundle.run();
    let (source, target) = (containerd.root(), bundle.dir().join("rootfs/tmp"));
    rustix::mount::mount_bind(source, target).expect("bind");
    task.finish();
    task.shim.end();
    assert_eq!(containerd.left(), [""; 0]);
    assert!(containerd.root().join("bin/busybox").exists());
}
