//! Changes JSON as JSON: a byte that is changed mostly only breaks it.

use serde_json::{Map, Value, json};

/// The most changes at once.
const CHANGES: u32 = 3;

/// Changes the text at the beginning of `data`; returns its new length. `None` where that is no JSON, or
/// where its bytes are to be changed this time.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> Option<usize> {
    let mut random = Random(u64::from(seed) | 1 << 40);
    if random.below(5) == 0 {
        return None;
    }
    let mut document: Value = serde_json::from_slice(data.get(..size)?).ok()?;
    for _ in 0..=random.below(CHANGES) {
        change(&mut document, &mut random);
    }
    let text = serde_json::to_vec(&document).ok()?;
    let place = data.get_mut(..max_size)?.get_mut(..text.len())?;
    place.copy_from_slice(&text);
    Some(text.len())
}

/// A generator of Marsaglia's: the same changes for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u32) -> u32 {
        u32::try_from(self.next() >> 16 & 0xffff_ffff).unwrap_or(0) % end.max(1)
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(u32::try_from(from.len()).ok()?) as usize)
    }
}

fn change(document: &mut Value, random: &mut Random) {
    let mut places = Vec::new();
    pointers(document, String::new(), &mut places);
    let Some(place) = random.pick(&places) else { return };
    let other = random.pick(&places).and_then(|place| document.pointer(place)).cloned();
    let Some(value) = document.pointer_mut(place) else { return };
    let other = other.unwrap_or_default();
    match random.below(8) {
        0 => *value = any(random),
        1 => *value = other,
        2 => scalar(value, random),
        _ => match value {
            Value::Array(items) => array(items, other, random),
            Value::Object(members) => object(members, other, random),
            _ => scalar(value, random),
        },
    }
}

/// The places of all values, as JSON pointers.
fn pointers(value: &Value, at: String, into: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, format!("{at}/{index}"), into);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                let key = key.replace('~', "~0").replace('/', "~1");
                pointers(member, format!("{at}/{key}"), into);
            }
        }
        _ => {}
    }
    into.push(at);
}

fn any(random: &mut Random) -> Value {
    let plain =
        [json!(null), json!(true), json!(false), json!([]), json!({}), json!(0.5), json!("")];
    match random.below(3) {
        0 => random.pick(&plain).cloned().unwrap_or_default(),
        1 => number(random),
        _ => random.pick(&TEXTS).copied().into(),
    }
}

/// Where kinds of integers end, or a random one.
fn number(random: &mut Random) -> Value {
    let near = random.below(3);
    let base = match random.below(4) {
        0 => 0,
        1 => 1_u64 << random.below(64),
        2 => u64::from(random.below(4096)),
        _ => random.next(),
    };
    let number = base.wrapping_add(u64::from(near)).wrapping_sub(1);
    if random.below(4) == 0 { number.cast_signed().wrapping_neg().into() } else { number.into() }
}

/// Text that means something to some part of hoist or of the kernel.
const TEXTS: [&str; 24] = [
    "/",
    "..",
    "../..",
    "/proc/self/fd/7",
    "/proc",
    "/dev/pts",
    "/sys/fs/cgroup",
    "rootfs",
    "a\0b",
    "\n",
    "é",
    "bind",
    "rbind",
    "ro",
    "rro",
    "idmap",
    "tmpcopyup",
    "cgroup",
    "user",
    "mount",
    "CAP_SYS_ADMIN",
    "SCMP_ACT_ERRNO",
    "SCMP_CMP_MASKED_EQ",
    "0-3,7",
];

fn scalar(value: &mut Value, random: &mut Random) {
    match value {
        Value::Number(_) => *value = number(random),
        Value::Bool(bit) => *bit = !*bit,
        Value::String(text) => self::text(text, random),
        _ => *value = any(random),
    }
}

fn text(text: &mut String, random: &mut Random) {
    let boundary = |text: &str, random: &mut Random| {
        let at = random.below(u32::try_from(text.len() + 1).unwrap_or(1)) as usize;
        (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
    };
    let at = boundary(text, random);
    match random.below(6) {
        0 => text.truncate(at),
        1 => drop(text.drain(..at)),
        2 => text.push_str(&text.clone()),
        3 => text.insert(at, char::from(0x20 + random.pick(&ASCII).copied().unwrap_or(0))),
        4 => *text = text.to_ascii_uppercase(),
        _ => text.insert_str(at, random.pick(&TEXTS).copied().unwrap_or_default()),
    }
}

/// What is written between a space and `~`.
const ASCII: [u8; 12] = [0x00, 0x0a, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x1a, 0x1d, 0x21, 0x41, 0x5e];

fn array(items: &mut Vec<Value>, other: Value, random: &mut Random) {
    let at = random.below(u32::try_from(items.len()).unwrap_or(0)) as usize;
    match (random.below(4), items.get(at).cloned()) {
        (0, Some(_)) => drop(items.remove(at)),
        (1, Some(item)) => items.insert(at, item),
        (2, Some(_)) => items.rotate_left(at),
        _ => items.push(other),
    }
}

fn object(members: &mut Map<String, Value>, other: Value, random: &mut Random) {
    let keys: Vec<String> = members.keys().cloned().collect();
    let Some(key) = random.pick(&keys) else { return };
    match random.below(4) {
        0 => drop(members.remove(key)),
        1 => drop(members.insert(key.clone(), other)),
        2 => {
            let mut name = key.clone();
            text(&mut name, random);
            members.insert(name, other);
        }
        _ => {
            // The same member by another name.
            let mut name = key.clone();
            text(&mut name, random);
            if let Some(value) = members.remove(key) {
                members.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_json_stays_json_and_changes() {
        let text = br#"{"a": [1, "b", {"c": null}], "d/e~": true}"#;
        let before: Value = serde_json::from_slice(text).unwrap();
        let mut changed = 0;
        for seed in 0..2000 {
            let mut data = vec![0; 512];
            data[..text.len()].copy_from_slice(text);
            if let Some(length) = mutate(&mut data, text.len(), 512, seed) {
                let after: Value = serde_json::from_slice(&data[..length]).unwrap();
                changed += usize::from(after != before);
            }
        }
        assert!(changed > 1000, "{changed}");
    }

    #[test]
    fn what_has_no_room_is_left_alone() {
        let mut data = *b"[1,2]";
        for seed in 0..200 {
            let length = mutate(&mut data, 5, 5, seed);
            assert!(length.is_none_or(|length| length <= 5));
            data = *b"[1,2]";
        }
    }
}
