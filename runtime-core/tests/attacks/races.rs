//! A neighbour swaps the paths of a shared volume while containers are made on it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::json;

use crate::attack;
use crate::attack::Attack;
use crate::neighbour::{Neighbour, Verdict, rounds};
use crate::subject::{Refusal, Running};

/// A volume at `/vol`, in which `here` is a directory and `link` leads to the host's canaries.
fn volume(attack: &mut Attack, target: &str) -> PathBuf {
    let volume = attack.host_dir("volume");
    let target = target.replace("HOST", attack.canary().to_str().unwrap());
    symlink(target, volume.join("link")).unwrap();
    fs::create_dir(volume.join("here")).unwrap();
    attack.bind(&volume, "/vol", &["rbind", "rw"]);
    attack.process()["args"] = json!(["/bin/sleep", "1000"]);
    volume
}

/// One container: what is found in it, or that the error is clear.
fn round(attack: &Attack, check: impl FnOnce(&Running<'_>)) -> Verdict {
    match attack.start() {
        Ok(running) => {
            check(&running);
            running.end();
            "made"
        }
        Err(refusal) => refused(attack, &refusal),
    }
}

fn refused(attack: &Attack, refusal: &Refusal) -> Verdict {
    attack.is_clear(refusal, "/");
    "refused"
}

/// The places that lead out of a root, as an attacker would have them.
const OUT: [&str; 2] = ["HOST/empty", "../../../../../../../../HOST/empty"];

/// CVE-2021-30465 (runc): the destination of a mount is a directory when it is looked at, and a
/// symbolic link when it is mounted on: the mount comes to lie on the host, or the host's
/// directories in the container.
/// Seen to fail: with hoist resolving a path in the root and then opening it again by name.
#[test]
fn cve_2021_30465() {
    for target in OUT {
        let mut attack = attack!();
        attack.share_canary();
        let volume = volume(&mut attack, target);
        let second = attack.host_dir("second");
        attack.bind(&second, "/vol/here", &["bind"]);
        attack.mount("tmpfs", "attacked", "/vol/here/inner", &[]);
        let neighbour = Neighbour::swapping(&volume, "here", "link");
        rounds(60, || {
            round(&attack, |running| {
                let mounts = running.mounts();
                // Both are there, and nothing of the host's is that isn't asked for.
                let at = |root: &str| mounts.iter().filter(|m| m.root.ends_with(root)).count();
                assert_eq!(at("/second"), 1, "{mounts:#?}");
                assert_eq!(at("/volume"), 1, "{mounts:#?}");
                assert_eq!(at("/empty"), 0, "{mounts:#?}");
                assert_eq!(mounts.iter().filter(|m| m.source == "attacked").count(), 1);
            })
        });
        neighbour.end();
    }
}

/// CVE-2024-45310 (runc): directories and files that are mount points are made where they are
/// missing, through a component that has become a link meanwhile: on the host.
/// Seen to fail: with hoist resolving a path in the root and then opening it again by name.
#[test]
fn cve_2024_45310() {
    for target in OUT {
        let mut attack = attack!();
        let volume = volume(&mut attack, target);
        let source = attack.host_dir("source");
        fs::write(source.join("file"), "").unwrap();
        attack.bind(&source, "/vol/here/a/b/c/directory", &["bind"]);
        attack.bind(&source.join("file"), "/vol/here/d/e/f/file", &["bind"]);
        attack.process()["cwd"] = json!("/vol/here/g/h/i");
        let neighbour = Neighbour::swapping(&volume, "here", "link");
        rounds(80, || {
            let verdict = round(&attack, |_| {});
            attack.host_is_unchanged();
            for name in ["here", "link"] {
                let dir = volume.join(name);
                if dir.symlink_metadata().unwrap().is_symlink() {
                    continue;
                }
                for made in ["a", "d", "g"] {
                    let _ = fs::remove_dir_all(dir.join(made));
                }
            }
            // Made inside of the root, when the link was followed there.
            let inside = attack.rootfs().join("tmp");
            for entry in fs::read_dir(inside).unwrap().flatten() {
                let _ = fs::remove_dir_all(entry.path());
            }
            verdict
        });
        neighbour.end();
    }
}

/// GHSA-3q8j-pf29-vwv8 (youki): a read-only path is bound, and found again by its name to be made
/// read-only, which by then is another one: it stays writable. Masked paths are alike.
/// Seen to fail: with hoist binding the path first and finding it again by its name.
#[test]
fn ghsa_3q8j_pf29_vwv8() {
    for (kind, covered) in [("readonlyPaths", false), ("maskedPaths", true)] {
        let mut attack = attack!();
        let volume = volume(&mut attack, "HOST/empty");
        fs::create_dir(volume.join("other")).unwrap();
        fs::write(volume.join("here/secret"), "").unwrap();
        attack.linux()["maskedPaths"] = json!([]);
        attack.linux()["readonlyPaths"] = json!([]);
        attack.linux()[kind] = json!(["/vol/here"]);
        let neighbour = Neighbour::swapping(&volume, "here", "other");
        rounds(60, || {
            round(&attack, |running| {
                let mounts = running.mounts();
                let found: Vec<_> =
                    mounts.iter().filter(|mount| mount.point.starts_with("/vol/")).collect();
                assert_eq!(found.len(), 1, "{mounts:#?}");
                assert!(found[0].has("ro"), "{found:?}");
                assert_eq!(found[0].kind == "tmpfs", covered, "{found:?}");
            })
        });
        neighbour.end();
    }
}

/// GHSA-3q8j-pf29-vwv8's class elsewhere: a filesystem that only mount(2) can mount is found again
/// by its name to be given its attributes, which by then is another one.
/// Seen to fail: with hoist finding it again by its name, some milliseconds later.
#[test]
fn attributes_after_the_mount() {
    let mut attack = attack!();
    let volume = volume(&mut attack, "HOST/empty");
    fs::create_dir(volume.join("other")).unwrap();
    // fsconfig(2) knows no iversion.
    let options = ["iversion", "ro", "nosuid", "nodev", "noexec"];
    // Attributes can only be given to a mount's root: one that is found in its place.
    attack.mount("tmpfs", "decoy", "/vol/other", &[]);
    attack.mount("tmpfs", "attacked", "/vol/here", &options);
    let neighbour = Neighbour::swapping(&volume, "here", "other");
    rounds(60, || {
        round(&attack, |running| {
            let mounts = running.mounts();
            let found: Vec<_> = mounts.iter().filter(|m| m.source == "attacked").collect();
            assert_eq!(found.len(), 1, "{mounts:#?}");
            for option in &options[1..] {
                assert!(found[0].has(option), "{option}: {found:?}");
            }
        })
    });
    neighbour.end();
}
