//! The sync engine: pread(2) and pwrite(2), one operation in flight, as dd does it.

use std::{fs::File, os::unix::fs::FileExt};

use meter::Result;

use crate::{
    buffer::Buffers,
    engine::{Completion, Engine, Operation, Progress, Request, Slot},
    setup::Granted,
};

/// An engine whose operations happen inside [`Engine::wait`].
pub struct Sync<'a> {
    file: &'a File,
    buffers: Buffers,
    pending: Option<Progress>,
    done: Option<Completion>,
}

/// Its only slot.
const SLOT: Slot = Slot(0);

impl<'a> Sync<'a> {
    /// An engine for operations of up to `length` bytes on `file`.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn new(file: &'a File, length: u32) -> Result<Self> {
        Ok(Self { file, buffers: Buffers::new(1, length as usize)?, pending: None, done: None })
    }

    /// One system call for what is left of `progress`: bytes, or a negative error number.
    fn transfer(&mut self, progress: &Progress) -> i32 {
        let Request { operation, offset, length } = progress.rest();
        let start = progress.bytes as usize;
        let block = &mut self.buffers.block_mut(0)[start..start + length as usize];
        let result = match operation {
            Operation::Write => self.file.write_at(block, offset),
            Operation::Read => self.file.read_at(block, offset),
        };
        match result {
            Ok(bytes) => i32::try_from(bytes).unwrap_or(i32::MAX),
            Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
        }
    }
}

impl Engine for Sync<'_> {
    fn slots(&self) -> u16 {
        1
    }

    fn granted(&self) -> Option<&Granted> {
        None
    }

    fn block(&self, _: Slot) -> &[u8] {
        self.buffers.block(0)
    }

    fn block_mut(&mut self, _: Slot) -> &mut [u8] {
        self.buffers.block_mut(0)
    }

    fn queue(&mut self, _: Slot, request: Request) {
        assert!(self.pending.is_none(), "one operation at a time");
        assert!(request.length as usize <= self.buffers.length(), "the request is longer than its block");
        self.pending = Some(Progress::new(request));
    }

    fn submit(&mut self) -> Result<()> {
        Ok(())
    }

    fn wait(&mut self, _: u32, _: Option<u64>) -> Result<()> {
        let Some(mut progress) = self.pending.take() else { return Ok(()) };
        self.done = loop {
            let result = self.transfer(&progress);
            if result == -libc::EINTR {
                continue;
            }
            if let Some(completion) = progress.advance(SLOT, result) {
                break Some(completion);
            }
        };
        Ok(())
    }

    fn reap(&mut self, completions: &mut Vec<Completion>) {
        completions.extend(self.done.take());
    }
}
