//! CPU time, context switches, memory, and the time that a hypervisor took away.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::sys;

/// What a stretch of work cost this process and its CPUs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Usage {
    /// CPU time in user mode, of all threads, in nanoseconds (getrusage(2), microsecond steps).
    pub cpu_user_ns: u64,
    /// CPU time in the kernel on behalf of this process, in nanoseconds.
    pub cpu_system_ns: u64,
    /// Context switches because the process waited.
    pub context_switches_voluntary: u64,
    /// Context switches because something else had to run.
    pub context_switches_involuntary: u64,
    /// Time stolen by the hypervisor from the process's CPUs, in nanoseconds, in steps of a clock
    /// tick; `null` where /proc/stat has no steal.
    pub steal_ns: Option<u64>,
    /// Largest resident memory of the process so far, in bytes; `null` where /proc hides it.
    pub resident_peak_bytes: Option<u64>,
}

impl Usage {
    /// CPU time of both kinds, in nanoseconds.
    #[must_use]
    pub fn cpu_ns(&self) -> u64 {
        self.cpu_user_ns + self.cpu_system_ns
    }
}

/// Measures the [`Usage`] of this process from its creation on.
pub struct UsageMeter {
    cpus: Vec<usize>,
    cpu_user_ns: u64,
    cpu_system_ns: u64,
    voluntary: u64,
    involuntary: u64,
    steal_ns: Option<u64>,
}

impl UsageMeter {
    /// Begins now; steal is counted on `cpus`, or on all where the list is empty.
    #[must_use]
    pub fn start(cpus: &[usize]) -> Self {
        let usage = sys::getrusage(libc::RUSAGE_SELF);
        Self {
            cpus: cpus.to_vec(),
            cpu_user_ns: nanoseconds(usage.ru_utime),
            cpu_system_ns: nanoseconds(usage.ru_stime),
            voluntary: usage.ru_nvcsw as u64,
            involuntary: usage.ru_nivcsw as u64,
            steal_ns: read_steal_ns(cpus),
        }
    }

    /// What was used since the start.
    #[must_use]
    pub fn read(&self) -> Usage {
        let usage = sys::getrusage(libc::RUSAGE_SELF);
        let steal_now = read_steal_ns(&self.cpus);
        Usage {
            cpu_user_ns: nanoseconds(usage.ru_utime).saturating_sub(self.cpu_user_ns),
            cpu_system_ns: nanoseconds(usage.ru_stime).saturating_sub(self.cpu_system_ns),
            context_switches_voluntary: (usage.ru_nvcsw as u64).saturating_sub(self.voluntary),
            context_switches_involuntary: (usage.ru_nivcsw as u64).saturating_sub(self.involuntary),
            steal_ns: steal_now.zip(self.steal_ns).map(|(now, before)| now.saturating_sub(before)),
            resident_peak_bytes: resident_peak_bytes(),
        }
    }
}

fn nanoseconds(time: libc::timeval) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000
}

/// Peak resident memory (`VmHWM`). Not getrusage's `ru_maxrss`, which an exec inherits from whatever
/// process started this one.
#[must_use]
pub fn resident_peak_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Sum of the steal of `cpus` (all where empty) since boot, in nanoseconds.
fn read_steal_ns(cpus: &[usize]) -> Option<u64> {
    let times = CpuTimes::read_all()?;
    times
        .iter()
        .filter(|times| cpus.is_empty() || cpus.contains(&times.cpu))
        .map(|times| times.steal_ns)
        .sum()
}

/// Where one CPU's time went since boot, from /proc/stat (proc_stat(5)), in nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CpuTimes {
    /// Number of the CPU.
    pub cpu: usize,
    /// User mode, nice included.
    pub user_ns: u64,
    /// Kernel, without interrupts.
    pub system_ns: u64,
    /// Idle, waiting for I/O included.
    pub idle_ns: u64,
    /// Hard interrupts.
    pub irq_ns: u64,
    /// Soft interrupts.
    pub softirq_ns: u64,
    /// Stolen by the hypervisor; `null` on kernels before 2.6.11.
    pub steal_ns: Option<u64>,
}

impl CpuTimes {
    /// The times of every online CPU; `None` where /proc/stat can't be read.
    #[must_use]
    pub fn read_all() -> Option<Vec<Self>> {
        fs::read_to_string("/proc/stat").ok().map(|text| Self::parse(&text, sys::ticks_per_second()))
    }

    /// The `cpuN` lines of /proc/stat; lines that are none of them are passed over.
    #[must_use]
    pub fn parse(text: &str, ticks_per_second: u64) -> Vec<Self> {
        let tick_ns = 1_000_000_000 / ticks_per_second.max(1);
        text.lines()
            .filter_map(|line| {
                let (cpu, rest) = line.strip_prefix("cpu")?.split_once(' ')?;
                let cpu = cpu.parse().ok()?;
                let ticks: Vec<u64> =
                    rest.split_ascii_whitespace().map_while(|field| field.parse().ok()).collect();
                let ns = |index: usize| ticks.get(index).map(|ticks| ticks.saturating_mul(tick_ns));
                Some(Self {
                    cpu,
                    user_ns: ns(0)? + ns(1)?,
                    system_ns: ns(2)?,
                    idle_ns: ns(3)? + ns(4).unwrap_or(0),
                    irq_ns: ns(5).unwrap_or(0),
                    softirq_ns: ns(6).unwrap_or(0),
                    steal_ns: ns(7),
                })
            })
            .collect()
    }

    /// All time that was not idle, steal left out, in nanoseconds.
    #[must_use]
    pub fn busy_ns(&self) -> u64 {
        self.user_ns + self.system_ns + self.irq_ns + self.softirq_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spinning_shows_as_cpu_time() {
        let meter = UsageMeter::start(&[]);
        let end = crate::clock::process_cpu_ns() + 30_000_000;
        while crate::clock::process_cpu_ns() < end {}
        let used = meter.read();
        assert!(used.cpu_ns() >= 29_000_000, "{used:?}");
        assert!(used.resident_peak_bytes > Some(100_000));
    }

    #[test]
    fn proc_stat_of_old_and_new_kernels() {
        let text = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\ncpu3 1 1 1 1\nintr 5 0\n";
        let times = CpuTimes::parse(text, 100);
        assert_eq!(times.len(), 2);
        assert_eq!(times[0].user_ns, 30_000_000);
        assert_eq!(times[0].idle_ns, 90_000_000);
        assert_eq!(times[0].steal_ns, Some(80_000_000));
        assert_eq!(times[0].busy_ns(), 190_000_000);
        assert_eq!((times[1].cpu, times[1].steal_ns), (3, None));
    }
}
