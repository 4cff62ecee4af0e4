//! What becomes of each system call: it is made, by a child of its own and with arguments that no
//! call can do harm with (an address that is none, a descriptor that isn't open, flags that don't
//! exist), and what comes back is written down. What a filter says of it comes first.

use crate::ask::split;
use crate::output::{number, put, put_number};
use crate::sys::{self, Result, Shared};

/// No call returns this.
const UNSET: isize = isize::MIN;

/// `FROM TO ARGUMENT [NUMBER…]`, see `entry.rs`. `call` has to be inlined: the child of vfork(2) must not
/// return from a function of its parent's.
pub(crate) fn sweep(words: &[u8], call: impl Fn(usize, [usize; 6]) -> isize) -> Result<()> {
    let (from, rest) = split(words);
    let (to, rest) = split(rest);
    let (argument, left_out) = split(rest);
    let shared = Shared::new()?;
    for slot in 0..Shared::SLOTS {
        shared.set(slot, UNSET);
    }
    let left_out = |number_: usize| {
        let mut words = left_out.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        words.any(|word| number(word) == number_)
    };
    for nr in (number(from)..=number(to)).filter(|nr| !left_out(*nr)) {
        // A slot for each call: a grandchild, of fork(2), may write later than its parent.
        let pid = sys::fork()?;
        if pid == 0 {
            sys::be_mortal();
            shared.set(nr, call(nr, [number(argument); 6]));
            sys::exit(0);
        }
        let status = sys::wait(pid)?;
        put_number(nr as isize);
        put(b" ");
        match (shared.get(nr), status & 0x7f) {
            (UNSET, 0) => put(b"x"),
            (UNSET, signal) => {
                put(b"s");
                put_number(signal as isize);
            }
            (value, _) => put_number(value),
        }
        put(b"\n");
    }
    Ok(())
}
