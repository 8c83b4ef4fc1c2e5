//! `sync`: what `stress -i` does, sync(2) without end: the whole system's unwritten data goes to its
//! disks, everybody's. One operation is one call.

use meter::Result;

use super::Work;
use crate::sys;

pub(super) struct Sync;

impl Work for Sync {
    fn slice(&self) -> u64 {
        1
    }

    fn run(&mut self, operations: u64) -> Result<()> {
        for _ in 0..operations {
            sys::sync();
        }
        Ok(())
    }
}
