//! Facts of the machine that belong beside every result.

use std::fs;

use serde::Serialize;

use crate::{clock, cpulist::CpuList, sys, sysfs::read_line};

/// What a result depends on and a reader can't guess. A fact that the machine hides is `null`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HostFacts {
    /// Name of the host (uname(2)).
    pub host: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Architecture.
    pub architecture: String,
    /// Model of the processor, from /proc/cpuinfo.
    pub cpu_model: Option<String>,
    /// CPUs that this process may use.
    pub cpus_allowed: CpuList,
    /// Number of CPUs online; `null` where sysfs hides it.
    pub cpus_online: Option<usize>,
    /// The hypervisor under this kernel, where it shows: `xen`, `kvm` …, or `unknown` when only its
    /// presence is known.
    pub hypervisor: Option<String>,
    /// Frequency governor of the first allowed CPU.
    pub governor: Option<String>,
    /// The kernel's clock source.
    pub clock_source: Option<String>,
    /// What one reading of the clock costs, in nanoseconds.
    pub clock_read_ns: u64,
    /// Memory of the machine, in bytes.
    pub memory_bytes: Option<u64>,
}

impl HostFacts {
    /// Looks the machine over, in about a tenth of a millisecond.
    #[must_use]
    pub fn collect() -> Self {
        let name = sys::uname();
        let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpus_allowed = CpuList::allowed().unwrap_or_default();
        let governor_of =
            |cpu: &usize| read_line(format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"));
        Self {
            host: name.host,
            kernel: name.release,
            architecture: name.machine,
            cpu_model: field(&cpu_info, "model name").or_else(|| field(&cpu_info, "Model")),
            governor: cpus_allowed.cpus().first().and_then(governor_of),
            cpus_online: read_line("/sys/devices/system/cpu/online")
                .and_then(|list| list.parse::<CpuList>().ok())
                .map(|list| list.cpus().len()),
            cpus_allowed,
            hypervisor: hypervisor(&cpu_info),
            clock_source: clock::source(),
            clock_read_ns: clock::read_cost_ns(),
            memory_bytes: fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory_bytes(&text)),
        }
    }
}

/// Value of the first line `name : value`.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim().to_owned())
}

/// `MemTotal` of /proc/meminfo.
fn memory_bytes(text: &str) -> Option<u64> {
    let kib: u64 = field(text, "MemTotal")?.strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Xen says its name in sysfs, others in the firmware's vendor; the processor's flag says at least
/// that there is one.
fn hypervisor(cpu_info: &str) -> Option<String> {
    if let Some(kind) = read_line("/sys/hypervisor/type") {
        return Some(kind);
    }
    let vendor = read_line("/sys/class/dmi/id/sys_vendor").unwrap_or_default();
    let known =
        [("QEMU", "qemu"), ("KVM", "kvm"), ("VMware", "vmware"), ("Microsoft", "hyper-v"), ("Xen", "xen")];
    let from_vendor =
        known.iter().find(|(mark, _)| vendor.contains(mark)).map(|(_, name)| (*name).to_owned());
    let flagged =
        || field(cpu_info, "flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"));
    from_vendor.or_else(|| flagged().then(|| "unknown".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_kernel_a_cpu_and_memory() {
        let facts = HostFacts::collect();
        assert!(!facts.kernel.is_empty());
        assert!(facts.cpus_online > Some(0));
        assert!(facts.memory_bytes > Some(1 << 20));
    }

    #[test]
    fn meminfo_is_in_kib() {
        assert_eq!(memory_bytes("MemTotal:       16 kB\nMemFree: 1 kB\n"), Some(16_384));
        assert_eq!(memory_bytes("nothing"), None);
    }
}
