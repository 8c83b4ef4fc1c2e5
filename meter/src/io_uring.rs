//! Why io_uring is refused: the kernel, an administrator, or a filter of system calls.

use std::{fs, io};

use crate::{Error, sys};

/// Where the administrator can forbid io_uring (Documentation/admin-guide/sysctl/kernel.rst).
const SYSCTL: &str = "/proc/sys/kernel/io_uring_disabled";

/// The error for an io_uring_setup(2) that failed with `error`; `instead` is what works without it, such as
/// `--engine sync`. Exit code 3.
#[must_use]
pub fn setup_refused(error: io::Error, instead: &str) -> Error {
    let message = match error.raw_os_error() {
        Some(libc::ENOSYS) => no_such_call(&sys::uname().release, is_filtered(), instead),
        Some(libc::EPERM) => {
            let level = fs::read_to_string(SYSCTL).ok();
            forbidden(level.as_deref().map(str::trim), is_filtered(), instead)
        }
        Some(libc::ENOMEM) => {
            format!(
                "not enough locked memory for io_uring; raise the limit (ulimit -l), ask for less, or use {instead}"
            )
        }
        _ => format!("set up io_uring; use {instead} without it"),
    };
    Error::unavailable(message).with_source(error)
}

/// Whether a filter of system calls is in force for this process; `None` where /proc hides it.
fn is_filtered() -> Option<bool> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"))?;
    Some(mode.trim() == "2")
}

/// ENOSYS: the kernel's answer to a call that it lacks, and what container runtimes let their filters give.
fn no_such_call(release: &str, filtered: Option<bool>, instead: &str) -> String {
    let kernel = format!("kernel {release} was built without it (it came with Linux 5.1)");
    let filter = "a filter of system calls (seccomp) of a container or sandbox hides it";
    let cause = match filtered {
        Some(true) => format!("{filter}, for this process has one, or {kernel}"),
        Some(false) => format!("{kernel}; no filter of system calls (seccomp) is in force"),
        None => format!("{kernel}, or {filter}"),
    };
    format!("io_uring is unavailable: {cause}; use {instead}")
}

/// EPERM: the administrator's switch, a filter, or a security module.
fn forbidden(level: Option<&str>, filtered: Option<bool>, instead: &str) -> String {
    match (level, filtered) {
        (Some("1"), _) => format!(
            "io_uring is disabled here: the sysctl kernel.io_uring_disabled is 1, which leaves it to CAP_SYS_ADMIN and the group of kernel.io_uring_group; use {instead}"
        ),
        (Some(level), _) if level != "0" => format!(
            "io_uring is disabled here: the sysctl kernel.io_uring_disabled is {level}; set it to 0 or use {instead}"
        ),
        (_, Some(true)) => {
            format!(
                "io_uring is forbidden here by a filter of system calls (seccomp) of a container or sandbox; use {instead}"
            )
        }
        _ => format!(
            "io_uring is forbidden here, by seccomp or a security module such as SELinux; use {instead}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_causes_of_a_missing_call_are_named_until_one_is_known() {
        let unknown = no_such_call("6.1.0", None, "--engine sync");
        assert!(unknown.contains("kernel 6.1.0") && unknown.contains("seccomp"), "{unknown}");
        let filtered = no_such_call("6.1.0", Some(true), "--engine sync");
        assert!(filtered.contains("hides it, for this process has one, or kernel 6.1.0"), "{filtered}");
        let missing = no_such_call("4.19.0", Some(false), "--method sendmmsg");
        assert!(missing.contains("no filter of system calls") && missing.ends_with("use --method sendmmsg"));
    }

    #[test]
    fn a_switch_a_filter_and_a_module_are_reported_separately() {
        assert!(forbidden(Some("2"), Some(true), "x").contains("io_uring_disabled is 2"));
        assert!(forbidden(Some("1"), Some(false), "x").contains("kernel.io_uring_group"));
        assert!(forbidden(Some("0"), Some(true), "x").contains("by a filter of system calls"));
        assert!(forbidden(None, Some(false), "x").contains("security module"));
    }
}
