//! The mounts of a root filesystem on the real kernel. Each test has a mount namespace of its own, a
//! thread's, so that nothing of it reaches the host or stays.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr)]
#![allow(dead_code, reason = "the rooms have more than is asked for here")]

#[path = "../src/failure.rs"]
mod failure;
#[path = "../src/mount/mod.rs"]
mod mount;
#[path = "../src/testing.rs"]
mod testing;

mod proto {
    /// The shim's own is the same, with what protobuf needs besides.
    pub(crate) mod types {
        #[derive(Clone, Debug, Default)]
        pub(crate) struct Mount {
            pub(crate) r#type: String,
            pub(crate) source: String,
            pub(crate) target: String,
            pub(crate) options: Vec<String>,
        }
    }
}

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Barrier;

use failure::Code;
use mount::{mount_all, unmount_all};
use proto::types::Mount;
use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::mount::{MountFlags, MountPropagationFlags, mount_change};

/// Runs a test in a mount namespace of its own, with a directory on a tmpfs there.
fn alone(name: &str, test: impl FnOnce(&Path) + Send + 'static) {
    if !rustix::process::geteuid().is_root() {
        return skip(name, "needs root");
    }
    let thread = std::thread::spawn(move || {
        // SAFETY: the descriptor table stays shared.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.unwrap();
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        // /mnt is there on any machine; what is mounted on it is seen by this thread only.
        let base = Path::new("/mnt");
        rustix::mount::mount("test", base, "tmpfs", MountFlags::empty(), None).unwrap();
        test(base);
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn skip(name: &str, reason: &str) {
    let line = format!("SKIP {name}: {reason}\n");
    eprint!("{line}");
    if let Some(list) = std::env::var_os("HOIST_SKIPS") {
        let mut list = fs::File::options().append(true).create(true).open(list).unwrap();
        list.write_all(line.as_bytes()).unwrap();
    }
}

fn mount(kind: &str, source: impl AsRef<Path>, options: &[&str]) -> Mount {
    Mount {
        r#type: kind.to_owned(),
        source: source.as_ref().to_str().unwrap().to_owned(),
        target: String::new(),
        options: options.iter().map(ToString::to_string).collect(),
    }
}

fn below(target: &str, mount: Mount) -> Mount {
    Mount { target: target.to_owned(), ..mount }
}

/// What is mounted at a path and below it, from the kernel's table.
fn mounted(path: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let points = table.lines().map(|line| line.split(' ').nth(4).unwrap().to_owned());
    points.filter(|point| Path::new(point).starts_with(path)).collect()
}

/// `count` layers with a file each, the first on top, and the options of an overlay over them.
fn layers(base: &Path, count: usize, name: &str) -> Vec<String> {
    let dirs: Vec<PathBuf> = (0..count).map(|i| base.join(format!("{name}{i}/fs"))).collect();
    for (i, dir) in dirs.iter().enumerate() {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join(format!("file{i}")), i.to_string()).unwrap();
        fs::write(dir.join("top"), i.to_string()).unwrap();
    }
    let join = |dirs: &[PathBuf]| {
        dirs.iter().map(|dir| dir.to_str().unwrap()).collect::<Vec<_>>().join(":")
    };
    vec![format!("lowerdir={}", join(&dirs))]
}

fn writable(base: &Path, mut options: Vec<String>) -> Vec<String> {
    for name in ["upper", "work"] {
        fs::create_dir_all(base.join(name)).unwrap();
        options.push(format!("{name}dir={}", base.join(name).display()));
    }
    options
}

fn overlay(options: &[String]) -> Mount {
    Mount { options: options.to_vec(), ..mount("overlay", "overlay", &[]) }
}

/// Makes an overlay of `count` layers and looks at each of them.
fn overlay_of(base: &Path, count: usize, name: &str) {
    let target = base.join("rootfs");
    let options = writable(base, layers(base, count, name));
    mount_all(&[overlay(&options)], &target).unwrap();
    for i in 0..count {
        let content = fs::read_to_string(target.join(format!("file{i}"))).unwrap();
        assert_eq!(content, i.to_string());
    }
    assert_eq!(fs::read_to_string(target.join("top")).unwrap(), "0", "the first is on top");
    fs::write(target.join("new"), "x").unwrap();
    assert!(base.join("upper/new").exists());
    assert_eq!(mounted(&target).len(), 1);
    unmount_all(&target).unwrap();
    assert_eq!(mounted(&target), Vec::<String>::new());
}

/// uname(2) says Linux 2.6 to this thread (personality(2), UNAME26), whatever the kernel is.
fn look_like_an_old_kernel() {
    const UNAME26: libc::c_ulong = 0x0002_0000;
    // SAFETY: this changes a number of the calling thread.
    assert!(unsafe { libc::personality(UNAME26) } >= 0);
}

#[test]
fn overlay_with_two_layers() {
    alone("overlay_with_two_layers", |base| overlay_of(base, 2, "layer"));
}

#[test]
fn overlay_with_one_layer_is_read_only_without_an_upper_directory() {
    alone("overlay_with_one_layer", |base| {
        let target = base.join("rootfs");
        fs::create_dir_all(base.join("only/empty")).unwrap();
        fs::create_dir_all(base.join("second")).unwrap();
        let lower =
            format!("lowerdir={}:{}", base.join("only").display(), base.join("second").display());
        mount_all(&[overlay(&[lower])], &target).unwrap();
        assert!(fs::write(target.join("x"), "").is_err());
        unmount_all(&target).unwrap();
    });
}

#[test]
fn overlay_with_forty_layers_and_long_paths() {
    alone("overlay_with_forty_layers_and_long_paths", |base| {
        overlay_of(base, 40, &"l".repeat(200));
    });
}

#[test]
fn overlay_with_five_hundred_layers() {
    alone("overlay_with_five_hundred_layers", |base| overlay_of(base, 500, &"l".repeat(100)));
}

#[test]
fn overlay_with_many_layers_on_an_old_kernel() {
    alone("overlay_with_many_layers_on_an_old_kernel", |base| {
        look_like_an_old_kernel();
        let deep = base.join("d".repeat(100));
        fs::create_dir(&deep).unwrap();
        // 13 KB of options; 1.3 KB when relative to the layers' parent directory.
        overlay_of(&deep, 127, "l");
    });
}

#[test]
fn options_that_fit_on_no_old_kernel_are_refused() {
    alone("options_that_fit_on_no_old_kernel_are_refused", |base| {
        look_like_an_old_kernel();
        let target = base.join("rootfs");
        let options = layers(base, 40, &"l".repeat(200));
        let failure = mount_all(&[overlay(&options)], &target).unwrap_err();
        assert_eq!(failure.code, Code::InvalidArgument);
        assert!(failure.message.contains("mount(2) takes 4095"), "{failure}");
        assert_eq!(mounted(&target), Vec::<String>::new());
    });
}

#[test]
fn overlay_with_paths_longer_than_fsconfig_takes() {
    alone("overlay_with_paths_longer_than_fsconfig_takes", |base| {
        let deep = base.join("d".repeat(200)).join("e".repeat(100));
        fs::create_dir_all(&deep).unwrap();
        overlay_of(&deep, 2, "l");
    });
}

#[test]
fn overlay_of_paths_with_colons_and_commas() {
    alone("overlay_of_paths_with_colons_and_commas", |base| {
        for old in [false, true] {
            if old {
                look_like_an_old_kernel();
            }
            let target = base.join("rootfs");
            let mut lowers = Vec::new();
            for name in [r"a:b", r"c,d", r"e\f"] {
                let dir = base.join(name).join("x".repeat(if old { 1 } else { 100 }));
                fs::create_dir_all(&dir).unwrap();
                fs::write(dir.join(name), "").unwrap();
                let path = dir.to_str().unwrap().to_owned();
                lowers.push(path.replace('\\', r"\\").replace(':', r"\:").replace(',', r"\,"));
            }
            let lower = format!("lowerdir={}", lowers.join(":"));
            mount_all(&[overlay(&writable(&base.join("u,v"), vec![lower])[..1])], &target).unwrap();
            for name in [r"a:b", r"c,d", r"e\f"] {
                assert!(target.join(name).exists(), "{name}, {old}");
            }
            unmount_all(&target).unwrap();
        }
    });
}

#[test]
fn the_kernel_says_what_is_wrong() {
    alone("the_kernel_says_what_is_wrong", |base| {
        let target = base.join("rootfs");
        let mut options = layers(base, 2, "l");
        options.push("nonsense=1".to_owned());
        let failure = mount_all(&[overlay(&options)], &target).unwrap_err();
        let message = failure.message;
        for part in [
            "rootfs mount 0",
            "\"overlay\"",
            "option nonsense=1",
            "Invalid argument",
            "(the kernel: ",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
        let missing = [format!("lowerdir={}:/nowhere", base.display())];
        let failure = mount_all(&[overlay(&missing)], &target).unwrap_err();
        assert!(failure.message.contains("No such file"), "{failure}");
        let failure = mount_all(&[mount("nofs", "none", &[])], &target).unwrap_err();
        assert!(failure.message.contains("the kernel has no filesystem \"nofs\""), "{failure}");
        let failure = mount_all(&[mount("bind", "/nowhere", &["rbind"])], &target).unwrap_err();
        assert!(failure.message.contains("source \"/nowhere\""), "{failure}");
        for kind in ["format/overlay", "mkfs/loop", "mkdir/bind", "loop"] {
            let failure = mount_all(&[mount(kind, "x", &[])], &target).unwrap_err();
            assert_eq!(failure.code, Code::Unimplemented);
            assert!(failure.message.contains("mount manager"), "{failure}");
        }
    });
}

#[test]
fn binds_with_their_attributes() {
    alone("binds_with_their_attributes", |base| {
        let (source, target) = (base.join("source"), base.join("rootfs"));
        fs::create_dir_all(source.join("inner")).unwrap();
        fs::write(source.join("file"), "1").unwrap();
        rustix::mount::mount("t", source.join("inner"), "tmpfs", MountFlags::empty(), None)
            .unwrap();
        fs::write(source.join("inner/deep"), "").unwrap();

        mount_all(&[mount("bind", &source, &["rbind", "ro", "nosuid"])], &target).unwrap();
        assert!(target.join("inner/deep").exists(), "rbind takes what is below");
        let error = fs::write(target.join("file"), "2").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        let flags = statvfs(&target).unwrap().f_flag;
        assert!(flags.contains(StatVfsMountFlags::RDONLY | StatVfsMountFlags::NOSUID));
        fs::write(source.join("file"), "3").unwrap();
        assert_eq!(mounted(&target).len(), 2);
        unmount_all(&target).unwrap();
        assert!(mounted(&target).is_empty());
        assert!(source.join("inner/deep").exists(), "the source's own mounts stay");

        mount_all(&[mount("bind", &source, &["bind", "rw"])], &target).unwrap();
        assert!(!target.join("inner/deep").exists());
        fs::write(target.join("file"), "4").unwrap();
        unmount_all(&target).unwrap();
    });
}

#[test]
fn tmpfs_remount_and_propagation() {
    alone("tmpfs_remount_and_propagation", |base| {
        let target = base.join("rootfs");
        let options = ["size=1m,mode=0750", "noexec", "rshared"];
        let tmpfs = mount("tmpfs", "tmpfs", &options);
        mount_all(&[tmpfs, mount("", "", &["remount", "ro"])], &target).unwrap();
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o7777, 0o750);
        let stat = statvfs(&target).unwrap();
        assert_eq!(stat.f_blocks * stat.f_frsize, 1 << 20);
        assert!(stat.f_flag.contains(StatVfsMountFlags::RDONLY | StatVfsMountFlags::NOEXEC));
        let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let line = table.lines().find(|line| line.contains("/mnt/rootfs ")).unwrap();
        assert!(line.contains(" shared:"), "{line}");
        unmount_all(&target).unwrap();
    });
}

#[test]
fn when_the_third_mount_fails_the_others_go() {
    alone("when_the_third_mount_fails_the_others_go", |base| {
        let target = base.join("rootfs");
        // Not of this call: it has to stay.
        fs::create_dir(&target).unwrap();
        rustix::mount::mount("old", &target, "tmpfs", MountFlags::empty(), None).unwrap();
        let tmpfs = || mount("tmpfs", "tmpfs", &[]);
        let bad = mount("tmpfs", "tmpfs", &["nonsense"]);
        let failure = mount_all(&[tmpfs(), tmpfs(), bad], &target).unwrap_err();
        assert!(failure.message.starts_with("rootfs mount 2 "), "{failure}");
        assert_eq!(mounted(&target), ["/mnt/rootfs"]);
    });
}

#[test]
fn stacked_and_hidden_mounts_go() {
    alone("stacked_and_hidden_mounts_go", |base| {
        let target = base.join("root fs");
        let tmpfs = |target| below(target, mount("tmpfs", "tmpfs", &[]));
        unmount_all(&target).unwrap();
        mount_all(&[tmpfs(""), tmpfs("")], &target).unwrap();
        fs::create_dir_all(target.join("a/b")).unwrap();
        // The last one hides those before it.
        mount_all(&[tmpfs("a"), tmpfs("a"), tmpfs("")], &target).unwrap();
        fs::create_dir_all(base.join("root fs2")).unwrap();
        mount_all(&[tmpfs("")], &base.join("root fs2")).unwrap();
        assert_eq!(mounted(&target).len() + mounted(&base.join("root\\040fs")).len(), 5);

        let _busy = fs::File::create(target.join("open")).unwrap();
        unmount_all(&target).unwrap();
        assert_eq!(mounted(&base.join(r"root\040fs")), Vec::<String>::new());
        assert_eq!(mounted(&base.join(r"root\040fs2")).len(), 1, "its neighbour stays");
        unmount_all(&target).unwrap();
        unmount_all(Path::new("/mnt/nowhere/rootfs")).unwrap();
    });
}

#[test]
fn links_are_not_followed() {
    alone("links_are_not_followed", |base| {
        let (outside, target) = (base.join("outside"), base.join("rootfs"));
        fs::create_dir(&outside).unwrap();
        rustix::mount::mount("canary", &outside, "tmpfs", MountFlags::empty(), None).unwrap();
        symlink(&outside, &target).unwrap();
        let tmpfs = |target| below(target, mount("tmpfs", "tmpfs", &[]));
        assert!(mount_all(&[tmpfs("")], &target).is_err());
        unmount_all(&target).unwrap();
        assert_eq!(mounted(&outside).len(), 1);
    });
}

#[test]
fn a_target_stays_in_the_root() {
    alone("a_target_stays_in_the_root", |base| {
        let (image, host, target) = (base.join("image"), base.join("host"), base.join("rootfs"));
        // In the image, /mnt/host is a directory of its own.
        fs::create_dir_all(image.join("mnt/host")).unwrap();
        fs::create_dir_all(&host).unwrap();
        symlink("/mnt/host", image.join("absolute")).unwrap();
        symlink("../../../../mnt/host", image.join("relative")).unwrap();
        symlink("/proc/self/cwd", image.join("magic")).unwrap();
        for hostile in ["absolute", "relative", "../../mnt/host", "/mnt/host"] {
            let mounts =
                [mount("bind", &image, &["rbind"]), below(hostile, mount("tmpfs", "tmpfs", &[]))];
            mount_all(&mounts, &target).unwrap();
            assert!(mounted(&host).is_empty(), "{hostile}");
            assert_eq!(mounted(&target), ["/mnt/rootfs", "/mnt/rootfs/mnt/host"], "{hostile}");
            unmount_all(&target).unwrap();
        }
        let mounts =
            [mount("bind", &image, &["rbind"]), below("magic", mount("tmpfs", "tmpfs", &[]))];
        let failure = mount_all(&mounts, &target).unwrap_err();
        assert!(failure.message.contains("target \"magic\""), "{failure}");
        assert!(mounted(&target).is_empty());
    });
}

/// Makes a file with an ext4 on it, if that can be done here.
fn image(base: &Path, name: &str) -> Option<PathBuf> {
    let image = base.join(name);
    fs::File::create(&image).unwrap().set_len(8 << 20).unwrap();
    let made = Command::new("mkfs.ext4").arg("-q").arg(&image).status();
    made.is_ok_and(|status| status.success()).then_some(image)
}

fn loops_of(image: &Path) -> Vec<String> {
    let devices = fs::read_dir("/sys/block").unwrap().map(|entry| entry.unwrap().path());
    let file = |device: &Path| fs::read_to_string(device.join("loop/backing_file")).ok();
    devices
        .filter(|device| file(device).is_some_and(|file| file.trim() == image.to_str().unwrap()))
        .map(|device| device.file_name().unwrap().to_str().unwrap().to_owned())
        .collect()
}

#[test]
fn ext4_in_a_file() {
    const NAME: &str = "ext4_in_a_file";
    alone(NAME, |base| {
        if !Path::new("/dev/loop-control").exists() {
            return skip(NAME, "no loop devices");
        }
        let target = base.join("rootfs");
        let Some(image) = image(base, "image") else { return skip(NAME, "no mkfs.ext4") };
        mount_all(&[mount("ext4", &image, &["loop"])], &target).unwrap();
        fs::write(target.join("file"), "1").unwrap();
        let devices = loops_of(&image);
        assert_eq!(devices.len(), 1);
        unmount_all(&target).unwrap();

        mount_all(&[mount("ext4", &image, &["loop", "ro"])], &target).unwrap();
        let error = fs::write(target.join("file"), "2").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        let device = &loops_of(&image)[0];
        let read_only = fs::read_to_string(format!("/sys/block/{device}/ro")).unwrap();
        assert_eq!(read_only.trim(), "1");
        unmount_all(&target).unwrap();
        assert!(mounted(&target).is_empty());

        let failure = mount_all(&[mount("xfs", &image, &["loop"])], &target).unwrap_err();
        assert!(failure.message.contains("Invalid argument"), "{failure}");
    });
}

#[test]
fn erofs_in_a_file_and_an_overlay_over_it() {
    const NAME: &str = "erofs_in_a_file_and_an_overlay_over_it";
    alone(NAME, |base| {
        if !Path::new("/dev/loop-control").exists() {
            return skip(NAME, "no loop devices");
        }
        let (image, source) = (base.join("image"), base.join("source"));
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), "1").unwrap();
        match Command::new("mkfs.erofs").arg(&image).arg(&source).output() {
            Ok(output) if output.status.success() => {}
            _ => return skip(NAME, "no mkfs.erofs"),
        }
        // Nothing says "ro": it is what erofs is.
        let (layer, target) = (base.join("layer"), base.join("rootfs"));
        mount_all(&[mount("erofs", &image, &["loop"])], &layer).unwrap();
        let lower = format!("lowerdir={}", layer.display());
        mount_all(&[overlay(&writable(base, vec![lower]))], &target).unwrap();
        fs::write(target.join("file"), "2").unwrap();
        assert_eq!(fs::read_to_string(layer.join("file")).unwrap(), "1");
        unmount_all(&target).unwrap();
        unmount_all(&layer).unwrap();
    });
}

#[test]
fn many_loop_devices_at_the_same_time() {
    const NAME: &str = "many_loop_devices_at_the_same_time";
    alone(NAME, |base| {
        if !Path::new("/dev/loop-control").exists() {
            return skip(NAME, "no loop devices");
        }
        let images: Option<Vec<_>> = (0..6).map(|i| image(base, &format!("image{i}"))).collect();
        let Some(images) = images else { return skip(NAME, "no mkfs.ext4") };
        let start = &Barrier::new(images.len());
        std::thread::scope(|scope| {
            for image in &images {
                scope.spawn(move || {
                    let target = image.with_extension("rootfs");
                    start.wait();
                    mount_all(&[mount("ext4", image, &["loop"])], &target).unwrap();
                });
            }
        });
        for image in &images {
            assert_eq!(loops_of(image).len(), 1);
            unmount_all(&image.with_extension("rootfs")).unwrap();
        }
    });
}

/// Ids of a container that begin at 100000 on the host.
const MAPS: [&str; 2] = ["uidmap=0:100000:1,1:100001:65535", "gidmap=0:100000:65536"];

fn owner(path: &Path) -> (u32, u32) {
    let metadata = fs::metadata(path).unwrap();
    (metadata.uid(), metadata.gid())
}

#[test]
fn id_mapped_overlay() {
    alone("id_mapped_overlay", |base| {
        for old in [false, true] {
            if old {
                look_like_an_old_kernel();
            }
            let target = base.join("rootfs");
            let snapshots = base.join("snapshots");
            let mut options = writable(&snapshots, layers(&snapshots, 5, &"l".repeat(60)));
            options.extend(MAPS.map(str::to_owned));
            mount_all(&[overlay(&options)], &target).unwrap();
            assert_eq!(owner(&target.join("file4")), (100_000, 100_000), "{old}");
            assert_eq!(owner(&snapshots.join("upper")), (0, 0));
            assert_eq!(mounted(&target).len(), 1, "the layers' own mount is seen by nobody");
            assert!(mounted(&snapshots).is_empty());
            unmount_all(&target).unwrap();
            fs::remove_dir_all(&snapshots).unwrap();
        }
    });
}

#[test]
fn id_mapped_bind_and_tmpfs() {
    alone("id_mapped_bind_and_tmpfs", |base| {
        let (source, target) = (base.join("source"), base.join("rootfs"));
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), "").unwrap();
        let [uids, gids] = MAPS;
        mount_all(&[mount("bind", &source, &["rbind", uids, gids])], &target).unwrap();
        assert_eq!(owner(&target.join("file")), (100_000, 100_000));
        assert_eq!(owner(&source.join("file")), (0, 0));
        unmount_all(&target).unwrap();
        mount_all(&[mount("tmpfs", "tmpfs", &[uids, gids])], &target).unwrap();
        assert_eq!(owner(&target), (100_000, 100_000));
        unmount_all(&target).unwrap();
    });
}

#[test]
fn fuse_by_its_helper() {
    const NAME: &str = "fuse_by_its_helper";
    alone(NAME, |base| {
        if Command::new("mount.fuse3").arg("-V").output().is_err() {
            return skip(NAME, "no mount.fuse3");
        }
        let target = base.join("rootfs");
        let script = base.join("fakefs");
        fs::write(&script, "#!/bin/sh\nmount -t tmpfs -o mode=0700 \"$1\" \"$2\"\n").unwrap();
        Command::new("chmod").arg("+x").arg(&script).status().unwrap();
        let kind = format!("fuse3.{}", script.display());
        mount_all(&[mount(&kind, "name", &["rw"])], &target).unwrap();
        assert_eq!(mounted(&target).len(), 1);
        unmount_all(&target).unwrap();
        fs::write(&script, "#!/bin/sh\necho it is broken >&2\nexit 3\n").unwrap();
        let failure = mount_all(&[mount(&kind, "name", &[])], &target).unwrap_err();
        assert!(failure.message.contains("it is broken"), "{failure}");
        assert!(mounted(&target).is_empty());
    });
}
