//! The disks: one image that is used directly, one behind a loop device.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use meter::units::Bytes;

use super::loop_device::LoopDevice;
use super::settings::DiskPath;

/// Pages written at once when an image is filled.
const CHUNK: usize = 1 << 20;

/// The images, removed when dropped.
pub(super) struct Disks {
    direct: Option<Image>,
    looped: Option<Looped>,
}

/// The loop device and the image behind it.
enum Looped {
    /// In this order: the device lets go of the image before the image is removed.
    Ready(LoopDevice, #[expect(dead_code, reason = "kept for its drop")] Image),
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
        notes: &mut Vec<String>,
    ) -> Result<Self> {
        let Some(bytes) = bytes else { return Ok(Self { direct: None, looped: None }) };
        let images = if with_loop { 2 } else { 1 };
        check_space(folder, bytes * images)?;
        let direct = Image::create(&folder.join("disk-direct.img"), bytes)?;
        let looped = if with_loop { Some(Self::looped(folder, bytes, notes)?) } else { None };
        Ok(Self { direct: Some(direct), looped })
    }

    fn looped(folder: &Path, bytes: u64, notes: &mut Vec<String>) -> Result<Looped> {
        let image = Image::create(&folder.join("disk-loop.img"), bytes)?;
        Ok(match LoopDevice::attach(&image.path) {
            Ok(device) => Looped::Ready(device, image),
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
            (DiskPath::Direct, _) => self.direct.as_ref().map(|image| image.path.clone()),
            (DiskPath::Loop, Some(Looped::Ready(device, _))) => Some(device.path().to_owned()),
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

/// A file of real, written blocks: the first write to a hole or to unwritten extents costs more than
/// all later ones, and would be measured.
struct Image {
    path: PathBuf,
}

impl Image {
    fn create(path: &Path, bytes: u64) -> Result<Self> {
        let failed = || format!("create the disk image {}", path.display());
        // The journal beside it is ours alone: an image that is there is of a coordinator that was killed.
        if path.exists() {
            fs::remove_file(path).with_context(failed)?;
        }
        let file = OpenOptions::new().write(true).create_new(true).open(path).with_context(failed)?;
        let image = Self { path: path.to_owned() };
        fill(file, bytes).with_context(failed)?;
        Ok(image)
    }
}

/// Writes `bytes` of something that is neither zeros nor compressible to a point.
fn fill(mut file: File, bytes: u64) -> std::io::Result<()> {
    let mut random = meter::random::Random::new(bytes);
    let mut chunk = vec![0; CHUNK];
    // The first chunk stays zero, so that no file system or partition table is seen in it.
    let mut written = 0;
    while written < bytes {
        let length = CHUNK.min((bytes - written) as usize);
        file.write_all(&chunk[..length])?;
        written += length as u64;
        for word in chunk.chunks_exact_mut(8) {
            word.copy_from_slice(&random.next_u64().to_le_bytes());
        }
    }
    file.sync_all()
}

impl Drop for Image {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            eprintln!("warning: {} can't be removed: {error}", self.path.display());
        }
    }
}
