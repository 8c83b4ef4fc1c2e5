//! Without root: an unprivileged user namespace in which this process may make network namespaces.
#![allow(unsafe_code)] // unshare(2) has no safe wrapper.

use std::{fs, io, sync::OnceLock};

/// Why this process is root in a user namespace only, if it is.
static NOTE: OnceLock<String> = OnceLock::new();

/// Enters a user namespace when this process lacks CAP_SYS_ADMIN. It must have one thread only: `matrix` calls
/// it, through `Kind::before_threads`, before the first thread that it starts, and for no other platform. Where the kernel forbids it nothing changes, and making a
/// network namespace says what is missing.
pub fn become_root_if_possible() {
    // SAFETY: these two only read the process's credentials.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    if has_admin_capability() {
        return;
    }
    // SAFETY: no memory is passed; the process has one thread.
    if unsafe { libc::unshare(libc::CLONE_NEWUSER) } < 0 {
        return;
    }
    let maps = [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {user} 1")),
        ("gid_map", format!("0 {group} 1")),
    ];
    let mapped: io::Result<()> =
        maps.iter().try_for_each(|(file, text)| fs::write(format!("/proc/self/{file}"), text));
    let note = match mapped {
        Ok(()) => {
            "run without root, in an unprivileged user namespace: no loop devices, no real-time policies"
        }
        Err(_) => "run without root, in a user namespace that the kernel gave no rights",
    };
    NOTE.get_or_init(|| note.to_owned());
}

/// What a reader must know of that.
pub(super) fn note() -> Option<String> {
    NOTE.get().cloned()
}

/// Whether CAP_SYS_ADMIN (bit 21) is among the effective capabilities.
fn has_admin_capability() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> 21 & 1 == 1)
}
