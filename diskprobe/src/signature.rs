//! What a block device holds, from its first and last bytes.

use crate::data::{SECTOR, place_of};

/// How many bytes of a device's beginning and of its end are looked at.
pub const PROBED: usize = 1 << 20;

/// A mark that a file system, volume manager or partition table leaves at a fixed place.
struct Mark {
    name: &'static str,
    offset: usize,
    bytes: &'static [u8],
}

const fn mark(name: &'static str, offset: usize, bytes: &'static [u8]) -> Mark {
    Mark { name, offset, bytes }
}

/// Marks from the device's beginning, as util-linux' libblkid and the kernel's headers know them.
/// Containers come before what their beginnings resemble.
const MARKS: &[Mark] = &[
    mark("a LUKS volume", 0, b"LUKS\xba\xbe"),
    mark("an LVM physical volume", 512, b"LABELONE"),
    mark("a RAID member (md 1.1)", 0, b"\xfc\x4e\x2b\xa9"),
    mark("a RAID member (md 1.2)", 4096, b"\xfc\x4e\x2b\xa9"),
    mark("a bcache device", 4120, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca"),
    mark("swap space", 4086, b"SWAPSPACE2"),
    mark("swap space", 4086, b"SWAP-SPACE"),
    mark("swap space", 16_374, b"SWAPSPACE2"),
    mark("swap space", 65_526, b"SWAPSPACE2"),
    mark("an ext2, ext3 or ext4 file system", 1080, b"\x53\xef"),
    mark("an XFS file system", 0, b"XFSB"),
    mark("a Btrfs file system", 65_600, b"_BHRfS_M"),
    mark("an F2FS file system", 1024, b"\x10\x20\xf5\xf2"),
    mark("an EROFS file system", 1024, b"\xe2\xe1\xf5\xe0"),
    mark("a SquashFS file system", 0, b"hsqs"),
    mark("an NTFS file system", 3, b"NTFS    "),
    mark("an exFAT file system", 3, b"EXFAT   "),
    mark("a FAT file system", 82, b"FAT32   "),
    mark("a FAT file system", 54, b"FAT16   "),
    mark("a FAT file system", 54, b"FAT12   "),
    mark("an ISO 9660 file system", 32_769, b"CD001"),
    mark("a UDF file system", 32_769, b"NSR0"),
    mark("a ReiserFS file system", 65_588, b"ReIsEr"),
    mark("a JFS file system", 32_768, b"JFS1"),
    mark("a NILFS2 file system", 1030, b"\x34\x34"),
    mark("a bcachefs file system", 4120, b"\xc6\x85\x73\xf6\x66\xce\x90\xa9"),
    mark("a GPT partition table", 512, b"EFI PART"),
    mark("a GPT partition table", 4096, b"EFI PART"),
    mark("a partition table or boot sector", 510, b"\x55\xaa"),
];

/// ZFS' uberblock, either byte order: one per KiB in the second half of each of its labels.
const ZFS_MAGIC: [[u8; 8]; 2] = [0x00ba_b10c_u64.to_le_bytes(), 0x00ba_b10c_u64.to_be_bytes()];

/// What the device seems to hold; `None` when it is empty: all zeros, or data of this program.
///
/// `head` are its first bytes and `tail` its last; both up to [`PROBED`] long and of whole sectors.
#[must_use]
pub fn content(head: &[u8], tail: &[u8]) -> Option<&'static str> {
    let found = MARKS.iter().find(|mark| {
        // Random data of this program may look like a short mark.
        head[mark.offset.min(head.len())..].starts_with(mark.bytes) && !is_own(head, mark.offset)
    });
    if let Some(mark) = found {
        return Some(mark.name);
    }
    if is_zfs(head) {
        return Some("a ZFS pool member");
    }
    if is_raid_at_end(tail) {
        return Some("a RAID member (md 0.90 or 1.0)");
    }
    if tail.len() >= SECTOR && tail[tail.len() - SECTOR..].starts_with(b"EFI PART") {
        return Some("a GPT partition table");
    }
    let (head, _) = head.as_chunks::<SECTOR>();
    let (tail, _) = tail.as_chunks::<SECTOR>();
    let is_free = |sector: &[u8; SECTOR]| sector.iter().all(|byte| *byte == 0) || place_of(sector).is_some();
    (!head.iter().chain(tail).all(is_free)).then_some("data")
}

/// Whether the sector around `offset` is data of this program.
fn is_own(head: &[u8], offset: usize) -> bool {
    let (sectors, _) = head.as_chunks::<SECTOR>();
    sectors.get(offset / SECTOR).is_some_and(|sector| place_of(sector).is_some())
}

fn is_zfs(head: &[u8]) -> bool {
    let uberblocks = head.get(128 << 10..256 << 10).unwrap_or_default();
    uberblocks.chunks_exact(1024).any(|block| ZFS_MAGIC.iter().any(|magic| block.starts_with(magic)))
}

/// md writes its older superblocks near the end: 0.90 in the last whole 64 KiB block but one, 1.0 from
/// 8 KiB before the end, aligned to 4 KiB.
fn is_raid_at_end(tail: &[u8]) -> bool {
    let last = tail.len().saturating_sub(192 << 10);
    let (sectors, _) = tail[last..].as_chunks::<SECTOR>();
    sectors.iter().any(|sector| sector.starts_with(b"\xfc\x4e\x2b\xa9"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::stamp;

    #[test]
    fn zeros_and_own_data_are_empty() {
        let mut head = vec![0; PROBED];
        assert_eq!(content(&head, &head), None);
        stamp(&mut head[..PROBED / 2], 0, 7);
        assert_eq!(content(&head, &[0; 4096]), None);
    }

    #[test]
    fn every_mark_is_found_by_its_name() {
        for mark in MARKS {
            let mut head = vec![0; PROBED];
            head[mark.offset..mark.offset + mark.bytes.len()].copy_from_slice(mark.bytes);
            assert_eq!(content(&head, &[]), Some(mark.name));
        }
    }

    #[test]
    fn a_single_byte_anywhere_in_the_probed_parts_is_data() {
        let mut head = vec![0; PROBED];
        head[777_777] = 1;
        assert_eq!(content(&head, &[]), Some("data"));
        assert_eq!(content(&[0; 4096], &head), Some("data"));
    }

    #[test]
    fn marks_at_the_end_are_found() {
        let mut tail = vec![0; PROBED];
        tail[PROBED - 8192..][..4].copy_from_slice(b"\xfc\x4e\x2b\xa9");
        assert_eq!(content(&[], &tail), Some("a RAID member (md 0.90 or 1.0)"));
        let mut tail = vec![0; PROBED];
        tail[PROBED - 512..][..8].copy_from_slice(b"EFI PART");
        assert_eq!(content(&[], &tail), Some("a GPT partition table"));
    }
}
