//! Short texts without an allocator: paths, and lines of output.

use core::ffi::CStr;

pub(crate) struct Text {
    bytes: [u8; 256],
    length: usize,
}

impl Text {
    /// Texts one after another.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut text = Self { bytes: [0; 256], length: 0 };
        for part in parts {
            text.push(part);
        }
        text
    }

    /// What is too long is left out; the kernel will not find such a path.
    fn push(&mut self, more: &[u8]) {
        let end = self.length + more.len();
        // The last byte stays 0: a path ends there.
        if let Some(place) = self.bytes.get_mut(self.length..end).filter(|_| end < 256) {
            place.copy_from_slice(more);
            self.length = end;
        }
    }

    pub(crate) fn number(mut self, number: u64) -> Self {
        if number > 9 {
            self = self.number(number / 10);
        }
        self.push(&[b'0' + (number % 10) as u8]);
        self
    }

    pub(crate) fn and(mut self, more: &[u8]) -> Self {
        self.push(more);
        self
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    pub(crate) fn path(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}
