//! From a path to what lies under it: file → file system's devices → disks.

use std::{
    fs,
    os::{linux::fs::MetadataExt, unix::fs::FileTypeExt},
    path::{Path, PathBuf},
};

use crate::{
    mounts::Mount,
    sysfs::{DeviceNumber, entries, read_line},
};

/// The block devices under a target, several for a file system on several; or why there are none.
pub type Devices = Result<Vec<DeviceNumber>, String>;

/// The block devices that hold a file, or the one that a device file is.
///
/// # Errors
/// A sentence for people.
pub fn devices_of(path: &Path, metadata: &fs::Metadata) -> Devices {
    if metadata.file_type().is_block_device() {
        return Ok(vec![DeviceNumber::from_raw(metadata.st_rdev())]);
    }
    let device = DeviceNumber::from_raw(metadata.st_dev());
    if device.folder().exists() {
        return Ok(vec![device]);
    }
    // File systems on several devices, or on none, have an anonymous number: the mount knows its source.
    let shown = path.display();
    let mount = Mount::of(path)
        .map_err(|error| format!("the mount that holds {shown} can't be found: {error}"))?
        .ok_or_else(|| format!("/proc/self/mountinfo shows no mount that holds {shown}"))?;
    let source = fs::metadata(&mount.source).ok().filter(|source| source.file_type().is_block_device());
    match source {
        Some(source) => Ok(members_of_btrfs(Path::new("/sys"), DeviceNumber::from_raw(source.st_rdev()))),
        None => Err(format!("the file system of {shown} is {}, on no block device", mount.kind)),
    }
}

/// All devices of the btrfs that `device` is one of; `device` alone where it is of none.
fn members_of_btrfs(root: &Path, device: DeviceNumber) -> Vec<DeviceNumber> {
    let file_systems = entries(root.join("fs/btrfs")).into_iter();
    let members = file_systems.map(|folder| {
        entries(folder.join("devices")).iter().filter_map(|member| DeviceNumber::of_folder(member)).collect()
    });
    let mut all: Vec<_> =
        members.into_iter().find(|members: &Vec<_>| members.contains(&device)).unwrap_or_default();
    all.retain(|member| *member != device);
    all.insert(0, device);
    all
}

/// The folder of the whole disk: a partition's parent, or the device's own.
#[must_use]
pub fn whole_disk(device: DeviceNumber) -> Option<PathBuf> {
    whole_disk_in(Path::new("/sys"), device)
}

fn whole_disk_in(root: &Path, device: DeviceNumber) -> Option<PathBuf> {
    let folder = device.folder_in(root).canonicalize().ok()?;
    if folder.join("partition").exists() { folder.parent().map(Path::to_owned) } else { Some(folder) }
}

/// The file behind a loop device, and where in it the device begins, in bytes; `None` for another device.
#[must_use]
pub fn loop_file(device: DeviceNumber) -> Option<(PathBuf, u64)> {
    let folder = device.folder().join("loop");
    let file = read_line(folder.join("backing_file"))?;
    Some((file.into(), read_line(folder.join("offset"))?.parse().ok()?))
}

/// Deepest stack of loop, device-mapper and md devices that is followed.
const DEEPEST_STACK: u32 = 8;

/// The folders of the hardware's disks under some devices, where sysfs is mounted on `root`: through loop devices
/// to their file's disks, through device mapper and md to their members'.
///
/// # Errors
/// Why one has no disk, as a sentence.
pub fn hardware(root: &Path, devices: &[DeviceNumber]) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    devices.iter().try_for_each(|device| descend(root, *device, 0, &mut found))?;
    Ok(found)
}

fn descend(root: &Path, device: DeviceNumber, depth: u32, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let disk = whole_disk_in(root, device)
        .ok_or_else(|| format!("sysfs has no block device {}:{}", device.major, device.minor))?;
    if depth > DEEPEST_STACK {
        return Err(format!("{} is stacked too deep", disk.display()));
    }
    if let Some(file) = read_line(disk.join("loop/backing_file")) {
        let metadata =
            fs::metadata(&file).map_err(|error| format!("the loop device's file {file}: {error}"))?;
        let below = devices_of(Path::new(&file), &metadata)?;
        return below.into_iter().try_for_each(|device| descend(root, device, depth + 1, found));
    }
    let members = entries(disk.join("slaves"));
    for member in &members {
        let number = DeviceNumber::of_folder(member)
            .ok_or_else(|| format!("{} has no device number", member.display()))?;
        descend(root, number, depth + 1, found)?;
    }
    if members.is_empty() && !found.contains(&disk) {
        found.push(disk);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_memory_has_no_disk() {
        let path = Path::new("/proc/self/status");
        let reason = devices_of(path, &fs::metadata(path).unwrap()).unwrap_err();
        assert!(reason.contains("proc"), "{reason}");
    }

    #[test]
    fn a_file_system_on_several_devices_has_them_all() {
        let root = tempfile::tempdir().unwrap();
        for (uuid, members) in [("a", &["8:16", "8:32"][..]), ("b", &["8:48"])] {
            for member in members {
                let folder = root.path().join(format!("fs/btrfs/{uuid}/devices/{member}"));
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join("dev"), member).unwrap();
            }
        }
        let number = |text| DeviceNumber::parse(text).unwrap();
        let of = |text| members_of_btrfs(root.path(), number(text));
        assert_eq!(of("8:32"), [number("8:32"), number("8:16")]);
        assert_eq!(of("8:64"), [number("8:64")]);
    }
}
