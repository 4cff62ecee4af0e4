//! What a resctrl group is allowed and uses (resctrl.rst, "Info directory" and "Resource alloc
//! and monitor groups").

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{Group, Resctrl};
use crate::error::{ErrorKind, Result};

/// Cache and memory bandwidth of a container's resctrl group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct IntelRdtStats {
    /// The lines of the group's `schemata`: `L3:0=ff;1=ff`, `MB:0=100`.
    pub schemata: Vec<String>,
    /// The lines of the default group's `schemata`.
    pub root_schemata: Vec<String>,
    /// What the processor can do with its L3 cache; `None` if it can't share it out.
    pub l3_cache: Option<L3CacheInfo>,
    /// What it can do with memory bandwidth; `None` if it can't share that out.
    pub memory_bandwidth: Option<MemoryBandwidthInfo>,
    /// What is used, by domain: those of the monitoring group if the container has one of its
    /// own, otherwise those of its class. `None` if the processor can't count it.
    pub monitors: Option<Vec<MonitorStats>>,
}

/// `info/L3/`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct L3CacheInfo {
    /// The bit mask of the whole cache, in hexadecimal: `cbm_mask`.
    pub cbm_mask: String,
    /// How many bits must be set in a mask: `min_cbm_bits`.
    pub min_cbm_bits: u64,
    /// How many classes there can be: `num_closids`.
    pub num_closids: u64,
}

/// `info/MB/`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MemoryBandwidthInfo {
    /// The step of bandwidths, in percent: `bandwidth_gran`.
    pub bandwidth_gran: u64,
    /// 1 if the delay grows with the limit: `delay_linear`.
    pub delay_linear: u64,
    /// The least bandwidth, in percent: `min_bandwidth`.
    pub min_bandwidth: u64,
    /// How many classes there can be: `num_closids`.
    pub num_closids: u64,
}

/// `mon_data/mon_L3_NN/` of one domain: the CPUs that share an L3 cache. A figure is `None` if
/// the processor doesn't count it or had no monitor for it just then.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MonitorStats {
    /// The domain: `mon_L3_00`.
    pub domain: String,
    /// Bytes between the L3 cache and memory: `mbm_total_bytes`.
    pub mbm_total_bytes: Option<u64>,
    /// The same, for the domain's own memory: `mbm_local_bytes`.
    pub mbm_local_bytes: Option<u64>,
    /// Bytes of the L3 cache that are occupied: `llc_occupancy`.
    pub llc_occupancy: Option<u64>,
}

impl Group {
    /// The group's figures; `None` where resctrl is no longer mounted or the group is gone.
    pub(crate) fn stats(&self) -> Result<Option<IntelRdtStats>> {
        match Resctrl::open() {
            Ok(resctrl) => resctrl.stats(self),
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Resctrl {
    fn stats(&self, group: &Group) -> Result<Option<IntelRdtStats>> {
        let lines = |text: String| text.trim().lines().map(str::to_owned).collect::<Vec<_>>();
        let Some(schemata) = self.text(&format!("{}/schemata", group.class))? else {
            return Ok(None);
        };
        let number = |file: &str| self.number(file).map(Option::unwrap_or_default);
        let l3_cache = match self.text("info/L3/cbm_mask")? {
            None => None,
            Some(mask) => Some(L3CacheInfo {
                cbm_mask: mask.trim().to_owned(),
                min_cbm_bits: number("info/L3/min_cbm_bits")?,
                num_closids: number("info/L3/num_closids")?,
            }),
        };
        let memory_bandwidth = match self.number("info/MB/bandwidth_gran")? {
            None => None,
            Some(bandwidth_gran) => Some(MemoryBandwidthInfo {
                bandwidth_gran,
                delay_linear: number("info/MB/delay_linear")?,
                min_bandwidth: number("info/MB/min_bandwidth")?,
                num_closids: number("info/MB/num_closids")?,
            }),
        };
        let monitors = match self.text("info/L3_MON/mon_features")? {
            None => None,
            Some(_) => self.monitors(group.monitor.as_ref().unwrap_or(&group.class))?,
        };
        Ok(Some(IntelRdtStats {
            schemata: lines(schemata),
            root_schemata: self.text("schemata")?.map(lines).unwrap_or_default(),
            l3_cache,
            memory_bandwidth,
            monitors,
        }))
    }

    fn monitors(&self, group: &str) -> Result<Option<Vec<MonitorStats>>> {
        let path = format!("{group}/mon_data");
        let list = || {
            let dir = self.open_file(&path, OFlags::RDONLY | OFlags::DIRECTORY)?;
            let entries = rustix::fs::Dir::read_from(&dir)?;
            let mut domains = Vec::new();
            for entry in entries {
                let name = entry?.file_name().to_string_lossy().into_owned();
                if !name.starts_with('.') {
                    domains.push(name);
                }
            }
            domains.sort_unstable();
            Ok(domains)
        };
        let domains = match list() {
            Ok(domains) => domains,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(self.fail("list the monitors", &path, errno)),
        };
        let domains = domains.into_iter().map(|domain| {
            let figure = |file: &str| self.number(&format!("{path}/{domain}/{file}"));
            Ok(MonitorStats {
                mbm_total_bytes: figure("mbm_total_bytes")?,
                mbm_local_bytes: figure("mbm_local_bytes")?,
                llc_occupancy: figure("llc_occupancy")?,
                domain,
            })
        });
        domains.collect::<Result<_>>().map(Some)
    }

    fn text(&self, file: &str) -> Result<Option<String>> {
        match self.read(file) {
            Ok(text) => Ok(Some(text)),
            Err(Errno::NOENT | Errno::NODEV) => Ok(None),
            Err(errno) => Err(self.fail("read", file, errno)),
        }
    }

    /// A figure; the kernel may say `Unavailable` or `Error` instead of one.
    fn number(&self, file: &str) -> Result<Option<u64>> {
        Ok(self.text(file)?.and_then(|text| text.trim().parse().ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fake;
    use super::*;

    #[test]
    fn figures_of_a_group() {
        let fake = Fake::new();
        for (file, text) in [
            ("schemata", "    L3:0=fffff;1=fffff\n    MB:0=100;1=100\n"),
            ("info/L3/cbm_mask", "fffff\n"),
            ("info/L3/min_cbm_bits", "1\n"),
            ("info/L3/num_closids", "16\n"),
            ("info/MB/bandwidth_gran", "10\n"),
            ("info/MB/delay_linear", "1\n"),
            ("info/MB/min_bandwidth", "10\n"),
            ("info/MB/num_closids", "8\n"),
            ("info/L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes\n"),
            ("web-1/schemata", "    L3:0=ff;1=ff\n    MB:0= 20;1=100\n"),
            ("web-1/mon_data/mon_L3_00/llc_occupancy", "1234\n"),
            ("web-1/mon_data/mon_L3_00/mbm_total_bytes", "7\n"),
            ("web-1/mon_data/mon_L3_00/mbm_local_bytes", "Unavailable\n"),
            ("web-1/mon_groups/m/mon_data/mon_L3_01/llc_occupancy", "5\n"),
        ] {
            let path = fake.path(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let group = Group { class: "web-1".to_owned(), own: true, monitor: None };
        let found = fake.0.stats(&group).unwrap().unwrap();
        assert_eq!(found.schemata[0].trim(), "L3:0=ff;1=ff");
        assert_eq!(found.root_schemata.len(), 2);
        let l3 = L3CacheInfo { cbm_mask: "fffff".to_owned(), min_cbm_bits: 1, num_closids: 16 };
        assert_eq!(found.l3_cache, Some(l3));
        assert_eq!(found.memory_bandwidth.unwrap().num_closids, 8);
        let monitor = MonitorStats {
            domain: "mon_L3_00".to_owned(),
            mbm_total_bytes: Some(7),
            mbm_local_bytes: None,
            llc_occupancy: Some(1234),
        };
        assert_eq!(found.monitors, Some(vec![monitor]));
        let group = Group { monitor: Some("web-1/mon_groups/m".to_owned()), ..group };
        let monitors = fake.0.stats(&group).unwrap().unwrap().monitors.unwrap();
        assert_eq!((monitors.len(), monitors[0].llc_occupancy), (1, Some(5)));
        let gone = Group { class: "web-2".to_owned(), ..group };
        assert_eq!(fake.0.stats(&gone).unwrap(), None);
    }
}
