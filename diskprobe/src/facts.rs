//! Facts of the target that a result depends on and a reader can't guess.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use meter::units::Bytes;
use serde::Serialize;

use crate::{
    direct::{self, AlignmentSource},
    disk::{self, Devices},
    mounts::Mount,
    sysfs::{read_line, read_number},
};

/// What the target is and what lies under it. A fact that the machine hides is `null`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Facts {
    /// `new file`, `file`, `block device` or `NVMe namespace`.
    pub kind: String,
    /// Its size before the measurement, in bytes; `null` for a file that does not exist yet.
    pub size_bytes: Option<u64>,
    /// Type of the file system that holds a file.
    pub file_system: Option<String>,
    /// What O_DIRECT requires offsets and lengths to be multiples of, in bytes.
    pub alignment_bytes: u32,
    /// Who says so.
    pub alignment_source: AlignmentSource,
    /// The disk, as sysfs calls it. Of a file system on several all are named; what follows is the first one's.
    pub disk: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// I/O scheduler in use.
    pub scheduler: Option<String>,
    /// Whether it is a rotating disk.
    pub rotational: Option<bool>,
    /// `write back` or `write through`.
    pub write_cache: Option<String>,
    /// Logical block, in bytes.
    pub logical_block_bytes: Option<u64>,
    /// Physical block, in bytes.
    pub physical_block_bytes: Option<u64>,
    /// Hardware queues.
    pub queues: Option<u64>,
    /// Requests that a queue takes.
    pub queue_requests: Option<u64>,
    /// Whether it has queues that can be polled, which `--io-poll` needs.
    pub poll_queues: Option<bool>,
    /// Longest request, in bytes.
    pub largest_request_bytes: Option<u64>,
    /// Whether freed blocks can be given back to it.
    pub discard: Option<bool>,
}

impl Facts {
    /// Facts of `kind` and `size_bytes` at `path` (or the folder that will hold it), which lies on `devices`.
    #[must_use]
    pub fn collect(kind: &str, size_bytes: Option<u64>, path: &Path, devices: &Devices) -> Self {
        let devices = devices.as_deref().unwrap_or_default();
        let disks: Vec<PathBuf> = devices.iter().filter_map(|device| disk::whole_disk(*device)).collect();
        let mut facts = disks.first().map(|disk| of_disk(disk)).unwrap_or_default();
        let names: Vec<_> = disks.iter().filter_map(|disk| disk.file_name()?.to_str()).collect();
        facts.disk = (!names.is_empty()).then(|| names.join(", "));
        facts.kind = kind.to_owned();
        facts.size_bytes = size_bytes;
        let in_file_system = kind.ends_with("file");
        if in_file_system {
            facts.file_system = Mount::of(path).ok().flatten().map(|mount| mount.kind);
        }
        let logical = facts.logical_block_bytes.and_then(|bytes| u32::try_from(bytes).ok());
        (facts.alignment_bytes, facts.alignment_source) =
            direct::alignment(path, facts.file_system.as_deref(), logical);
        facts
    }
}

/// Facts of a disk by its folder in sysfs (Documentation/ABI/stable/sysfs-block).
fn of_disk(disk: &Path) -> Facts {
    let queue = disk.join("queue");
    let number = |name: &str| read_number(queue.join(name));
    let scheduler = read_line(queue.join("scheduler"));
    let chosen = scheduler.map(|list| {
        let bracketed = list.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        bracketed.map_or(list.clone(), |(name, _)| name.to_owned())
    });
    Facts {
        model: read_line(disk.join("device/model")),
        scheduler: chosen,
        rotational: number("rotational").map(|flag| flag != 0),
        write_cache: read_line(queue.join("write_cache")),
        logical_block_bytes: number("logical_block_size"),
        physical_block_bytes: number("physical_block_size"),
        queues: fs::read_dir(disk.join("mq")).ok().map(|folder| folder.count() as u64),
        queue_requests: number("nr_requests"),
        poll_queues: number("io_poll").map(|flag| flag != 0),
        largest_request_bytes: number("max_sectors_kb").map(|kib| kib * 1024),
        discard: number("discard_max_bytes").map(|bytes| bytes > 0),
        ..Facts::default()
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if let Some(size) = self.size_bytes {
            write!(f, " of {}", Bytes(size))?;
        }
        if let Some(kind) = &self.file_system {
            write!(f, " on {kind}")?;
        }
        if let Some(disk) = &self.disk {
            write!(f, ", disk {disk}")?;
        }
        for fact in [&self.scheduler, &self.write_cache].into_iter().flatten() {
            write!(f, ", {fact}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_here_has_a_file_system_and_an_alignment() {
        let path = std::env::current_exe().unwrap();
        let metadata = fs::metadata(&path).unwrap();
        let facts = Facts::collect("file", Some(metadata.len()), &path, &disk::devices_of(&path, &metadata));
        assert!(facts.file_system.is_some());
        assert!(facts.alignment_bytes.is_power_of_two());
    }
}
