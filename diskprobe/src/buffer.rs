//! Memory for O_DIRECT: aligned, faulted in, in one piece.
#![allow(unsafe_code)] // A mapping of its own: the standard library can't allocate page-aligned memory that is given back whole.

use std::{io, ptr::NonNull};

use meter::{Error, Result};

/// Alignment of every block in memory: a page, which satisfies every block device.
pub const ALIGNMENT: usize = 4096;

/// `count` blocks of equal length, each aligned to [`ALIGNMENT`], zeroed and resident.
#[derive(Debug)]
pub struct Buffers {
    start: NonNull<u8>,
    count: usize,
    length: usize,
    stride: usize,
}

// SAFETY: the mapping belongs to this value alone and is reached only through its methods, which
// borrow it like a `Vec<u8>` does.
unsafe impl Send for Buffers {}

impl Buffers {
    /// Allocates and faults in the blocks (mmap(2), MAP_POPULATE).
    ///
    /// # Errors
    /// When there is not enough memory, or the sizes do not fit an address space.
    pub fn new(count: usize, length: usize) -> Result<Self> {
        let stride = length.max(1).next_multiple_of(ALIGNMENT);
        let size = stride.checked_mul(count.max(1)).filter(|size| *size <= isize::MAX as usize);
        let size =
            size.ok_or_else(|| Error::bad_arguments("the buffers are larger than the address space"))?;
        // SAFETY: a fresh anonymous mapping; no existing memory is named.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            let error = io::Error::last_os_error();
            return Err(Error::system(format!("allocate {count} buffers of {length} bytes"), error));
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| Error::failed("mmap gave address 0"))?;
        Ok(Self { start, count: count.max(1), length, stride })
    }

    /// How many blocks there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of one block.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Bytes of all blocks with their padding.
    #[must_use]
    pub fn size(&self) -> usize {
        self.stride * self.count
    }

    /// Address of block `index`, for the kernel.
    ///
    /// # Panics
    /// When there is no such block.
    #[must_use]
    #[inline]
    pub fn address(&self, index: usize) -> *mut u8 {
        assert!(index < self.count, "block {index} of {}", self.count);
        // SAFETY: `index` is below `count`, so the offset stays inside the mapping.
        unsafe { self.start.as_ptr().add(index * self.stride) }
    }

    /// Block `index`. Whoever gave its [`Self::address`] away must not call this while it is in use there.
    ///
    /// # Panics
    /// When there is no such block.
    #[must_use]
    #[inline]
    pub fn block(&self, index: usize) -> &[u8] {
        // SAFETY: inside the mapping, initialised by the kernel with zeros; writers through the raw
        // address are excluded by whoever made them possible with an unsafe call of their own.
        unsafe { std::slice::from_raw_parts(self.address(index), self.length) }
    }

    /// Block `index`, to fill; the same holds as for [`Self::block`].
    ///
    /// # Panics
    /// When there is no such block.
    #[must_use]
    #[inline]
    pub fn block_mut(&mut self, index: usize) -> &mut [u8] {
        // SAFETY: as in `block`; `&mut self` excludes other borrows.
        unsafe { std::slice::from_raw_parts_mut(self.address(index), self.length) }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this size and nobody can borrow it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.size()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_apart_and_zero() {
        let mut buffers = Buffers::new(3, 5000).unwrap();
        for index in 0..3 {
            assert_eq!(buffers.address(index) as usize % ALIGNMENT, 0);
            let block = buffers.block_mut(index);
            assert_eq!(block, [0; 5000]);
            block.fill(index as u8 + 1);
        }
        assert!((0..3).all(|index| buffers.block(index) == [index as u8 + 1; 5000]));
    }
}
