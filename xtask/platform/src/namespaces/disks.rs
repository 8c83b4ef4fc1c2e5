//! The disks: one image that is used directly, one behind a loop device.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use meter::{control::Stop, units::Bytes};

use super::settings::DiskPath;
use super::{image::Image, loop_device::LoopDevice};

/// The images; they are gone when this is dropped.
pub(super) struct Disks {
    direct: Option<Image>,
    looped: Option<Looped>,
}

/// The loop device and the image behind it.
enum Looped {
    /// The device holds the image.
    Ready(LoopDevice),
    /// Why there is none.
    Missing(String),
}

impl Disks {
    /// Makes the images of `bytes` in `folder` (none where no cell measures a disk), and the loop
    /// device if wanted. Where the kernel or a missing right forbids it, its cells will be skipped.
    pub(super) fn prepare(
        folder: &Path,
        bytes: Option<u64>,
        with_loop: bool,
        stop: &Stop,
        notes: &mut Vec<String>,
    ) -> Result<Self> {
        let Some(bytes) = bytes else { return Ok(Self { direct: None, looped: None }) };
        let images = if with_loop { 2 } else { 1 };
        check_space(folder, bytes * images)?;
        let direct = Image::create(folder, bytes, stop)?;
        let looped = if with_loop { Some(Self::looped(folder, bytes, stop, notes)?) } else { None };
        Ok(Self { direct: Some(direct), looped })
    }

    fn looped(folder: &Path, bytes: u64, stop: &Stop, notes: &mut Vec<String>) -> Result<Looped> {
        let image = Image::create(folder, bytes, stop)?;
        Ok(match LoopDevice::attach(&image.path()) {
            Ok(device) => Looped::Ready(device),
            Err(error) => {
                let reason = format!("no loop device can be had: {error:#}; run as root");
                notes.push(reason.clone());
                Looped::Missing(reason)
            }
        })
    }

    /// Why there is no disk of that kind, if so.
    pub(super) fn lacks(&self, kind: DiskPath) -> Option<String> {
        match (kind, &self.looped) {
            (DiskPath::Loop, Some(Looped::Missing(reason))) => Some(reason.clone()),
            _ => None,
        }
    }

    /// Where the disk of that kind is.
    pub(super) fn path(&self, kind: DiskPath) -> Option<PathBuf> {
        match (kind, &self.looped) {
            (DiskPath::Direct, _) => self.direct.as_ref().map(Image::path),
            (DiskPath::Loop, Some(Looped::Ready(device))) => Some(device.path().to_owned()),
            (DiskPath::Loop, _) => None,
        }
    }
}

/// Refuses to begin what a full disk would end.
fn check_space(folder: &Path, bytes: u64) -> Result<()> {
    let free = free_bytes(folder)?;
    let reserve = 64 << 20;
    ensure!(
        free > bytes + reserve,
        "{} has {} free, the plan's disk images need {} ({} more than that should stay free); choose another place with --results",
        folder.display(),
        meter::units::si(free as f64, "B"),
        Bytes(bytes),
        Bytes(reserve),
    );
    Ok(())
}

/// Free space of a file system, in bytes, for whoever asks without privileges.
fn free_bytes(folder: &Path) -> Result<u64> {
    domain::space::free_bytes(folder).with_context(|| format!("look for free space in {}", folder.display()))
}
