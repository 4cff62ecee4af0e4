//! The wire format: what is written is read again, and nothing that is read makes the reader
//! panic.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]

use std::ffi::CString;

use hoist_init::wire::{Encoder, HEADER_LEN, Plan, Reg, Sink, Step, StrList};
use proptest::prelude::*;

#[derive(Default)]
struct Buffer(Vec<u8>);

impl Sink for Buffer {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn patch(&mut self, offset: usize, bytes: [u8; 4]) {
        self.0[offset..offset + 4].copy_from_slice(&bytes);
    }
}

/// Fields of every type.
#[derive(Debug, Clone)]
struct Fields {
    text: CString,
    list: Vec<CString>,
    bytes: Vec<u8>,
    wide: u64,
    signed: i64,
    narrow: u32,
    flag: bool,
    reg: u32,
}

impl Fields {
    fn list(&self) -> Vec<u8> {
        self.list.iter().flat_map(|text| text.as_bytes_with_nul().to_vec()).collect()
    }

    fn steps<'a>(&'a self, list: &'a [u8]) -> [Step<'a>; 7] {
        let list = StrList::new(list).unwrap();
        let (text, reg) = (self.text.as_c_str(), Reg(self.reg));
        [
            Step::JoinProcess { pidfd: reg, flags: self.wide },
            Step::UnshareTime {
                monotonic_sec: self.signed,
                monotonic_nsec: -1,
                boottime_sec: i64::MIN,
                boottime_nsec: 0,
                offsets: text,
            },
            Step::NewSession {},
            Step::Seccomp { flags: self.wide, program: &self.bytes, notify: self.flag },
            Step::PrepareExecute { arguments: list, environment: StrList::EMPTY },
            Step::Umask { mask: self.narrow },
            Step::BindDevice { directory: reg, path: text, source: text, tree: Reg::NONE },
        ]
    }
}

prop_compose! {
    fn any_fields()(
        text in any_text(),
        list in proptest::collection::vec(any_text(), 0..5),
        bytes in proptest::collection::vec(any::<u8>(), 0..40),
        wide in any::<u64>(),
        signed in any::<i64>(),
        narrow in any::<u32>(),
        flag in any::<bool>(),
        reg in 0..Reg::COUNT,
    ) -> Fields {
        Fields { text, list, bytes, wide, signed, narrow, flag, reg }
    }
}

fn any_text() -> impl Strategy<Value = CString> {
    proptest::collection::vec(1u8.., 0..20).prop_map(|bytes| CString::new(bytes).unwrap())
}

fn encode(fields: &Fields) -> Vec<u8> {
    let mut encoder = Encoder::new(Buffer::default(), 0);
    for step in fields.steps(&fields.list()) {
        encoder.push(&step);
    }
    encoder.finish().0
}

/// Reads all there is, as init and `hoist plan` do.
fn read(bytes: &[u8]) {
    let Ok(plan) = Plan::parse(bytes) else { return };
    let mut steps = 0;
    for step in plan.steps() {
        steps += 1;
        if let Ok(step) = step {
            step.fields(&mut |name, value| drop(format!("{name}{value:?}")));
        }
    }
    assert!(steps <= plan.step_count());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 2_000 } else { 100_000 }))]

    #[test]
    fn what_is_written_is_read(fields in any_fields()) {
        let bytes = encode(&fields);
        let list = fields.list();
        let read: Result<Vec<_>, _> = Plan::parse(&bytes).unwrap().steps().collect();
        prop_assert_eq!(read.unwrap(), fields.steps(&list));
        let strings: Vec<_> = StrList::new(&list).unwrap().iter().map(CString::from).collect();
        prop_assert_eq!(strings, fields.list);
    }

    #[test]
    fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read(&bytes);
        let mut plan = encode_header(u32::MAX);
        plan.extend_from_slice(&bytes);
        read(&plan);
    }

    #[test]
    fn damaged_plans_can_be_read(
        fields in any_fields(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        length in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encode(&fields);
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        read(&bytes);
        read(&bytes[..length.index(bytes.len())]);
    }
}

/// A good header that promises `steps`, as far as that is allowed.
fn encode_header(steps: u32) -> Vec<u8> {
    let mut header = Encoder::new(Buffer::default(), 0).finish().0;
    assert_eq!(header.len(), HEADER_LEN);
    header[8..12].copy_from_slice(&steps.min(hoist_init::wire::MAX_STEPS).to_le_bytes());
    header
}
