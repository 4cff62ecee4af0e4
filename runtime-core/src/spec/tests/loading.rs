//! Reading `config.json`: what is taken, what is refused and how that is said.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Bundle, load, valid, with};
use crate::DefaultSpec;
use crate::error::{Error, ErrorKind};
use crate::spec::lenient;

/// A bundle directory that removes itself.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hoist-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }

    fn refuses(&self) -> Error {
        let error = Bundle::load(&self.0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        error
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn a_bundle_on_disk() {
    let directory = Directory::new("load");
    fs::write(directory.0.join("config.json"), valid().to_string()).unwrap();
    let bundle =
        Bundle::load(directory.0.join("../").join(directory.0.file_name().unwrap())).unwrap();
    assert_eq!(bundle.path(), directory.0);
    assert_eq!(bundle.rootfs(), directory.0.join("rootfs"));
    assert_eq!(bundle.spec().version(), "1.3.0");
    let again = Bundle::from_spec(&directory.0, bundle.spec().clone()).unwrap();
    assert_eq!(again.spec(), bundle.spec());
}

#[test]
fn what_is_no_bundle() {
    let directory = Directory::new("none");
    assert_eq!(
        Bundle::load(directory.0.join("missing")).unwrap_err().kind(),
        ErrorKind::InvalidConfig
    );
    let config = directory.0.join("config.json");
    assert!(directory.refuses().hint().unwrap().contains("hoist spec"));
    fs::create_dir(&config).unwrap();
    assert!(directory.refuses().to_string().contains("not a regular file"));
    fs::remove_dir(&config).unwrap();
    // A FIFO without a writer must not block.
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &config,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    assert!(directory.refuses().to_string().contains("not a regular file"));
    fs::remove_file(&config).unwrap();
    fs::File::create(&config).unwrap().set_len((16 << 20) + 1).unwrap();
    assert!(directory.refuses().message().contains("larger than 16 MiB"));
}

fn refused(text: &str) -> String {
    let error = Bundle::from_json("/", text).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    error.to_string()
}

#[test]
fn syntax_errors_have_a_line() {
    assert_eq!(
        refused("{\n  \"ociVersion\": \"1.3.0\",\n  oops\n}"),
        "config.json is not valid JSON: key must be a string at line 3 column 3"
    );
    for text in ["", "nul", "{} {}", "\u{feff}{}", "{\"a\":\"\u{1}\"}"] {
        assert!(refused(text).starts_with("config.json is not valid JSON: "), "{text}");
    }
    for text in ["null", "[]", "1", "\"{}\""] {
        assert_eq!(refused(text), "config.json must hold a JSON object");
    }
    assert!(Bundle::from_json("/", b"{\"a\": \"\xff\"}").is_err());
}

#[test]
fn type_errors_have_a_pointer_and_a_line() {
    let text = |process: &str| format!("{{\"ociVersion\": \"1.3.0\",\n\"process\": {process}}}");
    for (process, message) in [
        (
            "{\"cwd\": \"/\", \"user\": {\"uid\": 4294967296}}",
            "expected a whole number from 0 to 4294967295, found \
             integer `4294967296` (line 2, column 50) (config.json /process/user/uid)",
        ),
        (
            "{\"cwd\": \"/\", \"user\": {}, \"args\": \"sh\"}",
            "expected an array, found string \"sh\" (line 2, column 48) \
             (config.json /process/args)",
        ),
        (
            "{\"user\": {}}",
            "invalid process cwd: it is required, but missing (config.json /process/cwd)",
        ),
        (
            "{\"cwd\": \"/\", \"user\": {}, \"rlimits\": [{\"type\": \"CPU\"}]}",
            "invalid rlimits type `CPU` (line 2, column 62) (config.json /process/rlimits/0/type); known \
             are `RLIMIT_CPU`,",
        ),
        (
            "{\"cwd\": \"/\", \"user\": {}, \"scheduler\": {\"policy\": \"SCHED_OTHER\", \"nice\": 1.5}}",
            "expected a whole number from -2147483648 to 2147483647, found floating point `1.5`",
        ),
    ] {
        let error = refused(&text(process));
        assert!(error.starts_with(message), "{error}");
    }
}

#[test]
fn the_slow_way_reads_the_same() {
    for text in [DefaultSpec::default().json(), DefaultSpec::default().rootless(1, 1).json()] {
        let mut value = lenient::value(text.as_bytes(), "it is").unwrap();
        assert_eq!(lenient::repair(&mut value).unwrap(), [] as [String; 0]);
        let slow: oci_spec::runtime::Spec = serde_json::from_value(value).unwrap();
        assert_eq!(slow, serde_json::from_str(&text).unwrap());
    }
}

/// runc's own tests look for these words.
#[test]
fn memory_policy_in_runcs_words() {
    for (policy, words) in [
        (json!({}), "invalid memory policy mode"),
        (json!({"mode": "X"}), "invalid memory policy mode"),
        (json!({"mode": "MPOL_LOCAL", "flags": ["x"]}), "invalid memory policy flag"),
        (json!({"mode": "MPOL_BIND", "nodes": "0-9876543210"}), "invalid memory policy node"),
        (json!({"mode": "MPOL_DEFAULT", "nodes": "0-7"}), "mode requires 0 nodes but got 8"),
    ] {
        let error = load(&with(&[("/linux/memoryPolicy", policy)])).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_member_given_twice_is_refused() {
    for (text, pointer) in [
        (r#"{"ociVersion": "1.3.0", "ociVersion": "1.3.0"}"#, "/ociVersion"),
        (r#"{"root": {"path": "a", "path": "b"}}"#, "/root/path"),
        (
            r#"{"ociVersion": "1.3.0", "annotations": {"a": "", "b": "", "a": ""}}"#,
            "/annotations/a",
        ),
    ] {
        let error = Bundle::from_json("/", text).unwrap_err();
        assert!(error.message().contains("is given twice at line 1 column "), "{error}");
        assert_eq!(error.pointer(), Some(pointer));
    }
}

/// serde takes the last one of a map, and does so without a word.
#[test]
fn a_key_given_twice_in_a_map_is_refused() {
    for (section, pointer) in [
        (r#""sysctl": {"net.a": "0", "net.a": "1"}"#, "/linux/sysctl/net.a"),
        (r#""netDevices": {"e": {}, "\u0065": {}}"#, "/linux/netDevices/e"),
        (r#""resources": {"unified": {"a": "1", "a": "2"}}"#, "/linux/resources/unified/a"),
        (r#""resources": {"rdma": {"m": {}, "m": {}}}"#, "/linux/resources/rdma/m"),
    ] {
        let text = valid().to_string().replace(r#""linux":{"#, &format!(r#""linux":{{{section},"#));
        let error = Bundle::from_json("/", &text).unwrap_err();
        assert_eq!(error.pointer(), Some(pointer), "{error}");
    }
}

/// A limit must not be lost because its name is written in another way.
#[test]
fn names_may_be_written_with_escapes() {
    for resources in [r#""resources":{"\u0043PU":"#, r#""resour\u0063es":{"CPU":"#] {
        let text = valid().to_string();
        let text =
            text.replace(r#""linux":{"#, &format!(r#""linux":{{{resources}{{"shares":512}}}},"#));
        let bundle = Bundle::from_json("/", text).unwrap();
        let resources = bundle.spec().linux().as_ref().unwrap().resources().as_ref().unwrap();
        assert_eq!(resources.cpu().as_ref().unwrap().shares(), Some(512));
    }
}

#[test]
fn unknown_members_and_other_platforms_are_ignored() {
    let bundle = load(&with(&[
        ("/x", json!({"y": [1, {"z": null}]})),
        ("/process/x", json!(1)),
        ("/linux/x", json!("\0")),
        ("/windows", json!(1)),
        ("/solaris", json!("\0")),
        ("/vm", json!({"hypervisor": 1})),
        ("/zos", json!([])),
        ("/freebsd", json!(false)),
        ("/uidMappings", json!("never in the spec")),
    ]))
    .unwrap();
    assert!(bundle.warnings().is_empty());
    assert!(bundle.spec().windows().is_none());
}

#[test]
fn null_is_absent() {
    let nulls = with(&[
        ("/mounts/0/options", Value::Null),
        ("/hooks", json!({"prestart": null})),
        ("/process/user", Value::Null),
        ("/linux/resources", json!({"devices": null, "cpu": {"shares": null}})),
        ("/linux/devices", Value::Null),
    ]);
    assert!(load(&nulls).is_ok());
}

#[test]
fn oci_spec_is_wider_than_its_types() {
    let bundle = load(&with(&[
        ("/process/capabilities", json!({"bounding": ["CAP_NEW", "CAP_KILL"]})),
        ("/process/execCPUAffinity", json!({"initial": "", "final": "0, 1"})),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RESET_ON_FORK"]}),
        ),
    ]))
    .unwrap();
    assert_eq!(bundle.warnings(), ["ignoring the unknown capability \"CAP_NEW\" in bounding"]);
    let process = bundle.spec().process().as_ref().unwrap();
    let affinity = process.exec_cpu_affinity().as_ref().unwrap();
    assert_eq!(affinity.initial(), &None);
    assert_eq!(affinity.cpu_affinity_final().as_deref(), Some("0,1"));
    assert_eq!(process.scheduler().as_ref().unwrap().flags().as_ref().unwrap().len(), 1);
}

#[test]
fn nul_is_refused_where_it_could_reach_the_kernel() {
    for (pointer, value) in [
        ("/process/args/0", json!("a\0")),
        ("/process/cwd", json!("/\0")),
        ("/mounts/0/source", json!("a\0b")),
        ("/hooks/prestart", json!([{"path": "/a", "env": ["A=\0"]}])),
        ("/linux/sysctl", json!({"net.x": "\0"})),
    ] {
        let config = with(&[(pointer, value)]);
        let error = load(&config).unwrap_err();
        assert!(error.pointer().unwrap().starts_with(pointer), "{error}");
        assert!(error.message().contains("NUL"), "{error}");
    }
    let key = load(&with(&[("/linux/sysctl", json!({"net.\0": "1"}))])).unwrap_err();
    assert_eq!(key.pointer(), Some("/linux/sysctl/net.\0"));
    assert!(load(&with(&[("/annotations", json!({"a": "\0"}))])).is_ok());
    let mut spec = load(&valid()).unwrap().spec().clone();
    spec.set_hostname(Some("\0".to_owned()));
    assert_eq!(Bundle::from_spec("/", spec).unwrap_err().pointer(), Some("/hostname"));
}

#[test]
fn what_is_kept_means_what_was_loaded() {
    let changed = with(&[
        ("/linux/namespaces/0/path", json!("")),
        ("/linux/resources/CPU", json!({"shares": 5})),
        (
            "/linux/resources/devices",
            json!([{"allow": false, "type": "a", "major": -1, "minor": -1, "access": "rwm"}]),
        ),
        ("/process/capabilities/effective", json!(["CAP_KILL", "CAP_UNHEARD_OF"])),
    ]);
    for config in [valid(), super::full(), changed] {
        let bundle = load(&config).unwrap();
        assert_eq!(*bundle.text().unwrap(), *config.to_string().as_bytes());
        assert_eq!(*crate::spec::recorded(&bundle.text().unwrap()).unwrap(), *bundle.spec());
        let made = Bundle::from_spec("/", bundle.spec().clone()).unwrap();
        assert_eq!(*crate::spec::recorded(&made.text().unwrap()).unwrap(), *bundle.spec());
    }
    let error = crate::spec::recorded(b"{").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State);
}
