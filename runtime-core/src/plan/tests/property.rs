//! Whatever the configuration says, compiling doesn't panic, and what comes out can be read.

use hoist_init::wire;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::context::{CgroupView, Facts, Filter, Options, Placement};
use super::super::{check::check, compile_head};
use super::{compile_with, default_config, facts, spec};
use crate::spec::mount_options::known_options;

/// Text as configurations have it, and as nobody should write it.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z/.:=,\\\\\"]{0,12}",
        1 => "/?(proc|dev|sys|a|b|\\.\\.|\\.|)(/(proc|dev|pts|ptmx|\\.\\.|x|))*",
        1 => any::<String>(),
        1 => "x{300}",
    ]
}

fn any_mount() -> impl Strategy<Value = Value> {
    let kinds = prop_oneof![
        Just("bind"),
        Just("proc"),
        Just("sysfs"),
        Just("tmpfs"),
        Just("devpts"),
        Just("mqueue"),
        Just("cgroup"),
        Just("cgroup2"),
        Just("overlay"),
        Just("ext4"),
        Just(""),
    ];
    let known: Vec<&str> = known_options().collect();
    let option = prop_oneof![
        4 => proptest::sample::select(known).prop_map(str::to_owned),
        1 => any_text(),
        1 => any_text().prop_map(|text| format!("lowerdir={text}:{text}")),
        1 => any_text().prop_map(|text| format!("context=\"{text}\"")),
        1 => any::<u32>().prop_map(|id| format!("gid={id}")),
    ];
    let maps = proptest::option::of(any_map());
    (any_text(), kinds, any_text(), proptest::collection::vec(option, 0..6), maps).prop_map(
        |(destination, kind, source, options, maps)| {
            let mut mount = json!({"destination": destination, "type": kind, "source": source,
                "options": options});
            if let Some(map) = maps {
                mount["uidMappings"] = map.clone();
                mount["gidMappings"] = map;
            }
            mount
        },
    )
}

fn any_map() -> impl Strategy<Value = Value> {
    (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(
        |(inside, outside, size)| json!([{"containerID": inside, "hostID": outside, "size": size}]),
    )
}

fn any_namespaces() -> impl Strategy<Value = Value> {
    let kinds = ["pid", "network", "ipc", "uts", "mount", "cgroup", "user", "time"];
    let path = proptest::option::of(any_text());
    proptest::collection::vec((0..kinds.len(), path), 0..10).prop_map(move |list| {
        let entry = |(kind, path): (usize, Option<String>)| match path {
            Some(path) => json!({"type": kinds[kind], "path": path}),
            None => json!({"type": kinds[kind]}),
        };
        list.into_iter().map(entry).collect::<Vec<_>>().into()
    })
}

fn any_device() -> impl Strategy<Value = Value> {
    let kind = prop_oneof![Just("a"), Just("b"), Just("c"), Just("u"), Just("p")];
    (any_text(), kind, any::<i64>(), any::<i64>(), any::<u32>()).prop_map(
        |(path, kind, major, minor, mode)| {
            json!({"path": path, "type": kind, "major": major, "minor": minor, "fileMode": mode})
        },
    )
}

fn any_config() -> impl Strategy<Value = Value> {
    let mounts = proptest::collection::vec(any_mount(), 0..8);
    let devices = proptest::collection::vec(any_device(), 0..3);
    let texts = proptest::collection::vec(any_text(), 0..4);
    let variables = proptest::collection::vec(
        prop_oneof![
            1 => any_text(),
            9 => ("[A-Z]{1,4}|PATH|HOME", any_text()).prop_map(|(a, b)| format!("{a}={b}")),
        ],
        0..4,
    );
    let propagation = prop_oneof![
        Just("".to_owned()),
        Just("rshared".to_owned()),
        Just("rslave".to_owned()),
        any_text(),
    ];
    (mounts, any_namespaces(), devices, texts, variables, propagation, any_map(), any::<bool>())
        .prop_map(|(mounts, namespaces, devices, texts, variables, propagation, map, terminal)| {
            let mut config = default_config();
            config["mounts"].as_array_mut().unwrap().extend(mounts);
            config["linux"]["namespaces"] = namespaces;
            config["linux"]["devices"] = devices.into();
            config["linux"]["maskedPaths"] = texts.clone().into();
            config["linux"]["uidMappings"] = map.clone();
            config["linux"]["gidMappings"] = map;
            config["linux"]["rootfsPropagation"] = propagation.into();
            config["linux"]["mountLabel"] = texts.first().cloned().into();
            config["process"]["args"] = if texts.is_empty() { json!(["sh"]) } else { texts.into() };
            config["process"]["env"] = variables.into();
            config["process"]["terminal"] = terminal.into();
            config
        })
}

fn any_facts() -> impl Strategy<Value = Facts<'static>> {
    let placement = prop_oneof![
        Just(Placement::Stay),
        Just(Placement::V2),
        Just(Placement::Library),
        (0u32..80).prop_map(|hierarchies| {
            let inner = [hierarchies.checked_sub(1), hierarchies.checked_sub(2)];
            Placement::V1 { hierarchies, inner, unified: true }
        }),
    ];
    let view = prop_oneof![
        Just(CgroupView::None),
        Just(CgroupView::V2("/sys/fs/cgroup/x".into())),
        proptest::collection::vec(any_text(), 0..4).prop_map(|names| {
            let hierarchy = |name: String| super::super::V1Hierarchy {
                directory: format!("/sys/fs/cgroup/{name}").into(),
                name,
            };
            CgroupView::V1(names.into_iter().map(hierarchy).collect())
        }),
    ];
    (any::<[bool; 5]>(), placement, view).prop_map(|(bits, placement, cgroup)| Facts {
        privileged: bits[0],
        bind_devices: bits[1],
        setgroups: bits[2],
        kcore: bits[3],
        overlay_layers: bits[4],
        placement,
        cgroup,
        ..facts()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 400 } else { 20_000 }))]

    #[test]
    fn compiling_never_panics_and_plans_can_be_read(
        config in any_config(),
        facts in any_facts(),
        bits in any::<[bool; 4]>(),
        preserve_fds in any::<u32>(),
    ) {
        let options = Options {
            no_pivot: bits[0],
            no_new_keyring: bits[1],
            timings: bits[2],
            listener: bits[3],
            preserve_fds,
            extra_env: &[],
        };
        let filter = bits[1].then_some(Filter { program: &[0; 24], flags: 6, notify: false });
        let Ok(plan) = compile_with(&config, &facts, &options, filter) else { return Ok(()) };
        // Outer has begun with what is known without the facts.
        let head = compile_head(&spec(&config), facts.privileged, options.timings).unwrap();
        prop_assert_eq!(head.bytes(), plan.bytes());
        prop_assert!(plan.is_head());
        let parts = [plan.bytes(), plan.rest()].map(|part| wire::Plan::parse(part).unwrap());
        prop_assert!(parts.iter().all(|part| part.timings() == options.timings));
        check(&plan);
    }
}
