//! Whom `exec --user` makes a process. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)] // clippy.toml allows these in tests, but does not take helpers of integration tests for such

mod common;

use common::{assert_fails, bench, text};

/// CVE-2026-30892 (crun): `exec -u 1` ran as root, since a user without a group was read wrongly.
/// Seen to fail: with a parser that took a number without a colon for the group.
#[test]
fn cve_2026_30892_exec_is_the_user_that_was_asked_for() {
    let Some(bench) = bench() else { return };
    // The image's own words must not matter (CVE-2016-3697).
    let etc = bench.bundle().join("rootfs/etc");
    let passwd = "1:x:0:0::/:/bin/sh\n1000:x:0:0::/:/bin/sh\nroot:x:7:7::/:/bin/sh\n";
    std::fs::write(etc.join("passwd"), passwd).unwrap();
    std::fs::write(etc.join("group"), "1:x:0:\n2:x:0:1\n").unwrap();
    bench.arguments(&["sleep", "1000"]);
    bench.detached(&["run", "-d", &bench.a]);
    let exec = |user: &str| {
        bench.hoist(&["exec", "--user", user, &bench.a, "sh", "-c", "id -u; id -g; id -G"])
    };
    for (user, expected) in [
        ("0", "0\n0\n0\n"),
        ("1", "1\n0\n0\n"),
        ("1000", "1000\n0\n0\n"),
        ("1:2", "1\n2\n2\n"),
        ("65534:65534", "65534\n65534\n65534\n"),
        ("4294967294:4294967294", "4294967294\n4294967294\n4294967294\n"),
    ] {
        let output = exec(user);
        assert_eq!(text(&output.stdout), expected, "{user}: {output:?}");
    }
    // A guess would be some user, and most guesses are 0.
    for user in [
        "",
        ":",
        "1:",
        ":1",
        "root",
        "1:root",
        "+1",
        "-1",
        "1:-1",
        "1:2:3",
        "0x1",
        "1 ",
        "4294967295",
        "4294967296",
        "4294968296:1",
        "18446744073709551616",
        "1:4294967296",
        "99999999999999999999999",
    ] {
        assert_fails(&exec(user), 255, "bad ");
        assert_eq!(text(&exec(user).stdout), "", "{user}");
    }
}
