//! Keys that are given twice in a map. serde sees to the members of its structs; of a map it takes the last
//! one, where another reader takes the first: whoever looks at a configuration has to see what the container
//! gets.

use oci_spec::runtime::Spec;

/// The maps of a configuration, and how many keys each of those has that are there. If the text has more names
/// in one, some are the same. (A map in a map, or one of this name in a place that nobody reads, is only
/// looked at in vain.)
pub(super) fn maps(spec: &Spec) -> Vec<(&'static str, usize)> {
    let linux = spec.linux().as_ref();
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    let keys = [
        ("annotations", spec.annotations().as_ref().map(|map| map.len())),
        ("netDevices", linux.and_then(|it| it.net_devices().as_ref()).map(|map| map.len())),
        ("sysctl", linux.and_then(|it| it.sysctl().as_ref()).map(|map| map.len())),
        ("timeOffsets", linux.and_then(|it| it.time_offsets().as_ref()).map(|map| map.len())),
        ("rdma", resources.and_then(|it| it.rdma().as_ref()).map(|map| map.len())),
        ("unified", resources.and_then(|it| it.unified().as_ref()).map(|map| map.len())),
    ];
    keys.into_iter().filter_map(|(name, keys)| Some((name, keys?))).collect()
}
