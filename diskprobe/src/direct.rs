//! What O_DIRECT requires of offsets and lengths, and where a file system accepts it without heeding it.

use std::{fs::File, path::Path};

use rustix::fs::{AtFlags, CWD, IFlags, Statx, StatxFlags, statfs, statx};
use serde::Serialize;

/// Who says what O_DIRECT requires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AlignmentSource {
    /// The file itself (statx(2), STATX_DIOALIGN, Linux 6.1).
    Statx,
    /// The file system's block: it does not tell, and passes smaller operations through the page cache.
    FileSystemBlock,
    /// The disk's logical block.
    LogicalBlock,
    /// Nobody: 512 bytes, the smallest there are.
    #[default]
    Assumed,
}

/// File systems that accept operations smaller than their block with O_DIRECT and do them through the page cache.
const BY_THEIR_BLOCK: [&str; 2] = ["btrfs", "bcachefs"];

/// What O_DIRECT on `path`, or on a file made in it, requires offsets and lengths to be multiples of, in bytes: at
/// least 512.
#[must_use]
pub fn alignment(
    path: &Path,
    file_system: Option<&str>,
    logical_block: Option<u32>,
) -> (u32, AlignmentSource) {
    let told = statx(CWD, path, AtFlags::empty(), StatxFlags::DIOALIGN).ok().as_ref().and_then(told);
    let (bytes, source) = match (told, file_system, logical_block) {
        (Some(bytes @ 1..), ..) => (bytes, AlignmentSource::Statx),
        (_, Some(kind), _) if BY_THEIR_BLOCK.contains(&kind) => {
            let block = statfs(path).ok().and_then(|system| u32::try_from(system.f_bsize).ok());
            (block.unwrap_or(4096), AlignmentSource::FileSystemBlock)
        }
        (_, _, Some(block)) => (block, AlignmentSource::LogicalBlock),
        _ => (512, AlignmentSource::Assumed),
    };
    (bytes.max(512), source)
}

/// The same as an opened file tells it: 0 where it accepts O_DIRECT and does not heed it, `None` where it doesn't tell.
#[must_use]
pub fn alignment_told_by(file: &File) -> Option<u32> {
    statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok().as_ref().and_then(told)
}

fn told(found: &Statx) -> Option<u32> {
    (found.stx_mask & StatxFlags::DIOALIGN.bits() != 0).then_some(found.stx_dio_offset_align)
}

/// Whether the file system keeps checksums of this file's data and so may do direct writes through the page cache:
/// its owner could change a buffer while it is written.
#[must_use]
pub fn has_checksums(file: &File, file_system: Option<&str>) -> bool {
    file_system == Some("btrfs")
        && rustix::fs::ioctl_getflags(file).is_ok_and(|flags| !flags.contains(IFlags::NOCOW))
}
