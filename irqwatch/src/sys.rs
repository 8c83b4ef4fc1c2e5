//! System calls that only `irqwatch` needs.
#![allow(unsafe_code)] // The one place of `irqwatch` that talks to the kernel below the standard library.

/// Sends a signal to every process of a group (kill(2)). A group that is gone already is no error.
pub fn kill_group(leader: u32, signal: libc::c_int) {
    // SAFETY: no memory is passed; the number is a process group, never 0 or 1.
    unsafe { libc::kill(-(leader as libc::pid_t), signal) };
}
