//! Data that is written outside of any measurement: to fill a file, or to fill the caches with others.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use meter::{Error, Result, control::Stop, wait::Waiter};
use rustix::fs::StatVfs;

use crate::{
    blocks::{Blocks, Region},
    config::EngineKind,
    data::{Data, Filler},
    engine::{Engine, Operation},
    recording,
    ring::{ReadWrite, Ring},
    setup::RingOptions,
    sync::Sync,
    tally::Tally,
    work::{CommonBegin, Work},
    worker::Worker,
};

/// Length of one operation.
const BLOCK_SIZE: u32 = 1 << 20;
/// Operations in flight.
const QUEUE_DEPTH: u16 = 4;
/// Data that is written nowhere else.
pub const UNRELATED: Filler = Filler { data: Data::Random, seed: 0, verifiable: false };

/// An open file or device that is filled.
#[derive(Clone, Copy, Debug)]
pub struct Filling<'a> {
    /// Opened for writing.
    pub file: &'a File,
    /// Its name, for messages.
    pub path: &'a Path,
    /// How operations reach the kernel.
    pub engine: EngineKind,
    /// Ends the filling early, without an error.
    pub stop: &'a Stop,
}

impl Filling<'_> {
    /// Writes `total` bytes of `filler` to `region`, passing over it as often as needed.
    ///
    /// # Errors
    /// When an operation fails: there is no space, or the device does.
    pub fn fill(&self, region: Region, total: u64, filler: Filler) -> Result<()> {
        let work = Work {
            operation: Operation::Write,
            blocks: Blocks::sequential(region, BLOCK_SIZE, total),
            begin: CommonBegin::default(),
            duration_ns: u64::MAX,
            schedule: None,
            lead_ns: 0,
            batch: Some(1),
            check: None,
        };
        let tally = match self.engine {
            EngineKind::Sync => perform(Sync::new(self.file, BLOCK_SIZE)?, filler, work, self.stop)?,
            EngineKind::IoUring(_) | EngineKind::Nvme(_) => {
                let ring = Ring::new(self.file, ReadWrite, QUEUE_DEPTH, BLOCK_SIZE, &RingOptions::default())?;
                perform(ring, filler, work, self.stop)?
            }
        };
        tally.failure.map_or(Ok(()), |failure| Err(failure.describe(self.path, tally.bytes)))
    }

    /// Writes `total` unrelated bytes to `region`.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn fill_with_unrelated(&self, region: Region, total: u64) -> Result<()> {
        self.fill(region, total.next_multiple_of(PAGE), UNRELATED)
    }
}

/// Unrelated data comes in whole pages, which every target takes.
const PAGE: u64 = 4096;

fn perform(engine: impl Engine, filler: Filler, mut work: Work, stop: &Stop) -> Result<Tally> {
    let waiter = Waiter { margin_ns: 0 };
    let mut worker = Worker::new(engine, filler, waiter, stop.clone());
    worker.perform(&mut work, &mut recording::unread())
}

/// Writes `total` unrelated bytes to a nameless file in `folder`, which vanishes at once.
///
/// # Errors
/// When there is no space, or the folder's file system has no nameless files (O_TMPFILE).
pub fn precondition_folder(folder: &Path, engine: EngineKind, total: u64, stop: &Stop) -> Result<()> {
    let shown = folder.display();
    let open = |flags| OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE | flags).open(folder);
    let file = open(libc::O_DIRECT)
        .or_else(|_| open(0))
        .map_err(|error| Error::system(format!("make a file for unrelated data in {shown}"), error))?;
    let path = folder.join("(unrelated data)");
    let region = Region { offset: 0, length: total.next_multiple_of(PAGE) };
    Filling { file: &file, path: &path, engine, stop }.fill_with_unrelated(region, total)?;
    file.sync_data().map_err(|error| Error::system(format!("sync the unrelated data in {shown}"), error))
}

/// Bytes that a file system has left; `None` where it has no size of its own, as some in memory.
#[must_use]
pub fn free_bytes(system: &StatVfs) -> Option<u64> {
    (system.f_blocks > 0).then(|| system.f_bavail.saturating_mul(system.f_frsize))
}

/// Refuses unrelated data that does not fit into `folder`: trying would fill its file system first.
///
/// # Errors
/// Says how much there is.
pub fn check_space(folder: &Path, bytes: u64) -> Result<()> {
    match rustix::fs::statvfs(folder).ok().and_then(|system| free_bytes(&system)) {
        Some(free) if free < bytes => Err(Error::failed(format!(
            "--precondition writes {bytes} bytes to {}, where {free} are free; name another folder with --precondition-in, or less",
            folder.display()
        ))
        .with_source(io::Error::from_raw_os_error(libc::ENOSPC))),
        _ => Ok(()),
    }
}

/// Drops clean pages of the page cache (proc_sys_vm(5)); says whether that was allowed, which needs root.
#[must_use]
pub fn drop_page_cache() -> bool {
    std::fs::write("/proc/sys/vm/drop_caches", "1").is_ok()
}
