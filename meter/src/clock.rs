//! The clock: CLOCK_MONOTONIC, in nanoseconds, and what reading it costs.
//!
//! CLOCK_MONOTONIC is slewed by NTP but never steps, is the same in every process and container of
//! one kernel, and is what the kernel's own absolute sleeps use.

use std::io;

use crate::{sys, sysfs::read_line};

/// One second in nanoseconds.
pub const SECOND_NS: u64 = 1_000_000_000;

/// Nanoseconds of CLOCK_MONOTONIC: comparable within one running kernel only.
#[must_use]
#[inline]
pub fn now_ns() -> u64 {
    sys::clock_gettime_ns(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds since 1970-01-01 UTC (CLOCK_REALTIME): for people and for matching logs, never for durations.
#[must_use]
#[inline]
pub fn wall_ns() -> u64 {
    sys::clock_gettime_ns(libc::CLOCK_REALTIME)
}

/// CPU nanoseconds that the calling thread has used (CLOCK_THREAD_CPUTIME_ID).
#[must_use]
#[inline]
pub fn thread_cpu_ns() -> u64 {
    sys::clock_gettime_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU nanoseconds that this process has used (CLOCK_PROCESS_CPUTIME_ID).
#[must_use]
#[inline]
pub fn process_cpu_ns() -> u64 {
    sys::clock_gettime_ns(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Sleeps until `deadline_ns` of [`now_ns`]. A signal ends the sleep early: callers look at their
/// stop flag and at the clock again.
///
/// # Errors
/// Only for a deadline that the kernel can't represent.
pub fn sleep_until_ns(deadline_ns: u64) -> io::Result<()> {
    match sys::clock_nanosleep_until(deadline_ns) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        result => result,
    }
}

/// Median cost of one [`now_ns`] in nanoseconds, measured now. About 20–50 where the vDSO reads a
/// TSC, thousands where every read is a system call or a trap into a hypervisor: then latencies of
/// that order can't be believed.
#[must_use]
pub fn read_cost_ns() -> u64 {
    const BATCH: u64 = 32;
    let mut costs: [u64; 9] = std::array::from_fn(|_| {
        let start = now_ns();
        for _ in 1..BATCH {
            std::hint::black_box(now_ns());
        }
        (now_ns() - start) / BATCH
    });
    costs.sort_unstable();
    costs[costs.len() / 2]
}

/// The kernel's clock source (`tsc`, `kvm-clock`, `xen`, `hpet` …); `None` where sysfs hides it.
#[must_use]
pub fn source() -> Option<String> {
    read_line("/sys/devices/system/clocksource/clocksource0/current_clocksource")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absolute_sleep_never_ends_early() {
        let deadline = now_ns() + 2_000_000;
        sleep_until_ns(deadline).unwrap();
        assert!(now_ns() >= deadline);
    }

    #[test]
    fn reading_the_clock_costs_something() {
        assert!(read_cost_ns() > 0);
    }
}
