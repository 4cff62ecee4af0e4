//! What is fuzzed of this room: names that a container's processes and mounts have chosen.

use super::{Stat, unescape};

/// A process's name, and a mount point.
pub fn procfs(data: &[u8]) {
    let _ = Stat::parse(data);
    // The kernel writes a name into `stat` as it is.
    let mut line = b"7 (".to_vec();
    line.extend_from_slice(data);
    line.extend_from_slice(b") S 1 7 7 0 -1 4194564 1 2 3 4 5 6 7 8 20 0 1 0 12345 4096 5\n");
    let expected = Stat { state: b'S', exiting: true, start_time: 12345 };
    assert_eq!(Stat::parse(&line), Some(expected));

    let _ = unescape(data);
    let escaped: Vec<u8> = data.iter().flat_map(|byte| escape(*byte)).collect();
    assert_eq!(unescape(&escaped), data);
    crate::cgroup::fuzz::mountinfo(data, &escaped);
}

/// As the kernel's seq_path() does.
fn escape(byte: u8) -> Vec<u8> {
    match byte {
        b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
        other => vec![other],
    }
}
