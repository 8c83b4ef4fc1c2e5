//! Whether a block device may be written to: never while something uses it, and not over data that
//! nobody said could go.

use std::{
    fs::{self, File},
    os::{
        linux::fs::MetadataExt,
        unix::fs::{FileExt, FileTypeExt},
    },
    path::{Path, PathBuf},
};

use meter::{Error, Result};

use crate::{
    mounts::Mount,
    signature,
    sysfs::{DeviceNumber, entries, read_line},
};

/// Refuses a device that is in use or read-only; and one with partitions, a signature or data unless
/// `named_twice`.
///
/// # Errors
/// What was found on it, and what to try. Exit code 2 where a flag would change it, else 3.
pub fn check_writable(path: &Path, device: DeviceNumber, named_twice: bool) -> Result<()> {
    let folder = device.folder();
    let shown = path.display();
    if read_line(folder.join("ro")).as_deref() == Some("1") {
        return Err(Error::unavailable(format!("{shown} is read-only")));
    }
    if let Some(use_of) = in_use(device) {
        return Err(Error::unavailable(format!("{shown} {use_of}; it is never written to while in use")));
    }
    if named_twice {
        return Ok(());
    }
    let partitions = partitions(&folder);
    let found = if partitions.is_empty() {
        content(path)?.map(str::to_owned)
    } else {
        Some(format!("the partitions {}", names(&partitions)))
    };
    match found {
        None => Ok(()),
        Some(found) => Err(Error::bad_arguments(format!(
            "{shown} holds {found}; to destroy that, give the name once more: --device {shown}"
        ))),
    }
}

/// Who uses the device or one of its partitions, as the end of a sentence; `None` for nobody.
fn in_use(device: DeviceNumber) -> Option<String> {
    let folder = device.folder();
    let parts = partitions(&folder);
    let mut numbers = vec![device];
    numbers.extend(parts.iter().filter_map(|part| DeviceNumber::of_folder(part)));
    let mounted = numbers.iter().find_map(|number| mount_point(*number));
    if let Some(place) = mounted {
        return Some(format!("is mounted on {place}"));
    }
    if let Some(swap) = swap_on(&numbers) {
        return Some(format!("is swap ({swap})"));
    }
    let holders: Vec<PathBuf> =
        std::iter::once(&folder).chain(&parts).flat_map(|folder| entries(folder.join("holders"))).collect();
    (!holders.is_empty()).then(|| format!("is held by {}", names(&holders)))
}

/// Where a device is mounted, as far as this process's mount namespace shows.
fn mount_point(device: DeviceNumber) -> Option<String> {
    let mounts = Mount::all().ok()?;
    // Btrfs mounts bear an anonymous number; their source is the device's name.
    let holds = |mount: &&Mount| mount.device == device || device_number(&mount.source) == Some(device);
    mounts.iter().find(holds).map(|mount| mount.place.display().to_string())
}

/// The number of the block device at `path`, if that is one.
fn device_number(path: impl AsRef<Path>) -> Option<DeviceNumber> {
    let path = path.as_ref();
    let metadata = path.is_absolute().then(|| fs::metadata(path).ok()).flatten()?;
    metadata.file_type().is_block_device().then(|| DeviceNumber::from_raw(metadata.st_rdev()))
}

fn swap_on(devices: &[DeviceNumber]) -> Option<String> {
    let table = fs::read_to_string("/proc/swaps").ok()?;
    table.lines().skip(1).find_map(|line| {
        let name = line.split_whitespace().next()?;
        devices.contains(&device_number(name)?).then(|| name.to_owned())
    })
}

/// Folders of a disk's partitions in sysfs.
fn partitions(folder: &Path) -> Vec<PathBuf> {
    entries(folder).into_iter().filter(|entry| entry.join("partition").exists()).collect()
}

fn names(paths: &[PathBuf]) -> String {
    let mut names: Vec<_> =
        paths.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect();
    names.sort();
    names.join(", ")
}

/// What the device's first and last MiB hold.
fn content(path: &Path) -> Result<Option<&'static str>> {
    let failed = |error| Error::system(format!("look at what {} holds", path.display()), error);
    let file = File::open(path).map_err(failed)?;
    let size = rustix::fs::seek(&file, rustix::fs::SeekFrom::End(0)).map_err(|error| failed(error.into()))?;
    let probed = size.min(signature::PROBED as u64);
    let mut head = vec![0; probed as usize];
    let mut tail = head.clone();
    file.read_exact_at(&mut head, 0).map_err(failed)?;
    file.read_exact_at(&mut tail, size - probed).map_err(failed)?;
    Ok(signature::content(&head, &tail))
}
