//! The formats of a cgroup's files: pure functions of their text. What a kernel may add (keys,
//! lines, fields) is passed over; a number that is none gives `None`.

use std::collections::BTreeMap;

use super::types::{BlockIoEntry, Pressure, Stall};

/// A number. Some figures of the kernel are sums of what each CPU has counted and can be below 0
/// for a moment: that is 0.
pub(super) fn number(text: &str) -> Option<u64> {
    let text = text.trim_ascii();
    match text.strip_prefix('-') {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => Some(0),
        Some(_) => None,
        None => text.parse().ok(),
    }
}

/// A limit: `Some(None)` for `max`, which is none.
pub(super) fn limit(text: &str) -> Option<Option<u64>> {
    match text.trim_ascii() {
        "max" => Some(None),
        text => number(text).map(Some),
    }
}

/// Lines of `key value`.
pub(super) fn pairs(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, number(value)?)).filter(|(key, _)| !key.is_empty())
    })
}

/// Numbers with blanks between them: `cpuacct.usage_percpu`.
pub(super) fn numbers(text: &str) -> Vec<u64> {
    text.split_ascii_whitespace().map_while(number).collect()
}

/// `cpuacct.usage_all`: user and kernel time of each CPU. A kernel may have further columns.
pub(super) fn usage_all(text: &str) -> (Vec<u64>, Vec<u64>) {
    let mut lines = text.lines();
    if !lines.next().is_some_and(|title| title.starts_with("cpu user system")) {
        return (vec![], vec![]);
    }
    lines
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            Some((number(fields.next()?)?, number(fields.next()?)?))
        })
        .unzip()
}

/// A list of CPUs or memory nodes, `0-2,7`: cpuset(7), "List format".
pub(super) fn list(text: &str) -> Vec<u16> {
    let mut found = Vec::new();
    for part in text.trim_ascii().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) {
            found.extend(first..=last);
        }
    }
    found
}

/// A v1 file about block devices: lines of `8:0 Read 124` or `8:0 124`, and a `Total 228`, which
/// is of no device.
pub(super) fn block_io(text: &str) -> Vec<BlockIoEntry> {
    let entry = |line: &str| {
        let (device, rest) = line.split_once(' ')?;
        let (major, minor) = device_number(device)?;
        let (operation, value) = rest.trim_ascii().split_once(' ').unwrap_or(("", rest));
        Some(BlockIoEntry { major, minor, operation: operation.to_owned(), value: number(value)? })
    };
    text.lines().filter_map(entry).collect()
}

fn device_number(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// `io.stat`: lines of `8:16 rbytes=1459200 wbytes=314773504 rios=192 …`. Bytes and requests,
/// in this order.
pub(super) fn io_stat(text: &str) -> (Vec<BlockIoEntry>, Vec<BlockIoEntry>) {
    let (mut bytes, mut requests) = (vec![], vec![]);
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace();
        let Some((major, minor)) = fields.next().and_then(device_number) else { continue };
        for (key, value) in fields.filter_map(|field| field.split_once('=')) {
            let (list, operation) = match key {
                "rbytes" => (&mut bytes, "Read"),
                "wbytes" => (&mut bytes, "Write"),
                "rios" => (&mut requests, "Read"),
                "wios" => (&mut requests, "Write"),
                _ => continue,
            };
            if let Some(value) = number(value) {
                list.push(BlockIoEntry { major, minor, operation: operation.to_owned(), value });
            }
        }
    }
    (bytes, requests)
}

/// `rdma.current` or `rdma.max`: lines of `mlx4_0 hca_handle=2 hca_object=max`. Handles and
/// objects by device.
pub(super) fn rdma(text: &str) -> BTreeMap<&str, [Option<u64>; 2]> {
    let entry = |line: &'_ str| {
        let mut found = [None, None];
        for (key, value) in line.split_ascii_whitespace().filter_map(|f| f.split_once('=')) {
            let [handles, objects] = &mut found;
            match key {
                "hca_handle" => *handles = limit(value)?,
                "hca_object" => *objects = limit(value)?,
                _ => {}
            }
        }
        Some(found)
    };
    let lines = text.lines().filter_map(|line| {
        let (device, rest) = line.split_once(' ')?;
        Some((device, entry(rest)?))
    });
    lines.collect()
}

/// A file of pressure stall information: lines of `some avg10=0.00 avg60=0.00 avg300=0.00
/// total=0`. Before Linux 5.13 there was no `full` for CPUs.
pub(super) fn pressure(text: &str) -> Option<Pressure> {
    let mut found = Pressure::default();
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace();
        let stall = match fields.next() {
            Some("some") => &mut found.some,
            Some("full") => &mut found.full,
            _ => continue,
        };
        *stall = fields.try_fold(Stall::default(), with_field)?;
    }
    Some(found)
}

fn with_field(mut stall: Stall, field: &str) -> Option<Stall> {
    let (key, value) = field.split_once('=')?;
    let share = || value.parse::<f64>().ok().filter(|share| share.is_finite());
    match key {
        "avg10" => stall.avg10 = share()?,
        "avg60" => stall.avg60 = share()?,
        "avg300" => stall.avg300 = share()?,
        "total" => stall.total = std::time::Duration::from_micros(number(value)?),
        _ => {}
    }
    Some(stall)
}

/// The size in a file's name: `2MB` in `hugetlb.2MB.current`.
pub(super) fn huge_page_size<'a>(file: &'a str, ending: &str) -> Option<&'a str> {
    let size = file.strip_prefix("hugetlb.")?.strip_suffix(ending)?;
    (!size.is_empty() && !size.contains('.')).then_some(size)
}
