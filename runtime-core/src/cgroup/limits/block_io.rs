//! `blockIO` in both versions: Documentation/admin-guide/cgroup-v1/blkio-controller.rst, the io
//! controller in cgroup-v2.rst, and Documentation/block/bfq-iosched.rst.

use oci_spec::runtime::{LinuxBlockIo, LinuxThrottleDevice};

use super::{Absent, Write, given, invalid, unsupported};
use crate::error::Result;

/// The spec's and BFQ's range of weights.
const WEIGHTS: std::ops::RangeInclusive<u16> = 10..=1000;

/// The four lists of throttled devices, each with its pointer, its file on v1, and its key in
/// v2's io.max.
type Throttle<'a> =
    (&'a Option<Vec<LinuxThrottleDevice>>, &'static str, &'static str, &'static str);

fn throttles(block_io: &LinuxBlockIo) -> [Throttle<'_>; 4] {
    [
        (
            block_io.throttle_read_bps_device(),
            "throttleReadBpsDevice",
            "blkio.throttle.read_bps_device",
            "rbps",
        ),
        (
            block_io.throttle_write_bps_device(),
            "throttleWriteBpsDevice",
            "blkio.throttle.write_bps_device",
            "wbps",
        ),
        (
            block_io.throttle_read_iops_device(),
            "throttleReadIOPSDevice",
            "blkio.throttle.read_iops_device",
            "riops",
        ),
        (
            block_io.throttle_write_iops_device(),
            "throttleWriteIOPSDevice",
            "blkio.throttle.write_iops_device",
            "wiops",
        ),
    ]
}

/// All weights that are given: pointer, device if it is for one, weight.
fn weights(block_io: &LinuxBlockIo) -> Result<Vec<(String, Option<String>, u16)>> {
    let mut found = Vec::new();
    if let Some(weight) = given(block_io.weight()) {
        found.push(("blockIO/weight".to_owned(), None, weight));
    }
    for (index, device) in block_io.weight_device().iter().flatten().enumerate() {
        if let Some(weight) = given(device.weight()) {
            let number = format!("{}:{}", device.major(), device.minor());
            found.push((format!("blockIO/weightDevice/{index}"), Some(number), weight));
        }
    }
    match found.iter().find(|(_, _, weight)| !WEIGHTS.contains(weight)) {
        Some((pointer, ..)) => Err(invalid(pointer, "a weight has to be from 10 to 1000")),
        None => Ok(found),
    }
}

/// Leaf weights went with the CFQ scheduler in Linux 5.0.
fn refuse_leaf_weights(block_io: &LinuxBlockIo) -> Result<()> {
    let mut devices = block_io.weight_device().iter().flatten();
    if given(block_io.leaf_weight()).is_some()
        || devices.any(|device| given(device.leaf_weight()).is_some())
    {
        return Err(unsupported("blockIO/leafWeight", "Linux has no leaf weights any more"));
    }
    Ok(())
}

pub(super) fn legacy(block_io: &LinuxBlockIo, writes: &mut Vec<Write>) -> Result<()> {
    refuse_leaf_weights(block_io)?;
    for (pointer, device, weight) in weights(block_io)? {
        // Until Linux 5.0 the CFQ scheduler had the one file, since 4.12 BFQ has the other.
        let (file, instead, value) = match device {
            None => ("blkio.weight", "blkio.bfq.weight", weight.to_string()),
            Some(device) => {
                ("blkio.weight_device", "blkio.bfq.weight_device", format!("{device} {weight}"))
            }
        };
        let absent = Absent::Instead(instead, value.clone());
        writes.push(Write::new("blkio", file, value, pointer).or(absent));
    }
    for (devices, name, file, _) in throttles(block_io) {
        for (index, device) in devices.iter().flatten().enumerate() {
            let value = format!("{}:{} {}", device.major(), device.minor(), device.rate());
            writes.push(Write::new("blkio", file, value, format!("blockIO/{name}/{index}")));
        }
    }
    Ok(())
}

pub(super) fn unified(block_io: &LinuxBlockIo, writes: &mut Vec<Write>) -> Result<()> {
    refuse_leaf_weights(block_io)?;
    for (pointer, device, weight) in weights(block_io)? {
        // BFQ's range is the spec's; the io controller's own weight goes from 1 to 10000.
        let scaled = 1 + (u64::from(weight) - 10) * 9999 / 990;
        let (value, scaled) = match device {
            None => (weight.to_string(), scaled.to_string()),
            Some(device) => (format!("{device} {weight}"), format!("{device} {scaled}")),
        };
        let absent = Absent::Instead("io.weight", scaled);
        writes.push(Write::new("io", "io.bfq.weight", value, pointer).or(absent));
    }
    for (devices, name, _, key) in throttles(block_io) {
        for (index, device) in devices.iter().flatten().enumerate() {
            let rate = match device.rate() {
                0 => "max".to_owned(), // on v1, 0 removes the limit
                rate => rate.to_string(),
            };
            let value = format!("{}:{} {key}={rate}", device.major(), device.minor());
            writes.push(Write::new("io", "io.max", value, format!("blockIO/{name}/{index}")));
        }
    }
    Ok(())
}
