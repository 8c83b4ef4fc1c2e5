//! System calls that only `cpuload` needs.
#![allow(unsafe_code)] // The one place of `cpuload` that talks to the kernel below the standard library.

use std::io;

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

/// Parent of this process (getppid(2)); cannot fail.
pub fn getppid() -> libc::pid_t {
    // SAFETY: no memory is passed.
    unsafe { libc::getppid() }
}

/// Writes all unwritten data of all file systems to their disks (sync(2)); cannot fail.
pub fn sync() {
    // SAFETY: no memory is passed.
    unsafe { libc::sync() }
}

/// Makes the C library give every freed block of a page or more back to the kernel (mallopt(3)); by default
/// glibc keeps blocks as large as those that were freed before, up to 32 MiB.
///
/// # Errors
/// When the C library refuses.
#[cfg(target_env = "gnu")]
pub fn free_to_the_kernel() -> meter::Result<()> {
    const PAGE: libc::c_int = 4096;
    // SAFETY: no memory is passed; the call takes the allocator's own lock.
    let taken = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, PAGE) };
    if taken == 1 { Ok(()) } else { Err(meter::Error::failed("make the C library give memory back")) }
}

/// Other C libraries do so without being told.
#[cfg(not(target_env = "gnu"))]
pub fn free_to_the_kernel() -> meter::Result<()> {
    Ok(())
}

/// Sets the nice value of the calling thread, -20 to 19 (setpriority(2); on Linux it is each thread's own),
/// and reads it back.
///
/// # Errors
/// `EACCES` below the own value without CAP_SYS_NICE or an RLIMIT_NICE.
pub fn set_nice(nice: i32) -> io::Result<()> {
    // SAFETY: no memory is passed; 0 is the calling thread.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: no memory is passed; 0 is the calling thread. The thread exists, so the call can't fail.
    let found = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    if found == nice { Ok(()) } else { Err(io::Error::other(format!("the kernel made it {found}"))) }
}

/// The C library's own generator with a state of its own (random_r(3), glibc).
#[cfg(target_env = "gnu")]
pub struct Random {
    data: RandomData,
    /// The table that `data` points into. Only the C library touches it.
    _table: Vec<i32>,
}

/// glibc's `struct random_data` (stdlib.h).
#[cfg(target_env = "gnu")]
#[repr(C)]
struct RandomData {
    front: *mut i32,
    rear: *mut i32,
    state: *mut i32,
    kind: libc::c_int,
    degree: libc::c_int,
    separation: libc::c_int,
    end: *mut i32,
}

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    fn initstate_r(
        seed: libc::c_uint,
        table: *mut libc::c_char,
        bytes: libc::size_t,
        data: *mut RandomData,
    ) -> libc::c_int;
    fn random_r(data: *mut RandomData, number: *mut i32) -> libc::c_int;
}

#[cfg(target_env = "gnu")]
impl Random {
    /// The generator as every process has it from the beginning: additive, of degree 31, seed 1.
    pub fn new() -> Self {
        let mut table = vec![0_i32; 32];
        let mut data = RandomData {
            front: std::ptr::null_mut(),
            rear: std::ptr::null_mut(),
            state: std::ptr::null_mut(),
            kind: 0,
            degree: 0,
            separation: 0,
            end: std::ptr::null_mut(),
        };
        // SAFETY: `data` is zeroed, as the call asks for, and the table has the 128 bytes that are told;
        // it lives on the heap as long as `data`. Both pointers are valid, so the call can't fail.
        unsafe { initstate_r(1, table.as_mut_ptr().cast(), 128, &raw mut data) };
        Self { data, _table: table }
    }

    /// Writes the next number, 0 to 2³¹ − 1.
    #[inline]
    pub fn step(&mut self, number: &std::sync::atomic::AtomicI32) {
        // SAFETY: `data` was filled by initstate_r and its table is still there; `number` is a valid place
        // that nobody else uses meanwhile. Both pointers are valid, so the call can't fail.
        unsafe { random_r(&raw mut self.data, number.as_ptr()) };
    }
}

/// The kernel's `struct sched_attr` in its first version (sched_setattr(2)).
#[repr(C)]
#[derive(Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime_ns: u64,
    deadline_ns: u64,
    period_ns: u64,
}

/// Gives the calling thread SCHED_DEADLINE (sched_setattr(2), sched(7)): `runtime_ns` of every
/// `period_ns`, and never more.
///
/// # Errors
/// `EPERM` without CAP_SYS_NICE or for a thread that is pinned; `EBUSY` when all deadlines together
/// could not be kept; `EINVAL` for times outside of the kernel's limits.
pub fn set_deadline(runtime_ns: u64, period_ns: u64) -> io::Result<()> {
    let attributes = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: libc::SCHED_DEADLINE as u32,
        runtime_ns,
        deadline_ns: period_ns,
        period_ns,
        ..SchedAttr::default()
    };
    // SAFETY: `attributes` lives through the call and tells its own size; 0 is the calling thread.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_a_thread_runs_while_it_works() {
        let clock = own_cpu_clock();
        let before = cpu_clock_ns(clock).unwrap();
        while cpu_clock_ns(clock).unwrap() < before + 1_000_000 {}
    }

    #[test]
    fn a_nicer_thread_reads_it_back() {
        std::thread::spawn(|| set_nice(7).unwrap()).join().unwrap();
    }
}
