//! Holding a CPU at a total load: whatever others do there, this adds what is missing.

use std::{fs::File, os::unix::fs::FileExt};

use meter::{Error, ErrorKind, Result};

use crate::Duty;

const STAT: &str = "/proc/stat";
/// Room for the lines of all CPUs of a large machine; grows by itself where that is too little.
const BUFFER: usize = 16 << 10;

/// Reads how long one CPU has been idle, through one buffer.
///
/// The kernel tells idle time in clock ticks, usually 10 ms, but exactly to the tick: what is rounded
/// away in one period is found in a later one.
#[derive(Debug)]
pub struct Holder {
    total: Duty,
    tick_ns: u64,
    label: String,
    file: File,
    buffer: Vec<u8>,
    /// Idle time and time at the beginning.
    zero: Option<(u64, u64)>,
}

impl Holder {
    /// One that holds `cpu` at `total`.
    ///
    /// # Errors
    /// When /proc/stat can't be read, is masked, or has no such CPU (exit code 3).
    pub fn new(cpu: usize, total: Duty) -> Result<Self> {
        let file = File::open(STAT).map_err(|error| {
            let what = format!("{STAT} tells how long a CPU was idle, and --hold needs that");
            Error::system(what, error).with_kind(ErrorKind::Unavailable)
        })?;
        let tick_ns = 1_000_000_000 / meter::sys::ticks_per_second().max(1);
        let label = format!("cpu{cpu} ");
        let mut holder = Self { total, tick_ns, label, file, buffer: vec![0; BUFFER], zero: None };
        match holder.idle_ns() {
            Some(_) => Ok(holder),
            None => Err(Error::unavailable(format!("{STAT} does not tell how long CPU {cpu} was idle"))),
        }
    }

    /// CPU time to take until `end_ns`, at `now_ns`, so that the CPU's whole load comes to the share.
    pub fn missing_ns(&mut self, now_ns: u64, end_ns: u64) -> u64 {
        let Some(idle_ns) = self.idle_ns() else { return 0 };
        let (idle_zero_ns, zero_ns) = *self.zero.get_or_insert((idle_ns, now_ns));
        let busy_ns = now_ns.saturating_sub(zero_ns).saturating_sub(idle_ns.saturating_sub(idle_zero_ns));
        // A worker that begins late begins after the end of its first windows: nothing is missing in those.
        self.total.of_ns(end_ns.saturating_sub(zero_ns)).saturating_sub(busy_ns)
    }

    /// Idle time of the CPU since boot, waiting for I/O included.
    fn idle_ns(&mut self) -> Option<u64> {
        let mut length = self.file.read_at(&mut self.buffer, 0).ok()?;
        while length == self.buffer.len() {
            self.buffer.resize(length * 2, 0);
            length = self.file.read_at(&mut self.buffer, 0).ok()?;
        }
        let text = std::str::from_utf8(&self.buffer[..length]).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(&self.label))?;
        // user nice system idle iowait
        let mut ticks = line.split_ascii_whitespace().skip(3).map(str::parse::<u64>);
        let (idle, waiting) =
            (ticks.next()?.ok()?, ticks.next().and_then(std::result::Result::ok).unwrap_or(0));
        (idle + waiting).checked_mul(self.tick_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_busy_already_is_not_asked_for_again() {
        let cpu = meter::sys::sched_getaffinity().unwrap()[0];
        let mut holder = Holder::new(cpu, "50".parse().unwrap()).unwrap();
        assert_eq!(holder.missing_ns(1_000, 1_000 + 100), 50);
        // Far ahead in time with no idle time gone by: the CPU counts as busy all the while.
        assert_eq!(holder.missing_ns(1_000_000_000_000, 1_000_000_000_100), 0);
    }

    #[test]
    fn nothing_is_missing_in_windows_that_ended_before_the_worker_began() {
        let cpu = meter::sys::sched_getaffinity().unwrap()[0];
        let mut holder = Holder::new(cpu, "50".parse().unwrap()).unwrap();
        assert_eq!(holder.missing_ns(1_000, 300), 0);
        assert_eq!(holder.missing_ns(1_000, 900), 0);
        assert_eq!(holder.missing_ns(1_000, 1_100), 50);
    }

    #[test]
    fn a_cpu_that_is_not_there_is_named() {
        assert!(Holder::new(99_999, Duty::FULL).unwrap_err().to_string().contains("99999"));
    }
}
