//! How long each part took.

use super::sys;
use super::text::Text;

const MOST: usize = 40;

/// Where the time went. Parent and child share it, as they share all memory.
pub(crate) struct Phases {
    wanted: bool,
    last: u64,
    count: usize,
    times: [(&'static str, u64); MOST],
}

impl Phases {
    pub(crate) fn new(wanted: bool) -> Self {
        let last = if wanted { sys::now() } else { 0 };
        Self { wanted, last, count: 0, times: [("", 0); MOST] }
    }

    /// What was done since the last call was `name`.
    pub(crate) fn end(&mut self, name: &'static str) {
        let now = if self.wanted { sys::now() } else { 0 };
        if let Some(slot) = self.times.get_mut(self.count) {
            *slot = (name, now - self.last);
            self.count += 1;
        }
        self.last = now;
    }

    /// The phase that ended last.
    pub(crate) fn latest(&self) -> &'static str {
        self.times.get(self.count.wrapping_sub(1)).map_or("nothing", |(name, _)| name)
    }

    /// Prints a line `name µs` for each, with one decimal.
    pub(crate) fn print(&self) {
        for (name, time) in self.times.iter().take(self.count).filter(|_| self.wanted) {
            let line = Text::of(&[name.as_bytes(), b" "]).number(time / 1000).and(b".");
            let _ = sys::write(1, line.number(time / 100 % 10).and(b"\n").bytes());
        }
    }
}
