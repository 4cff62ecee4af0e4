//! `--user UID[:GID]`.

use crate::args::number;
use crate::failure::{Failure, Result};

/// A user and perhaps a group, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: Option<u32>,
}

impl User {
    /// Reads `UID` or `UID:GID`. Names are never looked up: the container's passwd file may say
    /// anything. Whatever is not a number is refused, for a guess would be some user (in crun
    /// `-u 1` once was root, CVE-2026-30892); so is 4294967295, which to the kernel means "leave
    /// it as it is".
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (uid, gid) = match text.split_once(':') {
            Some((uid, gid)) => (uid, Some(gid)),
            None => (text, None),
        };
        Ok(Self { uid: id("uid", uid)?, gid: gid.map(|gid| id("gid", gid)).transpose()? })
    }
}

fn id(what: &str, text: &str) -> Result<u32> {
    number(text).filter(|id| *id != u32::MAX).ok_or_else(|| {
        Failure::new(format!("bad {what}: {text:?} is not a number up to 4294967294"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_nothing_else() {
        for (text, uid, gid) in [
            ("0", 0, None),
            ("1", 1, None),
            ("1000", 1000, None),
            ("1:2", 1, Some(2)),
            ("0:0", 0, Some(0)),
            ("4294967294:4294967294", 4_294_967_294, Some(4_294_967_294)),
        ] {
            assert_eq!(User::parse(text).unwrap(), User { uid, gid }, "{text}");
        }
        for text in [
            "",
            ":",
            "1:",
            ":1",
            "root",
            "1:root",
            "root:1",
            "-1",
            "1:-1",
            "+1",
            " 1",
            "1 ",
            "1:2:3",
            "0x0",
            "1,2",
            "1.0",
            "4294967295",
            "4294967296",
            "1:4294967295",
            "1\n",
            "1::2",
        ] {
            assert!(User::parse(text).is_err(), "{text:?}");
        }
        let failure = User::parse("1:x").unwrap_err();
        assert_eq!(failure.message(), Some("bad gid: \"x\" is not a number up to 4294967294"));
    }

    proptest::proptest! {
        /// CVE-2026-30892 (crun): `exec -u 1` ran as root, since a user without a group was read wrongly.
        /// Whatever is accepted says exactly what was written.
        /// Seen to fail: with a parser that took a number without a colon for the group.
        #[test]
        fn cve_2026_30892_accepted_text_is_the_numbers(text in "[0-9:+ a-]{0,12}") {
            if let Ok(User { uid, gid }) = User::parse(&text) {
                let strip = |text: &str| match text.trim_start_matches('0') {
                    "" => "0".to_owned(),
                    digits => digits.to_owned(),
                };
                let mut parts = text.split(':');
                assert_eq!(uid.to_string(), strip(parts.next().unwrap()));
                assert_eq!(gid.map(|gid| gid.to_string()), parts.next().map(strip));
                assert_eq!(parts.next(), None);
            }
        }

        #[test]
        fn every_id_is_accepted(uid in 0..u32::MAX, gid in 0..u32::MAX) {
            assert_eq!(User::parse(&uid.to_string()).unwrap(), User { uid, gid: None });
            let both = User::parse(&format!("{uid}:{gid}")).unwrap();
            assert_eq!(both, User { uid, gid: Some(gid) });
        }
    }
}
