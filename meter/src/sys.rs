//! System calls that more than one tool needs and the standard library lacks.
//!
//! One wrapper is one call: its man page, its units, its errors. Nothing here decides anything.
#![allow(unsafe_code)] // The one place of `meter` that talks to the kernel below the standard library.

use std::{
    ffi::CStr,
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd},
};

/// Turns the kernel's `-1` into the error it left in `errno`.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Sets a socket option that is an `int` (setsockopt(2)).
///
/// # Errors
/// `ENOPROTOOPT` when the kernel does not know it, `EINVAL` for a value out of range, `EPERM`.
pub fn setsockopt(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    setsockopt_bytes(fd, level, name, &value.to_ne_bytes())
}

/// Sets a socket option from its bytes (setsockopt(2)).
///
/// # Errors
/// As [`setsockopt`].
pub fn setsockopt_bytes(fd: BorrowedFd<'_>, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    // SAFETY: `value` is readable for the length that is passed; the kernel copies it.
    check(unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, value.as_ptr().cast(), value.len() as libc::socklen_t)
    })
    .map(drop)
}

/// Reads a socket option into `value` and gives how many bytes it has (getsockopt(2)).
///
/// # Errors
/// `ENOPROTOOPT` when the kernel does not know it.
pub fn getsockopt_bytes(fd: BorrowedFd<'_>, level: i32, name: i32, value: &mut [u8]) -> io::Result<usize> {
    let mut len = value.len() as libc::socklen_t;
    // SAFETY: `value` is writable for `len` bytes, and the kernel writes no more than that.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut len) })
        .map(|_| len as usize)
}

/// Number of a network interface by its name (if_nametoindex(3)); `None` when there is none.
#[must_use]
pub fn if_nametoindex(name: &CStr) -> Option<u32> {
    // SAFETY: `name` is a NUL-terminated string.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}

/// Whether a network interface has that number (if_indextoname(3)).
#[must_use]
pub fn interface_exists(index: u32) -> bool {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: `name` has room for IF_NAMESIZE bytes, the most that is written.
    !unsafe { libc::if_indextoname(index, name.as_mut_ptr()) }.is_null()
}

/// Nanoseconds of `clock` (clock_gettime(2)).
///
/// `clock` is one of the `CLOCK_*` constants of libc that every Linux has; the call cannot fail for them.
#[must_use]
#[inline]
pub fn clock_gettime_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec for the kernel to fill.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    debug_assert_eq!(result, 0, "clock_gettime of a clock that every Linux has");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Whether this process ignores `signal` (sigaction(2)), as a program started by nohup(1) does SIGHUP.
///
/// # Errors
/// For a number that is no signal.
pub fn is_ignored(signal: libc::c_int) -> io::Result<bool> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the call only fills `action`, which has the kernel's layout.
    check(unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) })?;
    // SAFETY: the call succeeded, and all-zero bytes were valid before.
    Ok(unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN)
}

/// Sleeps until `deadline_ns` on CLOCK_MONOTONIC (clock_nanosleep(2), absolute).
///
/// # Errors
/// `Interrupted` when a signal arrived first: the caller decides whether to go on.
pub fn clock_nanosleep_until(deadline_ns: u64) -> io::Result<()> {
    let time = libc::timespec {
        tv_sec: (deadline_ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (deadline_ns % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: `time` is a valid timespec; a null remainder is allowed for absolute sleeps.
    let result = unsafe {
        libc::clock_nanosleep(
            libc::CLOCK_MONOTONIC,
            libc::TIMER_ABSTIME,
            &raw const time,
            std::ptr::null_mut(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

/// The CPUs that the calling thread may run on, ascending (sched_getaffinity(2)).
///
/// # Errors
/// `EINVAL` on a machine with more than 1024 CPUs that the fixed-size set can't hold.
pub fn sched_getaffinity() -> io::Result<Vec<usize>> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: `set` is a zeroed cpu_set_t of the size that is passed; thread 0 is the caller.
    check(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr()) })?;
    // SAFETY: all-zero bytes are a valid cpu_set_t, and the kernel filled it.
    let set = unsafe { set.assume_init() };
    // SAFETY: the index stays below CPU_SETSIZE.
    Ok((0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect())
}

/// Restricts the calling thread to `cpus` (sched_setaffinity(2)).
///
/// # Errors
/// `EINVAL` when none of the CPUs is online or allowed here.
pub fn sched_setaffinity(cpus: &[usize]) -> io::Result<()> {
    let set = cpu_set(cpus);
    // SAFETY: `set` lives through the call and its size is the one passed.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) }).map(drop)
}

/// The kernel's form of a list of CPUs; those from 1024 on have no room in it.
#[must_use]
pub fn cpu_set(cpus: &[usize]) -> libc::cpu_set_t {
    // SAFETY: all-zero bytes are a valid, empty cpu_set_t.
    let mut set = unsafe { MaybeUninit::<libc::cpu_set_t>::zeroed().assume_init() };
    for &cpu in cpus.iter().filter(|&&cpu| cpu < libc::CPU_SETSIZE as usize) {
        // SAFETY: the index is below CPU_SETSIZE.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    set
}

/// The CPU that the calling thread runs on at this moment (sched_getcpu(3)).
#[must_use]
pub fn current_cpu() -> usize {
    // SAFETY: no arguments, no memory touched.
    unsafe { libc::sched_getcpu() as usize }
}

/// Gives the calling thread a scheduling policy and priority (sched_setscheduler(2)).
///
/// # Errors
/// `EPERM` without CAP_SYS_NICE or a sufficient RLIMIT_RTPRIO.
pub fn sched_setscheduler(policy: libc::c_int, priority: libc::c_int) -> io::Result<()> {
    // SAFETY: sched_param is plain data for which all-zero bytes are valid.
    let mut param: libc::sched_param = unsafe { MaybeUninit::zeroed().assume_init() };
    param.sched_priority = priority;
    // SAFETY: `param` lives through the call; thread 0 is the caller.
    check(unsafe { libc::sched_setscheduler(0, policy, &raw const param) }).map(drop)
}

/// The calling thread's scheduling policy (sched_getscheduler(2)), a `SCHED_*` constant.
///
/// # Errors
/// None that a caller can cause.
pub fn sched_getscheduler() -> io::Result<libc::c_int> {
    // SAFETY: no memory is passed; thread 0 is the caller.
    check(unsafe { libc::sched_getscheduler(0) })
}

/// Resource usage of this process or thread (getrusage(2)); `who` is `RUSAGE_SELF`, `RUSAGE_THREAD`
/// or `RUSAGE_CHILDREN`.
#[must_use]
pub fn getrusage(who: libc::c_int) -> libc::rusage {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is a zeroed rusage, valid in every bit pattern, for the kernel to fill.
    unsafe {
        libc::getrusage(who, usage.as_mut_ptr());
        usage.assume_init()
    }
}

/// Locks present and future pages of this process into memory (mlockall(2)).
///
/// # Errors
/// `EPERM` or `ENOMEM` where RLIMIT_MEMLOCK forbids it.
pub fn mlockall() -> io::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) }).map(drop)
}

/// Waits until nobody holds the other end of a pipe or socket any more (poll(2): `POLLERR`, `POLLHUP`);
/// of anything else it waits for ever.
///
/// # Errors
/// `Interrupted` when a signal arrived first: the caller decides whether to go on.
pub fn poll_for_hangup(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let mut poll = libc::pollfd { fd: descriptor.as_raw_fd(), events: 0, revents: 0 };
    // SAFETY: one valid pollfd, and the count says so.
    check(unsafe { libc::poll(&raw mut poll, 1, -1) }).map(drop)
}

/// Clock ticks in a second: the unit of /proc/stat (sysconf(3), `_SC_CLK_TCK`).
#[must_use]
pub fn ticks_per_second() -> u64 {
    // SAFETY: no memory is passed.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).unwrap_or(100)
}

/// Kernel name, release, architecture and host name (uname(2)).
#[must_use]
pub fn uname() -> Uname {
    let mut name = MaybeUninit::<libc::utsname>::zeroed();
    // SAFETY: `name` is a zeroed utsname, valid in every bit pattern, for the kernel to fill.
    let name = unsafe {
        libc::uname(name.as_mut_ptr());
        name.assume_init()
    };
    Uname { release: text(&name.release), machine: text(&name.machine), host: text(&name.nodename) }
}

/// What uname(2) says of this machine.
pub struct Uname {
    /// Release of the kernel, such as `6.1.0-18-amd64`.
    pub release: String,
    /// Architecture, such as `x86_64`.
    pub machine: String,
    /// Name of the host.
    pub host: String,
}

/// A NUL-terminated field as text.
fn text(field: &[libc::c_char]) -> String {
    let bytes: Vec<u8> = field.iter().map(|&byte| byte as u8).take_while(|&byte| byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calling_thread_runs_on_a_cpu_that_it_is_allowed() {
        let allowed = sched_getaffinity().unwrap();
        assert!(allowed.contains(&current_cpu()));
    }

    #[test]
    fn uname_knows_the_kernel() {
        assert!(uname().release.starts_with(|c: char| c.is_ascii_digit()));
    }
}
