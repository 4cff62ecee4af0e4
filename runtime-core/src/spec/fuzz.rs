//! What is fuzzed of this room: configurations are taken as they are written, or refused with their place.

use oci_spec::runtime::Spec;
use serde_json::{Map, Value};

use super::mount_options::MountOptions;
use super::{Bundle, Resources, json, merge, parse_process, recorded, to_json, validate_process};
use crate::error::{Error, ErrorKind};

/// `config.json`.
pub fn config(data: &[u8]) {
    let bundle = match Bundle::from_json("/", data) {
        Ok(bundle) => bundle,
        Err(error) => return check(&error, data),
    };
    let spec = bundle.spec();
    // What is accepted is accepted again, whichever way it comes: what was dropped leaves nothing
    // behind, and what is recorded of a container is what it was created with.
    let ways = [
        Bundle::from_spec("/", spec.clone()).map(|again| again.spec().clone()),
        to_json(spec).and_then(|text| recorded(&text)).map(|spec| *spec),
        bundle.text().and_then(|text| recorded(&text)).map(|spec| *spec),
    ];
    for way in ways {
        assert_eq!(way.as_ref().ok(), Some(spec), "{:?}", way.as_ref().err());
    }
    same_by_the_slow_way(data);
}

/// The direct pass over a text takes nothing that the slow one refuses, and reads it in the same way.
fn same_by_the_slow_way(text: &[u8]) {
    let Ok((spec, _)) = json::parse(text) else { unreachable!("it was read before") };
    match json::parse_slowly(text, None) {
        Ok((slow, _)) => assert_eq!(slow, spec),
        // Of what is ignored nobody cares how often it is there, nor of what bytes it is.
        Err(error) => {
            let known = serde_json::to_value(&spec).unwrap_or_default();
            let is_known = |pointer: &str| known.pointer(pointer).is_some();
            assert!(!error.pointer().is_some_and(is_known), "{error:?}");
        }
    }
}

/// `process.json`, which `exec` takes.
pub fn process(data: &[u8]) {
    let checked = parse_process(data).and_then(|(process, _)| validate_process(&process));
    let (process, _) = match checked {
        Ok(checked) => checked,
        Err(error) => return check(&error, data),
    };
    let again = validate_process(&process).map(|(again, _)| again);
    assert_eq!(again.as_ref().ok(), Some(&process), "{:?}", again.as_ref().err());
}

/// Whoever has to mend an object of JSON is told where.
fn check(error: &Error, data: &[u8]) {
    let kind = error.kind();
    assert!(matches!(kind, ErrorKind::InvalidConfig | ErrorKind::Unsupported), "{error:?}");
    assert!(!error.message().is_empty() && !error.to_string().is_empty());
    let valid = |pointer: &str| pointer.is_empty() || pointer.starts_with('/');
    assert!(error.pointer().is_none_or(valid), "{error:?}");
    if serde_json::from_slice::<Map<String, Value>>(data).is_ok() {
        assert!(error.pointer().is_some(), "no pointer: {error:?}");
    }
}

/// `mounts[].options`, one a line.
pub fn mount_options(data: &[u8]) {
    use libc::MOUNT_ATTR__ATIME as ATIME;
    let text = String::from_utf8_lossy(data);
    let options: Vec<String> = text.lines().map(str::to_owned).collect();
    let parsed = MountOptions::parse(&options);
    for changed in [parsed.attributes, parsed.tree_attributes] {
        let (bind, reset) = changed.of_bind();
        for (set, clear) in [(changed.set, changed.clear), (bind.set, bind.clear | reset)] {
            // mount_setattr(2): no bit both ways but the access time, which is never half.
            assert_eq!(set & clear & !ATIME, 0, "{parsed:?}");
            assert!(clear & ATIME == ATIME || (set | clear) & ATIME == 0, "{parsed:?}");
            assert_ne!(set & ATIME, ATIME, "{parsed:?}");
        }
    }
    let is_text = |(index, text): (usize, &str)| options.get(index).is_some_and(|it| it == text);
    assert!(parsed.data.iter().all(|option| is_text((option.index, option.text))), "{parsed:?}");
    // Later options win: the same ones once more change nothing.
    let twice: Vec<String> = options.iter().chain(&options).cloned().collect();
    let twice = MountOptions::parse(&twice);
    assert_eq!(twice.attributes, parsed.attributes);
    assert_eq!(twice.tree_attributes, parsed.tree_attributes);
    assert_eq!((twice.bind, twice.idmap), (parsed.bind, parsed.idmap));
    assert_eq!((twice.remount, twice.tmpcopyup), (parsed.remount, parsed.tmpcopyup));
}

/// The JSON of `update --resources`, for a container that has limits and one that has none.
pub fn resources(data: &[u8]) {
    let (update, wanted) = match Resources::from_json(data) {
        Ok(update) => match update.validated() {
            Ok((wanted, _)) => (update, wanted),
            Err(error) => return check(&error, data),
        },
        Err(error) => return check(&error, data),
    };
    let again = Resources::from(wanted.clone()).validated();
    assert_eq!(again.as_ref().ok().map(|(again, _)| again), Some(&wanted), "{again:?}");
    for before in [NO_LIMITS, LIMITS] {
        let Ok(bundle) = Bundle::from_json("/", before) else { unreachable!("it is fixed") };
        let mut spec = bundle.spec().clone();
        let old = spec.linux().as_ref().and_then(|linux| linux.resources().clone());
        let _ = merge::completed(old.as_ref(), &wanted);
        let recorded = |update: &Resources, spec: &mut Spec| {
            let written = update.record(spec, &wanted).and_then(|()| to_json(spec));
            written.and_then(|text| recorded(&text))
        };
        // What is recorded of the container can be read, and is what it has now.
        let first = recorded(&update, &mut spec);
        if let Err(error) = &first
            && error.kind() == ErrorKind::InvalidConfig
        {
            // Valid, but not beside what the container has.
            assert!(spec == *bundle.spec() && error.pointer().is_some(), "{error:?}");
            continue;
        }
        assert_eq!(first.as_deref().ok(), Some(&spec), "{:?}", first.as_ref().err());
        // The same again changes nothing.
        let before = spec.clone();
        assert!(recorded(&update, &mut spec).is_ok_and(|_| spec == before), "{spec:?}");
    }
}

const NO_LIMITS: &str = r#"{"ociVersion": "1.2.0", "root": {"path": "rootfs"},
    "process": {"args": ["sh"], "cwd": "/"}}"#;
const LIMITS: &str = r#"{"ociVersion": "1.2.0", "root": {"path": "rootfs"},
    "process": {"args": ["sh"], "cwd": "/"}, "linux": {"namespaces": [{"type": "mount"}], "resources": {
        "memory": {"limit": 1048576, "swap": 2097152, "reservation": 4096},
        "cpu": {"shares": 100, "quota": 20000, "period": 100000, "cpus": "0-1"},
        "blockIO": {"weight": 100, "weightDevice": [{"major": 8, "minor": 0, "weight": 200}]},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 2097152}],
        "unified": {"memory.high": "524288"}, "pids": {"limit": 10}}}}"#;
