//! The files that users copy: they parse, say what docs/containerd.md shows, and hoist reads them.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn package(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn example(name: &str) -> String {
    fs::read_to_string(package("examples").join(name)).unwrap()
}

/// What Python's `reader` makes of an example, as JSON; None, with a word, if there is no such reader.
fn parsed(test: &str, reader: &str, name: &str) -> Option<serde_json::Value> {
    let available = Command::new("python3")
        .args(["-c", &format!("import {reader}")])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !available {
        skip(test, &format!("no python3 with {reader}"));
        return None;
    }
    let load = match reader {
        "tomllib" => "tomllib.load(open(sys.argv[1], 'rb'))",
        _ => "list(yaml.safe_load_all(open(sys.argv[1])))",
    };
    let script = format!("import {reader}, json, sys; print(json.dumps({load}))");
    let path = package("examples").join(name);
    let output = Command::new("python3").arg("-c").arg(script).arg(&path).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", path.display());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[allow(clippy::print_stderr)]
fn skip(name: &str, reason: &str) {
    use std::io::Write;
    let line = format!("SKIP {name}: {reason}\n");
    eprint!("{line}");
    if let Some(list) = std::env::var_os("HOIST_SKIPS") {
        let mut list = fs::File::options().append(true).create(true).open(list).unwrap();
        list.write_all(line.as_bytes()).unwrap();
    }
}

const RUNTIME: &str = "io.containerd.hoist.v2";

#[test]
fn the_documentation_shows_them_as_they_are() {
    let text = fs::read_to_string(package("../docs/containerd.md")).unwrap();
    let mut examples = 0;
    for entry in fs::read_dir(package("examples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(text.contains(&format!("shim/examples/{name})")), "{name} is not linked to");
        assert!(text.contains(&format!("\n{}```\n", example(&name))), "{name} is not as shown");
        examples += 1;
    }
    assert_eq!(examples, 6);
}

#[test]
fn dockers_configuration() {
    let daemon =
        |name: &str| -> serde_json::Value { serde_json::from_str(&example(name)).unwrap() };
    let plain = daemon("daemon.json");
    assert_eq!(plain.pointer("/runtimes/hoist/runtimeType").unwrap(), RUNTIME);
    let options = daemon("daemon-options.json");
    let runtime = |key: &str| options.pointer(&format!("/runtimes/{key}")).unwrap().clone();
    assert_eq!(runtime("hoist/runtimeType"), RUNTIME);
    assert_eq!(runtime("hoist/options/ConfigPath"), "/etc/containerd/hoist.toml");
    assert_eq!(runtime("hoist-cli/path"), "/usr/local/bin/hoist");
    // dockerd refuses a default that is not among the runtimes.
    let default = options.pointer("/default-runtime").unwrap().as_str().unwrap();
    assert_eq!(runtime(default).pointer("/runtimeType").unwrap(), RUNTIME);
}

#[test]
fn containerds_configuration() {
    for (name, version, plugin) in [
        ("containerd-config-v2.toml", 2, "io.containerd.grpc.v1.cri"),
        ("containerd-config-v3.toml", 3, "io.containerd.cri.v1.runtime"),
    ] {
        let Some(config) = parsed("containerds_configuration", "tomllib", name) else { return };
        assert_eq!(config.pointer("/version").unwrap(), version);
        let runtime = format!("/plugins/{plugin}/containerd/runtimes/hoist/runtime_type");
        assert_eq!(config.pointer(&runtime).unwrap(), RUNTIME, "{name}");
    }
    let Some(options) = parsed("containerds_configuration", "tomllib", "hoist.toml") else {
        return;
    };
    assert_eq!(options.pointer("/Root").unwrap(), "/run/containerd/hoist");
}

#[test]
fn kubernetes_manifests() {
    let test = "kubernetes_manifests";
    let Some(manifests) = parsed(test, "yaml", "runtimeclass.yaml") else { return };
    let at = |pointer: &str| manifests.pointer(pointer).unwrap();
    assert_eq!(
        (at("/0/kind"), at("/0/apiVersion")),
        (&"RuntimeClass".into(), &"node.k8s.io/v1".into())
    );
    assert_eq!(at("/0/handler"), "hoist");
    assert_eq!(at("/1/spec/runtimeClassName"), at("/0/metadata/name"));
}
