//! `alloc`: what `stress -m` does: allocates memory, writes one byte to each of its pages, frees it,
//! and begins anew. It makes page faults, and the kernel zeroes pages and takes them back. One
//! operation is one page; the working set is the size of one allocation, 256 MiB by default as there.
//! Small ones are new to the kernel each time as well: the C library must not keep them (below 32 MiB it
//! would, and does for `stress`, which then touches the same pages for ever).

use std::hint::black_box;

use meter::{Error, Result, units::Bytes};

use super::Work;
use crate::sys;

/// Distance of the bytes that are written, as `stress --vm-stride` has it.
const PAGE: usize = 4096;
/// Some 10 µs of page faults.
const SLICE: u64 = 16;

pub(super) struct Alloc {
    bytes: usize,
    memory: Vec<u8>,
    at: usize,
}

impl Alloc {
    pub(super) fn new(bytes: u64) -> Result<Self> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        sys::free_to_the_kernel()?;
        Ok(Self { bytes, memory: Vec::new(), at: bytes })
    }

    /// Frees the memory and asks for new, whose pages do not exist until they are written to.
    fn renew(&mut self) -> Result<()> {
        self.memory = Vec::new();
        let mut memory = Vec::new();
        memory.try_reserve_exact(self.bytes).map_err(|_| {
            Error::failed(format!("no memory for an allocation of {}", Bytes(self.bytes as u64)))
        })?;
        self.memory = black_box(memory);
        self.at = 0;
        Ok(())
    }
}

impl Work for Alloc {
    fn slice(&self) -> u64 {
        SLICE
    }

    fn run(&mut self, operations: u64) -> Result<()> {
        for _ in 0..operations {
            if self.at >= self.bytes {
                self.renew()?;
            }
            self.memory.spare_capacity_mut()[self.at].write(b'Z');
            black_box(&mut self.memory);
            self.at += PAGE;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_allocation_makes_page_faults() {
        // Small enough for the C library to keep it, if it may; and for a huge page not to fit.
        const BYTES: usize = 1 << 20;
        let mut alloc = Alloc::new(BYTES as u64).unwrap();
        let faults = || meter::sys::getrusage(libc::RUSAGE_THREAD).ru_minflt;
        for round in 0..6 {
            let before = faults();
            alloc.run((BYTES / PAGE) as u64).unwrap();
            assert!(faults() > before, "no page fault in round {round}");
        }
    }
}
