//! A block device in memory (zram) of our own: the kernel makes one more, and it goes in the end.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};

use super::workbench::Lacking;

const HOT_ADD: &str = "/sys/class/zram-control/hot_add";
const HOT_REMOVE: &str = "/sys/class/zram-control/hot_remove";
/// A device that was just closed may be held for a moment by whoever looks at new devices.
const ATTEMPTS: usize = 100;

/// A zram device, removed when dropped.
pub struct Zram {
    number: u32,
}

impl Zram {
    /// A new device of `bytes`.
    pub fn new(bytes: u64) -> Result<Self> {
        if !Path::new(HOT_ADD).exists() {
            return Err(Lacking("this kernel has no zram; try `modprobe zram`".into()).into());
        }
        // Reading this file makes the device.
        let number = fs::read_to_string(HOT_ADD).map_err(|error| {
            Lacking(format!("no zram device can be made ({HOT_ADD}: {error}); run as root"))
        })?;
        let device =
            Self { number: number.trim().parse().with_context(|| format!("{HOT_ADD} gave `{number}`"))? };
        let size = format!("/sys/block/zram{}/disksize", device.number);
        fs::write(&size, bytes.to_string()).with_context(|| format!("write {size}"))?;
        Ok(device)
    }

    /// The device's path.
    pub fn path(&self) -> PathBuf {
        format!("/dev/zram{}", self.number).into()
    }
}

impl Drop for Zram {
    fn drop(&mut self) {
        let mut result = Ok(());
        for _ in 0..ATTEMPTS {
            result = fs::write(HOT_REMOVE, self.number.to_string());
            if result.is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        if let Err(error) = result {
            eprintln!("warning: /dev/zram{} can't be removed: {error}", self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_comes_and_goes() {
        let device = match Zram::new(1 << 20) {
            Ok(device) => device,
            Err(error) => {
                println!("skipped: {error:#}");
                return;
            }
        };
        let path = device.path();
        assert!(path.exists());
        drop(device);
        assert!(!path.exists());
    }
}
