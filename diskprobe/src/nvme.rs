//! NVMe commands: reads and writes that go straight to a namespace's generic device (`/dev/ng0n1`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use meter::{Error, Result};

use crate::{
    engine::{Operation, Request},
    sysfs::{DeviceNumber, read_number},
};

/// A namespace: what a command needs to name blocks in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its number (NSID).
    pub id: u32,
    /// Length of a logical block, in bytes.
    pub block_bytes: u32,
    /// Size, in bytes.
    pub size_bytes: u64,
    /// The block device of the same namespace.
    pub device: DeviceNumber,
}

/// Opcodes of the NVM command set (NVM Express NVM Command Set Specification, figure 22).
const WRITE: u8 = 1;
const READ: u8 = 2;

/// Status codes (NVM Express Base Specification, status code type 0 and 2): the few with a fitting errno.
const LBA_OUT_OF_RANGE: u32 = 0x80;
const CAPACITY_EXCEEDED: u32 = 0x81;
const WRITE_TO_READ_ONLY: u32 = 0x182;

impl Namespace {
    /// `NVME_URING_CMD_IO`: `_IOWR('N', 0x80, struct nvme_uring_cmd)` (linux/nvme_ioctl.h).
    pub const COMMAND: u32 = 3 << 30 | 72 << 16 | (b'N' as u32) << 8 | 0x80;

    /// The namespace whose generic character device is at `path`.
    ///
    /// # Errors
    /// Exit code 3 when it is something else, or has metadata that a plain command can't carry.
    pub fn of(path: &Path, number: DeviceNumber) -> Result<Self> {
        let shown = path.display();
        let not_nvme = || {
            Error::unavailable(format!(
                "{shown} is not an NVMe generic device such as /dev/ng0n1, which --engine nvme needs (Linux 5.19)"
            ))
        };
        let folder = PathBuf::from(format!("/sys/dev/char/{}:{}", number.major, number.minor));
        let folder = folder.canonicalize().map_err(|_| not_nvme())?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let block = name.strip_prefix("ng").map(|rest| format!("/sys/class/block/nvme{rest}"));
        let block = block.map(PathBuf::from).filter(|block| block.exists()).ok_or_else(not_nvme)?;
        let fact = |name: &str| {
            read_number(block.join(name))
                .ok_or_else(|| Error::unavailable(format!("sysfs has no {name} of {shown}")))
        };
        let device = DeviceNumber::of_folder(&block);
        if fs::read_to_string(block.join("metadata_bytes")).is_ok_and(|bytes| bytes.trim() != "0") {
            return Err(Error::unavailable(format!(
                "{shown} is formatted with metadata; use its block device"
            )));
        }
        Ok(Self {
            id: fact("nsid")? as u32,
            block_bytes: fact("queue/logical_block_size")? as u32,
            size_bytes: fact("size")? * 512,
            device: device.ok_or_else(not_nvme)?,
        })
    }

    /// `struct nvme_uring_cmd` of a request whose data lies at `address`.
    #[must_use]
    pub fn command(&self, request: Request, address: u64) -> [u8; 80] {
        let Request { operation, offset, length } = request;
        let first = offset / u64::from(self.block_bytes);
        // The number of blocks is "0's based": 0 means one.
        let count = (length / self.block_bytes).saturating_sub(1);
        let mut command = [0; 80];
        command[0] = match operation {
            Operation::Write => WRITE,
            Operation::Read => READ,
        };
        let mut put = |at: usize, bytes: &[u8]| command[at..at + bytes.len()].copy_from_slice(bytes);
        put(4, &self.id.to_ne_bytes());
        put(24, &address.to_ne_bytes());
        put(36, &length.to_ne_bytes());
        put(40, &(first as u32).to_ne_bytes());
        put(44, &((first >> 32) as u32).to_ne_bytes());
        put(48, &count.to_ne_bytes());
        command
    }

    /// The error number that comes closest to a drive's status.
    #[must_use]
    pub fn errno_of(status: u32) -> i32 {
        match status & 0x7ff {
            LBA_OUT_OF_RANGE | CAPACITY_EXCEEDED => libc::ENOSPC,
            WRITE_TO_READ_ONLY => libc::EROFS,
            _ => libc::EIO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMESPACE: Namespace = Namespace {
        id: 3,
        block_bytes: 4096,
        size_bytes: 1 << 40,
        device: DeviceNumber { major: 259, minor: 0 },
    };

    #[test]
    fn a_command_has_the_layout_of_the_kernels_header() {
        let request = Request { operation: Operation::Read, offset: (1 << 45) + 8192, length: 131_072 };
        let command = NAMESPACE.command(request, 0x1122_3344_5566_7788);
        let word = |at: usize| u32::from_ne_bytes(command[at..at + 4].try_into().unwrap());
        assert_eq!((command[0], word(4)), (READ, 3));
        assert_eq!(u64::from_ne_bytes(command[24..32].try_into().unwrap()), 0x1122_3344_5566_7788);
        assert_eq!(word(36), 131_072);
        assert_eq!((word(40), word(44), word(48)), (2, 2, 31), "block 2^33 + 2, 32 blocks");
    }

    #[test]
    fn the_command_number_is_the_kernels() {
        assert_eq!(Namespace::COMMAND, 0xc048_4e80);
    }

    #[test]
    fn another_character_device_is_refused() {
        let error = Namespace::of(Path::new("/dev/null"), DeviceNumber { major: 1, minor: 3 }).unwrap_err();
        assert_eq!(error.kind().exit_code(), 3);
        assert!(error.to_string().contains("/dev/ng0n1"), "{error}");
    }
}
