//! `syscall`: the way into the kernel and back. One operation is one getppid(2), a call that does next
//! to nothing and that no library keeps an answer of.

use meter::Result;

use super::Work;
use crate::sys;

/// About 10 µs.
const SLICE: u64 = 64;

pub(super) struct Syscall;

impl Work for Syscall {
    fn slice(&self) -> u64 {
        SLICE
    }

    fn run(&mut self, operations: u64) -> Result<()> {
        for _ in 0..operations {
            sys::getppid();
        }
        Ok(())
    }
}
