//! System calls that only `irqwatch` needs.
#![allow(unsafe_code)] // The one place of `irqwatch` that talks to the kernel below the standard library.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    time::Duration,
};

/// Sends a signal to a process (kill(2)). One that is gone already is no error.
pub fn kill(process: u32, signal: libc::c_int) {
    let Some(process) = libc::pid_t::try_from(process).ok().filter(|process| *process > 1) else { return };
    // SAFETY: no memory is passed; the number is a process, never a group.
    unsafe { libc::kill(process, signal) };
}

/// Rows and columns of the terminal on standard output (`TIOCGWINSZ`, tty_ioctl(2)); `None` where it
/// is no terminal or does not tell.
pub fn terminal_size() -> Option<(usize, usize)> {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: `size` is a zeroed winsize, valid in every bit pattern, for the kernel to fill.
    let size = unsafe {
        if libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, size.as_mut_ptr()) != 0 {
            return None;
        }
        size.assume_init()
    };
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row.into(), size.ws_col.into()))
}

/// Locks this process's pages into memory, present ones now and others when they are first touched
/// (mlockall(2), `MCL_ONFAULT`): whatever is touched before a measured loop never faults in it, and
/// the untouched rest of the threads' stacks takes no memory.
///
/// # Errors
/// `EPERM` or `ENOMEM` where RLIMIT_MEMLOCK forbids it, `EINVAL` before Linux 4.4.
pub fn lock_memory() -> io::Result<()> {
    // SAFETY: no memory is passed.
    let result = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A file descriptor that becomes readable when the process ends (pidfd_open(2)).
///
/// # Errors
/// `ENOSYS` before Linux 5.3.
pub fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given it to this process, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as libc::c_int) })
}

/// Waits until `descriptor` is readable or the time is over (poll(2)); says whether it is readable.
/// A signal ends the wait early.
pub fn wait_readable(descriptor: BorrowedFd<'_>, longest: Duration) -> bool {
    let mut poll = libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let timeout = libc::c_int::try_from(longest.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: one valid pollfd, and the count says so.
    unsafe { libc::poll(&raw mut poll, 1, timeout) > 0 }
}
