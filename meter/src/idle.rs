//! Idle CPUs kept from deep idle states, for as long as it is wanted.

use std::{fs::File, io, io::Write, os::unix::fs::FileExt};

use crate::{Error, ErrorKind, Result};

/// The kernel's file for it (Documentation/power/pm_qos_interface.rst).
pub const DEVICE: &str = "/dev/cpu_dma_latency";

/// Longest limit that can be asked for, in microseconds: the kernel's own value for none (`PM_QOS_CPU_LATENCY_DEFAULT_VALUE`).
pub const LONGEST_US: u32 = 2_000_000_000;

/// A limit on how long any CPU of this machine may take to wake from idle. It holds until it is dropped, and
/// ends with the process however that ends. The shortest limit of all processes counts.
#[derive(Debug)]
pub struct IdleLimit {
    /// The limit holds for as long as the file is open.
    _held: File,
}

impl IdleLimit {
    /// Holds a limit of `longest_us` microseconds, at most [`LONGEST_US`]. With 0 idle CPUs do not halt: they poll, and
    /// burn power, or the time of a virtual machine's host. What the kernel then says is read back.
    ///
    /// # Errors
    /// Exit code 3 when the kernel has no such file, does not let this user write to it, or holds no such limit.
    pub fn hold(longest_us: u32) -> Result<Self> {
        Self::through(DEVICE, longest_us)
    }

    fn through(device: &str, longest_us: u32) -> Result<Self> {
        let refused = |error: io::Error| {
            let hint = match error.kind() {
                io::ErrorKind::NotFound => "this kernel is without it (CONFIG_CPU_IDLE)",
                io::ErrorKind::UnexpectedEof => "it is not the kernel's file of that name",
                _ => "run as root, or let this user read and write the file",
            };
            let told = format!("can't limit idle states through {device}; {hint}");
            Error::system(told, error).with_kind(ErrorKind::Unavailable)
        };
        let limit = i32::try_from(longest_us.min(LONGEST_US)).unwrap_or(i32::MAX);
        let mut held = File::options().read(true).write(true).open(device).map_err(refused)?;
        held.write_all(&limit.to_ne_bytes()).map_err(refused)?;
        let mut told = [0; size_of::<i32>()];
        held.read_exact_at(&mut told, 0).map_err(refused)?;
        let held_us = i32::from_ne_bytes(told);
        if held_us > limit {
            let told =
                format!("{device} says {held_us} us after {limit} us was asked for: is it the kernel's?");
            return Err(Error::unavailable(told));
        }
        Ok(Self { _held: held })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_until_it_is_dropped() {
        let held = match IdleLimit::hold(1234) {
            Ok(held) => held,
            Err(error) => {
                println!("skipped: {}", error.full_text());
                return;
            }
        };
        let open = || {
            let files = std::fs::read_dir("/proc/self/fd").unwrap();
            let targets = files.filter_map(|file| file.ok()?.path().read_link().ok());
            targets.filter(|target| target.as_os_str() == DEVICE).count()
        };
        assert_eq!(open(), 1);
        drop(held);
        assert_eq!(open(), 0);
    }

    #[test]
    fn what_holds_no_limit_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let nothing = folder.path().join("nothing").display().to_string();
        let error = IdleLimit::through(&nothing, 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(
            error.full_text().contains(&nothing) && error.full_text().contains("CONFIG_CPU_IDLE"),
            "{error:?}"
        );
        // It takes whatever is written, and gives nothing back.
        let error = IdleLimit::through("/dev/null", 5).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}
