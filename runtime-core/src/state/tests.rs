use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::net::{RecvFlags, SendFlags};

use super::*;
use crate::procfs::ProcessId;

/// A directory that is removed at the end.
struct Temp(PathBuf);

impl Temp {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("hoist-state-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn state(&self) -> StateDir {
        StateDir::open_or_create(&self.0.join("root")).unwrap()
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn record(id: &str) -> Record {
    let creator = ProcessId { pid: 1, start_time: 2, pid_namespace: 3, boot: String::new() };
    Record::new(id, creator)
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn ids_are_runcs() {
    for id in ["a", "web-1", "A_b+c-d.e", "...", "-", ".hidden", &"x".repeat(255)] {
        validate_id(id).unwrap();
    }
    for id in ["", ".", "..", "a/b", "/", "a b", "é", "a\0", "a\n", &"x".repeat(256)] {
        assert_eq!(kind(validate_id(id)), ErrorKind::InvalidArgument, "{id:?}");
    }
}

#[test]
fn the_root_is_made_whatever_the_umask() {
    let temp = Temp::new();
    let path = temp.0.join("a/b/root");
    assert!(StateDir::open(&path).unwrap().is_none());
    StateDir::open_or_create(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o1711);

    // An existing one is taken as it is.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let state = StateDir::open_or_create(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o755);
    assert!(state.ids().unwrap().is_empty());
}

#[test]
fn a_container_lives_and_dies() {
    let temp = Temp::new();
    let state = temp.state();
    let locked = state.create("web-1").unwrap();
    assert_eq!(locked.record().unwrap(), None);
    assert_eq!(kind(locked.config()), ErrorKind::State);

    let mut wanted = record("web-1");
    locked.write_record(&wanted).unwrap();
    locked.write_config(b"{}").unwrap();
    wanted.phase = Phase::Created;
    locked.write_record(&wanted).unwrap();
    drop(locked);

    assert_eq!(kind(state.create("web-1")), ErrorKind::AlreadyExists);
    let dir = state.open_container("web-1").unwrap();
    assert_eq!(dir.record().unwrap().unwrap(), wanted);
    assert_eq!(dir.config().unwrap(), b"{}");
    assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o777, 0o700);

    dir.lock().unwrap().remove().unwrap();
    assert_eq!(kind(dir.lock()), ErrorKind::NotFound);
    assert_eq!(kind(dir.record()), ErrorKind::NotFound);
    assert_eq!(kind(state.open_container("web-1")), ErrorKind::NotFound);
    assert!(state.ids().unwrap().is_empty());

    // The id is free, and the old handle doesn't mean the new container.
    drop(state.create("web-1").unwrap());
    assert_eq!(kind(dir.lock()), ErrorKind::NotFound);
    assert_eq!(kind(dir.record()), ErrorKind::NotFound);
}

#[test]
fn only_one_creates() {
    let temp = Temp::new();
    let state = temp.state();
    let barrier = Barrier::new(8);
    let winners: usize = std::thread::scope(|scope| {
        let run = || {
            barrier.wait();
            usize::from(state.create("same").is_ok())
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(winners, 1);
}

#[test]
fn the_lock_excludes_threads_and_notices_removal() {
    let temp = Temp::new();
    let state = temp.state();
    let locked = state.create("a").unwrap();
    let dir = state.open_container("a").unwrap();
    let waiter = std::thread::spawn(move || dir.lock().map(drop));
    // The waiter is blocked, or about to be: either way it must not get the lock.
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert!(!waiter.is_finished());
    locked.remove().unwrap();
    assert_eq!(kind(waiter.join().unwrap()), ErrorKind::NotFound);
}

#[test]
fn counting_under_the_lock_loses_nothing() {
    let temp = Temp::new();
    let state = temp.state();
    let locked = state.create("a").unwrap();
    locked.write_record(&record("a")).unwrap();
    drop(locked);
    let shared = state.open_container("a").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let locked = shared.lock().unwrap();
                    let mut record = locked.record().unwrap().unwrap();
                    record.owner += 1;
                    locked.write_record(&record).unwrap();
                }
            });
        }
        // Meanwhile a reader without the lock always sees a whole record.
        scope.spawn(|| {
            for _ in 0..200 {
                shared.record().unwrap().unwrap();
            }
        });
    });
    let expected = record("a").owner + 100;
    assert_eq!(shared.record().unwrap().unwrap().owner, expected);
}

#[test]
fn an_interrupted_write_does_no_harm() {
    let temp = Temp::new();
    let locked = temp.state().create("a").unwrap();
    let mut next = record("a");
    locked.write_record(&next).unwrap();
    fs::write(locked.path().join("state.json.new"), "{half a rec").unwrap();
    assert_eq!(locked.record().unwrap().unwrap(), next);
    next.owner = 77;
    locked.write_record(&next).unwrap();
    assert_eq!(locked.record().unwrap().unwrap(), next);
    assert_eq!(fs::read_dir(locked.path()).unwrap().count(), 1);
}

#[test]
fn files_that_are_not_files_are_refused() {
    let temp = Temp::new();
    let secret = temp.0.join("secret");
    fs::write(&secret, "{}").unwrap();
    let locked = temp.state().create("a").unwrap();
    let path = locked.path().join(STATE);

    symlink(&secret, &path).unwrap();
    assert_eq!(kind(locked.record()), ErrorKind::System);
    fs::remove_file(&path).unwrap();

    // Neither blocks nor takes a FIFO for a record.
    rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
    assert_eq!(kind(locked.record()), ErrorKind::State);
    fs::remove_file(&path).unwrap();

    fs::File::create(&path).unwrap().set_len(u64::try_from(FILE_LIMIT + 1).unwrap()).unwrap();
    assert_eq!(kind(locked.record()), ErrorKind::State);
}

#[test]
fn removal_follows_no_link() {
    let temp = Temp::new();
    let outside = temp.0.join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("canary"), "lives").unwrap();
    let state = temp.state();
    let locked = state.create("a").unwrap();
    let below = locked.path().join("x/y/z");
    fs::create_dir_all(&below).unwrap();
    fs::write(below.join("file"), "").unwrap();
    symlink(&outside, below.join("link")).unwrap();
    symlink(&outside, locked.path().join("link")).unwrap();
    let path = locked.path().to_owned();
    locked.remove().unwrap();
    assert!(!path.exists());
    assert_eq!(fs::read_to_string(outside.join("canary")).unwrap(), "lives");

    // A tree that is too deep ends the removal, with the record still there.
    let locked = state.create("a").unwrap();
    locked.write_record(&record("a")).unwrap();
    fs::create_dir_all(path.join(vec!["d"; 30].join("/"))).unwrap();
    let dir = state.open_container("a").unwrap();
    assert_eq!(locked.remove().unwrap_err().errno(), Some(libc::ELOOP));
    assert!(dir.record().unwrap().is_some());
}

#[test]
fn ids_are_directories_with_valid_names() {
    let temp = Temp::new();
    let state = temp.state();
    for id in ["b", "a"] {
        drop(state.create(id).unwrap());
    }
    let root = temp.0.join("root");
    fs::write(root.join("file"), "").unwrap();
    fs::create_dir(root.join("not valid")).unwrap();
    symlink(&temp.0, root.join("link")).unwrap();
    assert_eq!(state.ids().unwrap(), ["a", "b"]);
    assert_eq!(kind(state.open_container("file")), ErrorKind::System);
    assert_eq!(kind(state.open_container("link")), ErrorKind::System);
}

#[test]
fn the_start_socket_works_below_a_long_path() {
    let temp = Temp::new();
    let root = temp.0.join(vec!["l".repeat(60); 3].join("/"));
    let state = StateDir::open_or_create(&root).unwrap();
    let locked = state.create(&"i".repeat(255)).unwrap();
    assert_eq!(kind(locked.connect()), ErrorKind::WrongState);

    let listener = locked.listen().unwrap();
    let path = locked.path().join("start.sock");
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    let client = locked.connect().unwrap();
    let server = rustix::net::accept(&listener).unwrap();
    rustix::net::send(&client, b"one", SendFlags::NOSIGNAL).unwrap();
    rustix::net::send(&client, b"two", SendFlags::NOSIGNAL).unwrap();
    let mut buffer = [0; 16];
    let (_, length) = rustix::net::recv(&server, &mut buffer, RecvFlags::empty()).unwrap();
    assert_eq!(length, 3);

    drop(listener);
    assert_eq!(kind(locked.connect()), ErrorKind::WrongState);
}

#[test]
fn descriptors_are_close_on_exec() {
    let temp = Temp::new();
    let locked = temp.state().create("a").unwrap();
    let listener = locked.listen().unwrap();
    let client = locked.connect().unwrap();
    for fd in [locked.fd.as_fd(), locked.dir.as_fd(), listener.as_fd(), client.as_fd()] {
        let flags = rustix::io::fcntl_getfd(fd).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
}
