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
    before: Reading,
}

/// The kernel's counters at one moment.
struct Reading {
    cpu_user_ns: u64,
    cpu_system_ns: u64,
    voluntary: u64,
    involuntary: u64,
    times: Option<Vec<CpuTimes>>,
}

impl Reading {
    fn now() -> Self {
        let usage = sys::getrusage(libc::RUSAGE_SELF);
        Self {
            cpu_user_ns: nanoseconds(usage.ru_utime),
            cpu_system_ns: nanoseconds(usage.ru_stime),
            voluntary: usage.ru_nvcsw as u64,
            involuntary: usage.ru_nivcsw as u64,
            times: CpuTimes::read_all(),
        }
    }
}

impl UsageMeter {
    /// Begins now; steal is counted on `cpus`, or on all where the list is empty.
    #[must_use]
    pub fn start(cpus: &[usize]) -> Self {
        Self { cpus: cpus.to_vec(), before: Reading::now() }
    }

    /// What was used since the start, or since the last [`UsageMeter::split`].
    #[must_use]
    pub fn read(&self) -> Usage {
        self.until(&Reading::now())
    }

    /// The same, and begins again at this very moment: the parts of a measurement add up to the whole.
    pub fn split(&mut self) -> Usage {
        let now = Reading::now();
        let usage = self.until(&now);
        self.before = now;
        usage
    }

    fn until(&self, now: &Reading) -> Usage {
        let before = &self.before;
        let wanted = |times: &CpuTimes| self.cpus.is_empty() || self.cpus.contains(&times.cpu);
        let steal_ns = before.times.as_ref().zip(now.times.as_ref()).and_then(|(before, now)| {
            CpuTimes::growth(before, now, |times| times.steal_ns.filter(|_| wanted(times)))
        });
        Usage {
            cpu_user_ns: now.cpu_user_ns.saturating_sub(before.cpu_user_ns),
            cpu_system_ns: now.cpu_system_ns.saturating_sub(before.cpu_system_ns),
            context_switches_voluntary: now.voluntary.saturating_sub(before.voluntary),
            context_switches_involuntary: now.involuntary.saturating_sub(before.involuntary),
            steal_ns,
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
        Self::read().map(|(times, _)| times)
    }

    /// The same, with the lines of CPUs that make no sense, as they stand.
    #[must_use]
    pub fn read() -> Option<(Vec<Self>, Vec<String>)> {
        fs::read_to_string("/proc/stat").ok().map(|text| Self::parse(&text, sys::ticks_per_second()))
    }

    /// The `cpuN` lines of /proc/stat, and those of them that make no sense. Lines of something else are
    /// passed over.
    #[must_use]
    pub fn parse(text: &str, ticks_per_second: u64) -> (Vec<Self>, Vec<String>) {
        let tick_ns = 1_000_000_000 / ticks_per_second.max(1);
        let (mut times, mut unread) = (Vec::new(), Vec::new());
        for line in text.lines() {
            // `cpu` alone is the sum of all.
            if !line.starts_with("cpu") || line.starts_with("cpu ") {
                continue;
            }
            match Self::parse_line(line, tick_ns) {
                Some(cpu) => times.push(cpu),
                None => unread.push(line.to_owned()),
            }
        }
        (times, unread)
    }

    fn parse_line(line: &str, tick_ns: u64) -> Option<Self> {
        let (cpu, rest) = line.strip_prefix("cpu")?.split_once(' ')?;
        let ticks: Vec<u64> =
            rest.split_ascii_whitespace().map(|field| field.parse().ok()).collect::<Option<_>>()?;
        let ns = |index: usize| ticks.get(index).map(|ticks| ticks.saturating_mul(tick_ns));
        Some(Self {
            cpu: cpu.parse().ok()?,
            user_ns: ns(0)?.saturating_add(ns(1)?),
            system_ns: ns(2)?,
            idle_ns: ns(3)?.saturating_add(ns(4).unwrap_or(0)),
            irq_ns: ns(5).unwrap_or(0),
            softirq_ns: ns(6).unwrap_or(0),
            steal_ns: ns(7),
        })
    }

    /// How much `of` grew between two readings, all CPUs together, in its own unit; `None` where it is told of
    /// no CPU. A CPU that came or went in between counts nothing, and neither does a time that went back.
    #[must_use]
    pub fn growth(before: &[Self], after: &[Self], of: impl Fn(&Self) -> Option<u64>) -> Option<u64> {
        let mut sum: Option<u64> = None;
        for (index, now) in after.iter().enumerate() {
            // Nearly always in the same place.
            let same = before.get(index).filter(|old| old.cpu == now.cpu);
            let Some(old) = same.or_else(|| before.iter().find(|old| old.cpu == now.cpu)) else { continue };
            if let (Some(now), Some(old)) = (of(now), of(old)) {
                sum = Some(sum.unwrap_or(0).saturating_add(now.saturating_sub(old)));
            }
        }
        sum
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
        let (times, unread) = CpuTimes::parse(text, 100);
        assert_eq!(unread, [""; 0]);
        assert_eq!(times.len(), 2);
        assert_eq!(times[0].user_ns, 30_000_000);
        assert_eq!(times[0].idle_ns, 90_000_000);
        assert_eq!(times[0].steal_ns, Some(80_000_000));
        assert_eq!(times[0].busy_ns(), 190_000_000);
        assert_eq!((times[1].cpu, times[1].steal_ns), (3, None));
    }

    #[test]
    fn a_line_of_a_cpu_that_makes_no_sense_is_kept() {
        let text = "cpu0 1 2 3\ncpux 1 2 3 4\ncpu1\ncpu2 1 2 -3 4\ncpu3 1 2 3 4 5 x\ncpu4 18446744073709551615 1 1 1\n";
        let (times, unread) = CpuTimes::parse(text, 100);
        assert_eq!(times.iter().map(|times| times.cpu).collect::<Vec<_>>(), [4]);
        assert_eq!(unread.len(), 5);
    }

    #[test]
    fn cpus_that_come_and_go_and_times_that_go_back_add_nothing() {
        let parse = |text: &str| CpuTimes::parse(text, 1_000_000_000).0;
        let before = parse("cpu0 0 0 0 0 0 100\ncpu1 0 0 0 0 0 900\ncpu2 0 0 0 0 0 50\n");
        let after = parse("cpu0 0 0 0 0 0 130\ncpu2 0 0 0 0 0 40\ncpu3 0 0 0 0 0 7000\n");
        assert_eq!(CpuTimes::growth(&before, &after, |times| Some(times.irq_ns)), Some(30));
        assert_eq!(CpuTimes::growth(&before, &after, |times| times.steal_ns), None);
        assert_eq!(CpuTimes::growth(&[], &after, |times| Some(times.irq_ns)), None);
    }
}
