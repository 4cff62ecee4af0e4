//! `linux.resources.devices` on containers: what can be opened and made inside is compared with a
//! model of a few lines. The same lists of rules go to v1's files and, in the unified view, to
//! cgroup2's programs: what both share with the model they share with each other.

use std::collections::BTreeMap;

use hoist::ErrorKind;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::case;
use crate::cgroups::unified;
use crate::common::{Case, assert_error, pointer_of};

/// A rule as the spec has it: `+c 1:* rw` allows.
#[derive(Debug, Clone)]
struct Rule {
    allow: bool,
    kind: char,
    major: Option<u32>,
    minor: Option<u32>,
    access: String,
}

impl Rule {
    fn parse(text: &str) -> Self {
        let fields: Vec<&str> = text[1..].split([' ', ':']).collect();
        Self {
            allow: text.starts_with('+'),
            kind: fields[0].chars().next().unwrap(),
            major: fields[1].parse().ok(),
            minor: fields[2].parse().ok(),
            access: fields[3].to_owned(),
        }
    }

    fn json(&self) -> Value {
        json!({"allow": self.allow, "type": self.kind, "major": self.major, "minor": self.minor,
            "access": self.access})
    }

    fn decides(&self, device: Device, access: char) -> bool {
        (self.kind == 'a' || self.kind == device.0)
            && self.major.is_none_or(|major| major == device.1)
            && self.minor.is_none_or(|minor| minor == device.2)
            && self.access.contains(access)
    }
}

/// Type, major and minor number.
type Device = (char, u32, u32);

/// Devices that may be opened without harm, by whomever, whether or not there is a driver: null,
/// zero and tun are among those that every container has. The others are kmsg, console, fuse,
/// autofs, loop-control and two loops.
const DEVICES: [Device; 10] = [
    ('c', 1, 3),
    ('c', 1, 5),
    ('c', 10, 200),
    ('c', 1, 11),
    ('c', 5, 1),
    ('c', 10, 229),
    ('c', 10, 235),
    ('c', 10, 237),
    ('b', 7, 0),
    ('b', 7, 1),
];

/// The last rule that matches decides each kind of access; and what every container may do comes
/// after the configuration's rules, as runc has it.
fn model(rules: &[Rule], device: Device, access: char) -> bool {
    let default = ["+a *:* m", "+c 1:3 rwm", "+c 1:5 rwm", "+c 10:200 rwm"].map(Rule::parse);
    let mut all = rules.iter().chain(&default).rev();
    all.find(|rule| rule.decides(device, access)).is_some_and(|rule| rule.allow)
}

fn path((kind, major, minor): Device) -> String {
    format!("/dev/test-{kind}-{major}-{minor}")
}

/// What a shell says to the attempts to open each device for reading, for writing and for both;
/// true if it isn't the cgroup that refuses.
fn open_all(
    case: &mut Case,
    rules: &[Rule],
) -> hoist::Result<BTreeMap<(Device, &'static str), bool>> {
    const HOW: [(&str, &str); 3] = [("r", "<"), ("w", ">>"), ("rw", "<>")];
    let nodes = DEVICES.map(|device| {
        json!({"path": path(device), "type": device.0, "major": device.1, "minor": device.2,
            "fileMode": 0o666})
    });
    case.linux()["devices"] = json!(nodes);
    case.linux()["resources"] =
        json!({"devices": rules.iter().map(Rule::json).collect::<Vec<_>>()});
    let attempts: Vec<_> = DEVICES
        .into_iter()
        .flat_map(|device| HOW.map(|(access, how)| (device, access, how)))
        .collect();
    let lines = attempts.iter().map(|(device, _, how)| {
        // A failed redirection of a program that isn't a special builtin doesn't end the shell.
        format!("true {how} {}; echo; echo ---\n", path(*device))
    });
    case.script(&format!("exec 2>&1\n{}", lines.collect::<String>()));
    let out = case.run()?.success();
    let answers: Vec<&str> = out.split("---\n").collect();
    assert_eq!(answers.len(), attempts.len() + 1, "{out}");
    let allowed = |answer: &str| !answer.contains("Operation not permitted");
    let of_each = attempts.iter().zip(answers);
    Ok(of_each.map(|((device, access, _), answer)| ((*device, *access), allowed(answer))).collect())
}

/// Compares a container with the model. False where v1 can't have such rules.
fn compare(case: &mut Case, rules: &[Rule]) -> bool {
    let found = match open_all(case, rules) {
        Ok(found) => found,
        Err(error) if !unified() && error.kind() == ErrorKind::Unsupported => {
            assert!(pointer_of(&error).starts_with("/linux/resources/devices/"), "{error}");
            return false;
        }
        Err(error) => panic!("{rules:?}: {error}"),
    };
    for ((device, access), allowed) in found {
        let expected = access.chars().all(|access| model(rules, device, access));
        // v1 wants one entry that covers both kinds of access, and so may deny what two allow.
        if !unified() && access == "rw" && !allowed {
            continue;
        }
        assert_eq!(allowed, expected, "{access} of {device:?} with {rules:?}");
    }
    true
}

#[test]
fn the_last_rule_decides() {
    let mut case = case!();
    case.all_capabilities();
    let lists: &[&[&str]] = &[
        &[],
        &["-a *:* rwm"],
        &["+a *:* rwm"],
        &["+a *:* rwm", "-a *:* rwm"],
        &["-a *:* rwm", "+a *:* rwm"],
        &["-a *:* rwm", "+c 1:11 rwm", "+c 5:1 r", "+b 7:* rw"],
        // Wildcards in each place.
        &["+c 10:* r"],
        &["+c *:1 w", "+b *:0 r"],
        &["+c *:* rw"],
        &["+b *:* r", "+c 10:229 rwm"],
        &["+a 7:* rw"],
        &["+a *:1 r"],
        // Parts of the access, from several rules.
        &["+c 1:11 r", "+c 1:11 w"],
        &["+c 1:11 rw", "-c 1:11 w"],
        &["+c 1:11 rwm", "-c 1:11 m"],
        &["+c 10:* rw", "-c 10:* w", "+c 10:* r"],
        // Order matters.
        &["+c 10:229 rw", "-c 10:* rw"],
        &["-c 10:* rw", "+c 10:229 rw"],
        &["-c 10:229 r", "+c 10:229 rw"],
        // Everything but.
        &["+a *:* rwm", "-c 10:229 rwm"],
        &["+a *:* rwm", "-c 10:* w", "-b *:* r"],
        &["+a *:* rwm", "-c 1:3 rw"],
        // Holes, which v1 can't have.
        &["+c 10:* rw", "-c 10:229 w"],
        &["+c 10:* rw", "-c 10:229 rw", "+c 10:229 r"],
        &["+a *:* rwm", "-c 10:* rw", "+c 10:235 r"],
    ];
    let mut compared = 0;
    for list in lists {
        let rules: Vec<_> = list.iter().map(|rule| Rule::parse(rule)).collect();
        compared += usize::from(compare(&mut case, &rules));
    }
    assert!(compared + 4 >= lists.len(), "only {compared}");
}

/// Both kernels' answers to whatever rules.
#[test]
fn any_rules() {
    const LISTS: usize = 40;
    let mut case = case!();
    case.all_capabilities();
    let number =
        |numbers: &[u32]| prop::option::weighted(0.7, prop::sample::select(numbers.to_vec()));
    let access = prop::sample::select(vec!["r", "w", "m", "rw", "rm", "wm", "rwm"]);
    let kind = prop::sample::select(vec!['a', 'b', 'c', 'c']);
    let rule = (any::<bool>(), kind, number(&[1, 5, 7, 10]), number(&[0, 1, 11, 229, 235]), access)
        .prop_map(|(allow, kind, major, minor, access)| Rule {
            allow,
            kind,
            major,
            minor,
            access: access.to_owned(),
        });
    let lists = prop::collection::vec(rule, 0..7);
    let mut runner = TestRunner::deterministic();
    let mut compared = 0;
    for _ in 0..LISTS {
        let rules = lists.new_tree(&mut runner).unwrap().current();
        compared += usize::from(compare(&mut case, &rules));
    }
    assert!(compared > LISTS / 4, "only {compared} of {LISTS} could be expressed");
}

/// mknod(2) is another kind of access than opening; every container has it for all devices, as
/// with runc, so that images can be unpacked.
#[test]
fn to_make_a_node_is_not_to_open_it() {
    let mut case = case!();
    case.all_capabilities();
    case.linux()["resources"] = json!({"devices": [{"allow": false, "access": "rwm"},
        {"allow": false, "type": "c", "major": 10, "minor": 229, "access": "m"}]});
    let out = case.sh("cd /dev; mknod f c 10 229 && echo made; mknod l b 7 0 && echo made
        cat f 2>&1; cat l 2>&1; mknod n c 1 3 && cat n && echo read");
    let refused = |name| format!("cat: can't open '{name}': Operation not permitted\n");
    assert_eq!(out, format!("made\nmade\n{}{}read\n", refused("f"), refused("l")));
}

#[test]
fn rules_are_named_in_errors() {
    let mut case = case!();
    case.script("true");
    for (rule, field) in [
        (json!({"allow": true}), "/access"),
        (json!({"allow": true, "access": "x"}), "/access"),
        (json!({"allow": true, "access": "r", "type": "p"}), "/type"),
        (json!({"allow": true, "access": "r", "type": "c", "major": -7}), "/major"),
    ] {
        case.linux()["resources"] = json!({"devices": [{"allow": false, "access": "rwm"}, rule]});
        let pointer = format!("/linux/resources/devices/1{field}");
        assert_error(&case.fails(), ErrorKind::InvalidConfig, &pointer, "");
    }
}
