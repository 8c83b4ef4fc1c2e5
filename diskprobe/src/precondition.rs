//! Unrelated data, written before a run so that no cache still holds what the run is about.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use meter::{Error, Result, control::Stop};

use crate::{
    blocks::{Blocks, Region},
    data::{Data, Filler},
    engine::Operation,
    ring::Ring,
    setup::RingOptions,
    worker::{Latencies, Progress, Work, Worker},
};
use std::sync::Arc;

/// Length of one operation.
const BLOCK_SIZE: u32 = 1 << 20;
/// Operations in flight.
const QUEUE_DEPTH: u16 = 4;

/// Writes `total` bytes to a nameless file beside `path`, which vanishes at once, and drops the page cache.
///
/// # Errors
/// When there is no space or the folder is on a file system without nameless files.
pub fn write(path: &Path, total: u64, stop: &Stop) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed =
        |error| Error::system(format!("write {total} bytes of precondition in {}", folder.display()), error);
    let file: File = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_TMPFILE | libc::O_DIRECT | libc::O_CLOEXEC)
        .open(folder)
        .map_err(failed)?;
    let filler = Filler { data: Data::Random, seed: 0x7072_6563_6f6e_6421, refill: false };
    let ring = Ring::new(&file, QUEUE_DEPTH, BLOCK_SIZE, &RingOptions::default())?;
    let waiter = meter::wait::Waiter { margin_ns: 0 };
    let mut worker = Worker::new(ring, filler, waiter, stop.clone(), Arc::new(Progress::default()));
    let region = Region { offset: 0, length: total };
    let mut work = Work {
        operation: Operation::Write,
        blocks: Blocks::sequential(region, BLOCK_SIZE, total),
        until_ns: u64::MAX,
        schedule: None,
        batch: 1,
    };
    let tally = worker.perform(&mut work, &mut Latencies::new(false))?;
    if let Some(failure) = tally.failure {
        return Err(Error::failed(format!(
            "write {total} bytes of precondition in {}: it failed after {} bytes ({:?})",
            folder.display(),
            tally.bytes,
            failure.fault
        )));
    }
    file.sync_data().map_err(failed)?;
    // Only root may, and only the page cache is meant: without it the run still has unrelated data before it.
    let _ = std::fs::write("/proc/sys/vm/drop_caches", "1");
    Ok(())
}
