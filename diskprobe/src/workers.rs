//! The kernel's own threads behind a ring (io-wq): who gets them, how many there are, and where they run.
//!
//! A target without RWF_NOWAIT (zram, network file systems, FUSE) has no operation that the kernel may
//! start on our time: io_uring tries, gives up, and wakes a thread. Left alone these threads run on any CPU of
//! the machine, whatever `--cpus` says, and as many as there are fight for the queue.

use std::{fs::File, io::IoSliceMut, os::unix::fs::FileTypeExt};

use io_uring::Submitter;
use meter::{Error, Result, sys};
use rustix::{
    fs::OFlags,
    io::{Errno, ReadWriteFlags},
};

use crate::setup::{Granted, RingOptions};

/// Beyond the end of everything, but with room for the length.
const BEYOND: u64 = 1 << 62;

/// Whether the kernel refuses to read `file` without waiting (preadv2(2), RWF_NOWAIT). Nothing is read.
#[must_use]
pub fn blocks(file: &File) -> bool {
    let mut byte = [0; 1];
    let read = rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut byte)], BEYOND, ReadWriteFlags::NOWAIT);
    read == Err(Errno::OPNOTSUPP)
}

/// How a ring's operations get to a target that blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As the kernel does it: an attempt on our time, then a thread.
    Attempt,
    /// To a thread at once.
    HandOver {
        /// Whether our thread and that one share a CPU: then the device works while we wait, and only then.
        one_cpu: bool,
    },
}

/// Keeps the threads of the ring on the CPUs of the calling thread, and where they only pass operations on
/// to as many as there are CPUs.
///
/// # Errors
/// When the kernel refuses for another reason than its age.
pub fn keep(
    submitter: &Submitter<'_>,
    file: &File,
    options: &RingOptions,
    granted: &mut Granted,
) -> Result<Way> {
    if options.submission_poll.is_some() {
        // They belong to the submitting thread of the kernel.
        return Ok(Way::Attempt);
    }
    let allowed =
        sys::sched_getaffinity().map_err(|error| Error::system("ask for the thread's CPUs", error))?;
    let mut note = |name, result: std::io::Result<()>| match result {
        Ok(()) => {
            granted.granted.push(name);
            Ok(true)
        }
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            granted.refused.push(name);
            Ok(false)
        }
        Err(error) => Err(Error::system(format!("set {name} of io_uring"), error)),
    };
    let here = note("IOWQ_AFF", submitter.register_iowq_aff(&sys::cpu_set(&allowed)))?;
    if !here || !only_passes_on(file) {
        return Ok(Way::Attempt);
    }
    // Of those that the kernel counts as bounded by the device, and of the others: which of both an operation
    // gets that was handed over at once depends on the kernel's version.
    let most = u32::try_from(allowed.len()).unwrap_or(u32::MAX);
    if !note("IOWQ_MAX_WORKERS", submitter.register_iowq_max_workers(&mut [most, most]))? {
        return Ok(Way::Attempt);
    }
    granted.granted.push("ASYNC");
    Ok(Way::HandOver { one_cpu: most == 1 })
}

/// Whether operations on `file` are handed to a block device and end later, or are the CPU's own work: more
/// threads then gain nothing. On a file system each keeps a thread until it has ended.
fn only_passes_on(file: &File) -> bool {
    let direct = rustix::fs::fcntl_getfl(file).is_ok_and(|flags| flags.contains(OFlags::DIRECT));
    direct && file.metadata().is_ok_and(|metadata| metadata.file_type().is_block_device())
}
