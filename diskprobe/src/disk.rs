//! From a path through sysfs: file → file system's device → disk → its interrupts.

use std::{
    fs,
    os::linux::fs::MetadataExt,
    path::{Path, PathBuf},
};

use meter::interrupts::{Sources, Table};

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

    /// The device's node: `/dev` and the name that sysfs calls it by.
    #[must_use]
    pub fn node(self) -> PathBuf {
        let name = self.folder().canonicalize().ok();
        let name = name.as_deref().and_then(Path::file_name).unwrap_or_default();
        Path::new("/dev").join(name)
    }

    /// The device's folder in sysfs.
    #[must_use]
    pub fn folder(self) -> PathBuf {
        format!("/sys/dev/block/{}:{}", self.major, self.minor).into()
    }
}

/// First line of a small file, trimmed; `None` where it does not exist or is empty.
pub(crate) fn read_line(path: impl AsRef<Path>) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// A number in a small file.
pub(crate) fn read_number(path: impl AsRef<Path>) -> Option<u64> {
    read_line(path)?.parse().ok()
}

/// The block device that holds a file, or that a device file is; the error says why there is none.
///
/// # Errors
/// A sentence for people.
pub fn device_of(path: &Path, metadata: &fs::Metadata) -> Result<DeviceNumber, String> {
    use std::os::unix::fs::FileTypeExt;
    if metadata.file_type().is_block_device() {
        return Ok(DeviceNumber::from_raw(metadata.st_rdev()));
    }
    let device = DeviceNumber::from_raw(metadata.st_dev());
    if device.folder().exists() {
        return Ok(device);
    }
    // File systems on several devices, or on none, have an anonymous number: the mount knows its source.
    let (kind, source) = mount_of(device).ok_or_else(|| format!("no mount holds {}", path.display()))?;
    let metadata = fs::metadata(&source).ok().filter(|metadata| metadata.file_type().is_block_device());
    match metadata {
        Some(metadata) => Ok(DeviceNumber::from_raw(metadata.st_rdev())),
        None => Err(format!("the file system of {} is {kind}, on no block device", path.display())),
    }
}

/// Type and source of the mount with that device number (proc_pid_mountinfo(5)).
pub(crate) fn mount_of(device: DeviceNumber) -> Option<(String, String)> {
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let number = format!("{}:{}", device.major, device.minor);
    table.lines().find_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let mut source = source.split(' ').map(str::to_owned);
        (mount.split(' ').nth(2)? == number).then(|| Some((source.next()?, source.next()?)))?
    })
}

/// The folder of the whole disk: a partition's parent, or the device's own.
#[must_use]
pub fn whole_disk(device: DeviceNumber) -> Option<PathBuf> {
    let folder = device.folder().canonicalize().ok()?;
    if folder.join("partition").exists() { folder.parent().map(Path::to_owned) } else { Some(folder) }
}

/// Deepest stack of loop, device-mapper and md devices that is followed.
const DEEPEST_STACK: u32 = 8;

/// The hardware's disks under a device: through loop devices to their file's disk, through device
/// mapper and md to their members'.
fn hardware(device: DeviceNumber, depth: u32, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let disk = whole_disk(device)
        .ok_or_else(|| format!("sysfs has no block device {}:{}", device.major, device.minor))?;
    if depth > DEEPEST_STACK {
        return Err(format!("{} is stacked too deep", disk.display()));
    }
    if let Some(file) = read_line(disk.join("loop/backing_file")) {
        let metadata =
            fs::metadata(&file).map_err(|error| format!("the loop device's file {file}: {error}"))?;
        return hardware(device_of(Path::new(&file), &metadata)?, depth + 1, found);
    }
    let members: Vec<PathBuf> =
        fs::read_dir(disk.join("slaves")).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    for member in &members {
        let number = read_line(member.join("dev")).and_then(|text| DeviceNumber::parse(&text));
        let number = number.ok_or_else(|| format!("{} has no device number", member.display()))?;
        hardware(number, depth + 1, found)?;
    }
    if members.is_empty() && !found.contains(&disk) {
        found.push(disk);
    }
    Ok(())
}

/// Whose interrupts to count for I/O on `device`.
#[must_use]
pub fn interrupt_sources(device: &Result<DeviceNumber, String>) -> Sources {
    let names = device.clone().and_then(|device| {
        let mut disks = Vec::new();
        hardware(device, 0, &mut disks)?;
        let table = Table::interrupts().map_err(|error| error.full_text())?;
        let mut names = Vec::new();
        for disk in disks {
            names.extend(interrupts_of(&disk, &table)?);
        }
        Ok(names)
    });
    match names {
        Ok(names) => Sources::Interrupts(names),
        Err(reason) => Sources::Unknown(reason),
    }
}

/// IRQ numbers of a disk: those of the nearest ancestor in the device tree that has some.
fn interrupts_of(disk: &Path, table: &Table) -> Result<Vec<String>, String> {
    let name = disk.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let device = disk
        .join("device")
        .canonicalize()
        .map_err(|_| format!("{name} has no hardware behind it and so no interrupts"))?;
    let own = device.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let numbers =
        device.ancestors().take_while(|folder| folder.starts_with("/sys/devices")).find_map(irqs_in);
    let Some(numbers) = numbers else {
        // Xen's front end has event channels instead of PCI interrupts; they bear the driver's name.
        let xen: Vec<String> =
            table.rows.iter().filter(|row| row.device() == "blkif").map(|row| row.name.clone()).collect();
        return if xen.is_empty() {
            Err(format!("the driver of {name} shows no interrupts"))
        } else {
            Ok(xen)
        };
    };
    // A virtio function serves one device; its configuration interrupt says nothing about I/O.
    let serves_io = |number: &String| table.row(number).is_some_and(|row| !row.device().ends_with("-config"));
    let numbers: Vec<String> = numbers.into_iter().filter(serves_io).collect();
    if numbers.is_empty() {
        Err(format!("/proc/interrupts shows no interrupt of {name} ({own})"))
    } else {
        Ok(numbers)
    }
}

/// Message-signalled interrupts of a PCI function, or its one line interrupt.
fn irqs_in(folder: &Path) -> Option<Vec<String>> {
    let messages: Vec<String> = fs::read_dir(folder.join("msi_irqs"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    if !messages.is_empty() {
        return Some(messages);
    }
    read_line(folder.join("irq")).filter(|number| number != "0").map(|number| vec![number])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_leads_to_interrupts_or_to_a_reason() {
        let path = std::env::current_exe().unwrap();
        let metadata = fs::metadata(&path).unwrap();
        match interrupt_sources(&device_of(&path, &metadata)) {
            Sources::Interrupts(names) => assert!(!names.is_empty()),
            Sources::Unknown(reason) => assert!(!reason.is_empty()),
            Sources::Softirqs(_) => panic!("disks have interrupts, not softirqs"),
        }
    }

    #[test]
    fn a_file_in_memory_has_no_disk() {
        let path = Path::new("/proc/self/status");
        let reason = device_of(path, &fs::metadata(path).unwrap()).unwrap_err();
        assert!(reason.contains("proc"), "{reason}");
    }
}
