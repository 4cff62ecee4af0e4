//! Propagation options of one mount: `shared`, `rslave` and the like, in their order.

use libc::MS_REC;
use rustix::mount::MountPropagationFlags as Flags;

/// The changes that are left when those go that a later one undoes entirely. `private` and
/// `unbindable` forget what was before; `shared` and `slave` don't (a mount can be both,
/// mount_namespaces(7)), so what remains is done one after another.
pub(super) fn fold(changes: &[Flags]) -> Vec<u64> {
    let mut folded: Vec<u64> = Vec::new();
    for change in changes {
        let recursive = change.contains(Flags::REC);
        if change.intersects(Flags::PRIVATE | Flags::UNBINDABLE) {
            folded.retain(|before| before & MS_REC != 0 && !recursive);
        }
        let bits = u64::from(change.bits());
        if folded.last() != Some(&bits) {
            folded.push(bits);
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_undone_goes() {
        let fold = |changes: &[Flags]| {
            let flags = fold(changes).into_iter().map(|flags| u32::try_from(flags).unwrap());
            flags.map(Flags::from_bits_retain).collect::<Vec<_>>()
        };
        let (private, shared, slave, rec) =
            (Flags::PRIVATE, Flags::SHARED, Flags::DOWNSTREAM, Flags::REC);
        assert_eq!(fold(&[]), []);
        assert_eq!(fold(&[shared, shared]), [shared]);
        assert_eq!(fold(&[shared, private]), [private]);
        assert_eq!(fold(&[shared | rec, private]), [shared | rec, private]);
        assert_eq!(fold(&[shared | rec, slave, private | rec]), [private | rec]);
        assert_eq!(fold(&[slave, shared]), [slave, shared]);
        assert_eq!(fold(&[shared, Flags::UNBINDABLE]), [Flags::UNBINDABLE]);
    }
}
