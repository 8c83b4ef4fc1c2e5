//! Block devices by their numbers, and the small files that sysfs tells of them.

use std::{
    fs,
    path::{Path, PathBuf},
};

pub(crate) use meter::sysfs::read_line;

/// Major and minor number of a block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceNumber {
    /// The driver's number.
    pub major: u32,
    /// The device's number in its driver.
    pub minor: u32,
}

impl DeviceNumber {
    /// From the kernel's combined number, as in `st_dev` and `st_rdev`.
    #[must_use]
    pub fn from_raw(raw: u64) -> Self {
        Self { major: libc::major(raw), minor: libc::minor(raw) }
    }

    /// From the kernel's notation, `254:0`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once(':')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }

    /// Of the device with that folder in sysfs.
    #[must_use]
    pub fn of_folder(folder: &Path) -> Option<Self> {
        Self::parse(&read_line(folder.join("dev"))?)
    }

    /// The device's node: `/dev` and the name that sysfs calls it by.
    #[must_use]
    pub fn node(self) -> PathBuf {
        let name = self.folder().canonicalize().ok();
        let name = name.as_deref().and_then(Path::file_name).unwrap_or_default();
        // sysfs writes the slash of names such as `cciss/c0d0` as an exclamation mark.
        Path::new("/dev").join(name.to_string_lossy().replace('!', "/"))
    }

    /// The device's folder in sysfs.
    #[must_use]
    pub fn folder(self) -> PathBuf {
        self.folder_in(Path::new("/sys"))
    }

    /// The same where sysfs is mounted on `root`.
    #[must_use]
    pub fn folder_in(self, root: &Path) -> PathBuf {
        root.join(format!("dev/block/{}:{}", self.major, self.minor))
    }
}

/// A number in a small file.
pub(crate) fn read_number(path: impl AsRef<Path>) -> Option<u64> {
    read_line(path)?.parse().ok()
}

/// The paths in a folder; none where it can't be read.
pub(crate) fn entries(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
