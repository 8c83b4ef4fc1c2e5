//! Which parts of a file have data on the disk: what is a hole, or reserved and never written, is read as zeros
//! without the disk, and a hole needs space when it is written.
#![allow(unsafe_code)] // An ioctl without a safe wrapper.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
};

use rustix::{
    fs::{SeekFrom, seek},
    io::Errno,
};

use crate::blocks::Region;

/// What a part of a file consists of, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extents {
    /// Written data, also if it is not on the disk yet.
    pub data: u64,
    /// Reserved on the disk and never written. Where the file system does not tell, it is among the holes.
    pub unwritten: u64,
    /// Nothing.
    pub holes: u64,
}

/// `FS_IOC_FIEMAP`: `_IOWR('f', 11, struct fiemap)` (linux/fiemap.h).
const FIEMAP: u32 = 0xc020_660b;
/// Dirty pages are written first, so that what they become is known.
const FLAG_SYNC: u32 = 1;
const EXTENT_LAST: u32 = 1;
const EXTENT_UNWRITTEN: u32 = 0x800;
/// Extents of one call.
const BATCH: usize = 256;

/// `struct fiemap_extent`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Extent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved: [u64; 2],
    flags: u32,
    more_reserved: [u32; 3],
}

/// `struct fiemap` with room for extents.
#[repr(C)]
struct Request {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    room: u32,
    reserved: u32,
    extents: [Extent; BATCH],
}

impl Extents {
    /// Bytes that are read without the disk.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.unwritten + self.holes
    }

    /// Of `region` in `file`. Past its end there are only holes, or what was reserved.
    ///
    /// # Errors
    /// When the file system refuses the question for another reason than not knowing it.
    pub fn of(file: &File, region: Region) -> io::Result<Self> {
        match Self::from_map(file, region, |_| ()) {
            Err(error) if is_unknown(&error) => Self::from_seeking(file, region),
            result => result,
        }
    }

    /// Adds what another part consists of.
    pub fn add(&mut self, other: &Self) {
        self.data += other.data;
        self.unwritten += other.unwritten;
        self.holes += other.holes;
    }

    fn from_map(file: &File, region: Region, mut hole: impl FnMut(Region)) -> io::Result<Self> {
        let mut found = Self::default();
        let mut skip = |from: u64, to: u64| {
            if from < to {
                hole(Region { offset: from, length: to - from });
            }
            to - from
        };
        let end = region.offset + region.length;
        let mut start = region.offset;
        let mut request = Box::new(Request {
            start,
            length: 0,
            flags: FLAG_SYNC,
            mapped: 0,
            room: BATCH as u32,
            reserved: 0,
            extents: [Extent::default(); BATCH],
        });
        'all: while start < end {
            (request.start, request.length) = (start, end - start);
            // SAFETY: the kernel writes at most `room` extents behind the head, as many as there are.
            let result = unsafe { libc::ioctl(file.as_raw_fd(), FIEMAP as _, &raw mut *request) };
            if result != 0 {
                return Err(io::Error::last_os_error());
            }
            let extents = &request.extents[..(request.mapped as usize).min(BATCH)];
            if extents.is_empty() {
                break;
            }
            for extent in extents {
                let from = extent.logical.max(start).min(end);
                let to = extent.logical.saturating_add(extent.length).clamp(from, end);
                found.holes += skip(start, from);
                if extent.flags & EXTENT_UNWRITTEN == 0 {
                    found.data += to - from;
                } else {
                    found.unwritten += to - from;
                }
                start = to;
                if extent.flags & EXTENT_LAST != 0 {
                    break 'all;
                }
            }
        }
        found.holes += skip(start, end);
        Ok(found)
    }

    /// By lseek(2) with `SEEK_DATA` and `SEEK_HOLE`, on a description of the file that nobody else reads with.
    fn from_seeking(file: &File, region: Region) -> io::Result<Self> {
        let mut found = Self::default();
        let end = region.offset + region.length;
        let mut start = region.offset;
        while start < end {
            let data = match seek(file, SeekFrom::Data(start)) {
                Ok(data) => data.min(end),
                Err(Errno::NXIO) => end,
                // It knows no holes: all that was written is data.
                Err(Errno::INVAL) => start,
                Err(error) => return Err(error.into()),
            };
            let hole = match seek(file, SeekFrom::Hole(data)) {
                Ok(hole) => hole.clamp(data, end),
                Err(Errno::NXIO | Errno::INVAL) => end,
                Err(error) => return Err(error.into()),
            };
            found.holes += data - start;
            found.data += hole - data;
            start = if data == hole { end } else { hole };
        }
        Ok(found)
    }
}

/// The space that a region of a file still needs.
#[derive(Debug)]
pub struct Unreserved {
    /// Bytes; where the file system does not tell holes from space that was reserved and never written, at least so
    /// many.
    pub bytes: u64,
    /// Where it is needed; where the file system does not tell, all of the region.
    pub parts: Vec<Region>,
}

impl Unreserved {
    /// Of `region` in `file`.
    ///
    /// # Errors
    /// As [`Extents::of`].
    pub fn of(file: &File, region: Region) -> io::Result<Self> {
        let mut parts = Vec::new();
        match Extents::from_map(file, region, |hole| parts.push(hole)) {
            Err(error) if is_unknown(&error) => {
                let metadata = file.metadata()?;
                let whole = Region { offset: 0, length: metadata.len() };
                let reserved =
                    (metadata.blocks() * 512).saturating_sub(Extents::from_seeking(file, whole)?.data);
                let holes = Extents::from_seeking(file, region)?.holes;
                Ok(Self { bytes: holes.saturating_sub(reserved), parts: vec![region] })
            }
            result => result.map(|found| Self { bytes: found.holes, parts }),
        }
    }
}

/// Whether the file system has no map of extents to show.
fn is_unknown(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOTTY))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn holes_and_data_are_told_in_both_ways() {
        let file = tempfile::tempfile_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap();
        file.set_len(16 << 20).unwrap();
        for block in [1, 2, 6] {
            file.write_all_at(&[1; 1 << 20], block << 20).unwrap();
        }
        file.sync_all().unwrap();
        let region = Region { offset: 2 << 20, length: 6 << 20 };
        let expected = Extents { data: 2 << 20, unwritten: 0, holes: 4 << 20 };
        assert_eq!(Extents::from_seeking(&file, region).unwrap(), expected);
        match Extents::from_map(&file, region, |_| ()) {
            Ok(found) => assert_eq!(found, expected),
            Err(error) => eprintln!("skipped: no FIEMAP here: {error}"),
        }
        let beyond = Region { offset: 15 << 20, length: 4 << 20 };
        assert_eq!(Extents::of(&file, beyond).unwrap().holes, 4 << 20);
    }

    #[test]
    fn reserved_space_that_was_never_written_is_no_data() {
        use rustix::fs::{FallocateFlags, fallocate};
        let file = tempfile::tempfile_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap();
        if let Err(error) = fallocate(&file, FallocateFlags::empty(), 0, 4 << 20) {
            return eprintln!("skipped: {error}");
        }
        file.write_all_at(&[1; 1 << 20], 1 << 20).unwrap();
        let found = Extents::of(&file, Region { offset: 0, length: 8 << 20 }).unwrap();
        assert_eq!(found.data, 1 << 20, "written, if only to the page cache");
        assert_eq!(found.holes + found.unwritten, 7 << 20);
    }
}
