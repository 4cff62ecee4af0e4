//! Scheduling, I/O priority, NUMA policy, CPU affinity and personality, in the kernel's formats.

use hoist_init::wire::Step;
use oci_spec::runtime::{
    ExecCPUAffinity, IOPriorityClass, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonality,
    LinuxPersonalityDomain, LinuxSchedulerFlag, LinuxSchedulerPolicy, MemoryPolicyFlagType,
    MemoryPolicyModeType, Process, Scheduler, Spec,
};

use super::builder::Builder;
use crate::error::{Error, Result};
use crate::spec::id_list;

/// The steps of a process; what it doesn't say itself is the container's.
pub(super) fn compile(plan: &mut Builder, process: &Process, spec: &Spec) -> Result<()> {
    let container = spec.process().as_ref();
    let scheduler = process.scheduler().as_ref();
    if let Some(scheduler) = scheduler.or(container.and_then(|p| p.scheduler().as_ref())) {
        plan.push("/process/scheduler", &Step::Scheduler { attributes: &attributes(scheduler)? });
    }
    let priority = process.io_priority().as_ref();
    if let Some(priority) = priority.or(container.and_then(|p| p.io_priority().as_ref())) {
        plan.push("/process/ioPriority", &Step::IoPriority { value: io_priority(priority)? });
    }
    let linux = spec.linux().as_ref();
    if let Some(policy) = linux.and_then(|linux| linux.memory_policy().as_ref()) {
        memory_policy(plan, policy)?;
    }
    if let Some(personality) = linux.and_then(|linux| linux.personality().as_ref()) {
        plan.push("/linux/personality", &Step::Personality { value: domain(personality) });
    }
    Ok(())
}

/// `struct sched_attr` of sched_setattr(2), 48 bytes; 56 with the utilisation clamps, of which
/// the configuration has only the flags.
fn attributes(scheduler: &Scheduler) -> Result<Vec<u8>> {
    let policy: u32 = match scheduler.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    };
    let bit = |flag: &LinuxSchedulerFlag| match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01u64,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    };
    let flags = scheduler.flags().iter().flatten().fold(0, |flags, flag| flags | bit(flag));
    let priority = u32::try_from(scheduler.priority().unwrap_or(0)).map_err(|_| {
        Error::config("/process/scheduler/priority", "a priority can't be negative")
    })?;
    let clamped = flags & 0x60 != 0;
    let size: u32 = if clamped { 56 } else { 48 };
    let mut bytes = Vec::with_capacity(56);
    bytes.extend_from_slice(&size.to_le_bytes());
    bytes.extend_from_slice(&policy.to_le_bytes());
    bytes.extend_from_slice(&flags.to_le_bytes());
    bytes.extend_from_slice(&scheduler.nice().unwrap_or(0).to_le_bytes());
    bytes.extend_from_slice(&priority.to_le_bytes());
    for time in [scheduler.runtime(), scheduler.deadline(), scheduler.period()] {
        bytes.extend_from_slice(&time.unwrap_or(0).to_le_bytes());
    }
    if clamped {
        bytes.extend_from_slice(&[0; 8]);
    }
    Ok(bytes)
}

/// ioprio_set(2): the class in the upper bits.
fn io_priority(priority: &LinuxIOPriority) -> Result<u32> {
    let class = match priority.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    let level = u32::try_from(priority.priority()).ok().filter(|level| *level < 8);
    let level = level.ok_or_else(|| {
        Error::config("/process/ioPriority/priority", "the priority is between 0 and 7")
    })?;
    Ok(class << 13 | level)
}

/// set_mempolicy(2).
fn memory_policy(plan: &mut Builder, policy: &LinuxMemoryPolicy) -> Result<()> {
    let mode = match policy.mode() {
        MemoryPolicyModeType::MpolDefault => 0,
        MemoryPolicyModeType::MpolPreferred => 1,
        MemoryPolicyModeType::MpolBind => 2,
        MemoryPolicyModeType::MpolInterleave => 3,
        MemoryPolicyModeType::MpolLocal => 4,
        MemoryPolicyModeType::MpolPreferredMany => 5,
        MemoryPolicyModeType::MpolWeightedInterleave => 6,
    };
    let bit = |flag: &MemoryPolicyFlagType| match flag {
        MemoryPolicyFlagType::MpolFStaticNodes => 1u32 << 15,
        MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
        MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
    };
    let mode = policy.flags().iter().flatten().fold(mode, |mode, flag| mode | bit(flag));
    let nodes = policy.nodes().as_deref().unwrap_or_default();
    let nodes = mask(nodes, "/linux/memoryPolicy/nodes")?;
    // The kernel takes one bit less than it is told.
    let bits = if nodes.is_empty() { 0 } else { nodes.len() as u64 * 8 + 1 };
    plan.push("/linux/memoryPolicy", &Step::MemoryPolicy { mode, nodes: &nodes, bits });
    Ok(())
}

fn domain(personality: &LinuxPersonality) -> u64 {
    match personality.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    }
}

/// The process's own affinity, or the container's for processes that join it.
pub(super) fn exec_affinity<'a>(
    process: &'a Process,
    spec: &'a Spec,
) -> Option<&'a ExecCPUAffinity> {
    let container = spec.process().as_ref().and_then(|p| p.exec_cpu_affinity().as_ref());
    process.exec_cpu_affinity().as_ref().or(container)
}

/// sched_setaffinity(2); nothing for an empty list.
pub(super) fn affinity(plan: &mut Builder, list: Option<&str>, pointer: &str) -> Result<()> {
    let mask = mask(list.unwrap_or_default(), pointer)?;
    if !mask.is_empty() {
        plan.push(pointer, &Step::Affinity { mask: &mask });
    }
    Ok(())
}

/// A list like `0-3,7` as a bit mask of whole machine words.
fn mask(list: &str, pointer: &str) -> Result<Vec<u8>> {
    let ranges = id_list::parse(list).map_err(|message| Error::config(pointer, message))?;
    let mut mask: Vec<u8> = Vec::new();
    for number in ranges.into_iter().flatten() {
        let (byte, bit) = (number as usize / 8, number % 8);
        if mask.len() <= byte {
            mask.resize((byte + 1).next_multiple_of(8), 0);
        }
        if let Some(byte) = mask.get_mut(byte) {
            *byte |= 1 << bit;
        }
    }
    Ok(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_masks() {
        let mask = |list| mask(list, "").unwrap();
        assert!(mask("").is_empty());
        assert_eq!(mask("0-3,7"), [0x8f, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(mask("64").len(), 16);
        assert_eq!(mask("64")[8], 1);
    }

    #[test]
    fn sched_attr_has_the_kernels_sizes() {
        let json = r#"{"policy": "SCHED_DEADLINE", "nice": -5, "priority": 1,
            "flags": ["SCHED_RESET_ON_FORK", "SCHED_FLAG_RECLAIM"],
            "runtime": 1, "deadline": 2, "period": 3}"#;
        let bytes = attributes(&serde_json::from_str(json).unwrap()).unwrap();
        let words: Vec<u32> =
            bytes.chunks(4).map(|c| u32::from_le_bytes(c.try_into().unwrap())).collect();
        assert_eq!(words, [48, 6, 3, 0, 0xffff_fffb, 1, 1, 0, 2, 0, 3, 0]);
        let json = r#"{"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_UTIL_CLAMP_MIN"]}"#;
        assert_eq!(attributes(&serde_json::from_str(json).unwrap()).unwrap().len(), 56);
    }

    #[test]
    fn io_priorities() {
        let json = r#"{"class": "IOPRIO_CLASS_IDLE", "priority": 4}"#;
        assert_eq!(io_priority(&serde_json::from_str(json).unwrap()).unwrap(), 3 << 13 | 4);
        let json = r#"{"class": "IOPRIO_CLASS_RT", "priority": 8}"#;
        assert!(io_priority(&serde_json::from_str(json).unwrap()).is_err());
    }
}
