//! Writes a plan: steps with their pointers, and the registers.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use hoist_init::wire::{Encoder, FLAG_HEAD, FLAG_TIMINGS, MAX_STEPS, Reg, Sink, Step, StrList};

use super::{Passed, Plan};
use crate::error::{Error, ErrorKind, Result};

/// A plan that is being written.
pub(super) struct Builder {
    encoder: Encoder<Buffer>,
    flags: u16,
    /// The first part, once that is complete.
    head: Option<Buffer>,
    pointers: Vec<String>,
    passed: Vec<Passed>,
    next: u32,
    clones_last: bool,
}

impl Builder {
    /// A plan in one part.
    pub(super) fn new(timings: bool) -> Self {
        Self::with_flags(if timings { FLAG_TIMINGS } else { 0 }, 0)
    }

    /// A plan whose first part ends with [`end_head`](Self::end_head).
    pub(super) fn in_two_parts(timings: bool) -> Self {
        Self::with_flags(if timings { FLAG_TIMINGS } else { 0 }, FLAG_HEAD)
    }

    fn with_flags(flags: u16, first: u16) -> Self {
        Self {
            encoder: Encoder::new(Buffer::default(), flags | first),
            flags,
            head: None,
            pointers: Vec::new(),
            passed: Vec::new(),
            next: Reg::FIRST_FREE.0,
            clones_last: false,
        }
    }

    /// What comes from here on is the second part.
    pub(super) fn end_head(&mut self) {
        let rest = Encoder::new(Buffer::default(), self.flags);
        self.head = Some(std::mem::replace(&mut self.encoder, rest).finish());
    }

    /// Appends a step that `pointer` of `config.json` asks for.
    pub(super) fn push(&mut self, pointer: impl Into<String>, step: &Step<'_>) {
        self.encoder.push(step);
        self.clones_last |= matches!(step, Step::CloneLast { .. });
        self.pointers.push(pointer.into());
    }

    /// The register of a descriptor that the library passes; the same one is passed once.
    pub(super) fn pass(&mut self, what: Passed, pointer: &str) -> Result<Reg> {
        let index = match self.passed.iter().position(|passed| *passed == what) {
            Some(index) => index,
            None => {
                self.passed.push(what);
                self.passed.len() - 1
            }
        };
        u32::try_from(index).ok().filter(|reg| *reg < Reg::ROOT.0).map(Reg).ok_or_else(|| {
            Error::unsupported(pointer, "too many descriptors would have to be passed to init")
        })
    }

    /// A register for a descriptor that a step opens.
    pub(super) fn register(&mut self, pointer: &str) -> Result<Reg> {
        let reg = Some(Reg(self.next)).filter(|reg| reg.0 < Reg::COUNT).ok_or_else(|| {
            let most = Reg::COUNT - Reg::FIRST_FREE.0;
            Error::unsupported(pointer, format!("more than {most} mounts have to be kept open"))
        })?;
        self.next += 1;
        Ok(reg)
    }

    pub(super) fn finish(self) -> Result<Plan> {
        if self.pointers.len() > MAX_STEPS as usize {
            let message = format!("the plan has more than {MAX_STEPS} steps");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let bytes = self.encoder.finish().0;
        // A record's length is 32 bits wide; what doesn't fit into all of them fits into none.
        if u32::try_from(bytes.len()).is_err() {
            return Err(Error::new(ErrorKind::Unsupported, "the plan is larger than 4 GiB"));
        }
        let (bytes, rest) = match self.head {
            Some(head) => (head.0, bytes),
            None => (bytes, Vec::new()),
        };
        let Self { pointers, passed, clones_last, .. } = self;
        Ok(Plan { bytes, rest, pointers, passed, clones_last })
    }
}

/// The encoder's buffer.
#[derive(Debug, Default)]
struct Buffer(Vec<u8>);

impl Sink for Buffer {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn patch(&mut self, offset: usize, bytes: [u8; 4]) {
        if let Some(place) = self.0.get_mut(offset..offset + 4) {
            place.copy_from_slice(&bytes);
        }
    }
}

/// A string of `config.json` as the kernel takes it.
pub(super) fn text(value: impl Into<Vec<u8>>, pointer: &str) -> Result<CString> {
    CString::new(value).map_err(|_| Error::config(pointer, "contains a NUL character"))
}

/// A path of `config.json` as the kernel takes it.
pub(super) fn path(value: &Path, pointer: &str) -> Result<CString> {
    text(value.as_os_str().as_bytes(), pointer)
}

/// Strings as init takes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct List(Vec<u8>);

impl List {
    pub(super) fn push(&mut self, value: &CString) {
        self.0.extend_from_slice(value.as_bytes_with_nul());
    }

    pub(super) fn collect<T: AsRef<str>>(
        values: impl IntoIterator<Item = T>,
        pointer: &str,
    ) -> Result<Self> {
        let mut list = Self::default();
        for (index, value) in values.into_iter().enumerate() {
            list.push(&text(value.as_ref(), &format!("{pointer}/{index}"))?);
        }
        Ok(list)
    }

    pub(super) fn get(&self) -> StrList<'_> {
        StrList::new(&self.0).unwrap_or(StrList::EMPTY)
    }
}
