//! System calls that only `cpuload` needs.
#![allow(unsafe_code)] // The one place of `cpuload` that talks to the kernel below the standard library.

/// The CPU clock of the calling thread, readable from every thread of the process
/// (pthread_getcpuclockid(3)). Never 0: that number is CLOCK_REALTIME.
pub fn own_cpu_clock() -> libc::clockid_t {
    let mut clock: libc::clockid_t = 0;
    // SAFETY: pthread_self is the calling, hence living, thread; `clock` is there to be filled.
    unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock) };
    clock
}

/// Reads a thread's CPU clock, in nanoseconds (clock_gettime(2)); `None` once the thread is gone.
pub fn cpu_clock_ns(clock: libc::clockid_t) -> Option<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec for the kernel to fill.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (result == 0).then(|| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}
