//! The ring: io_uring with registered buffers and one registered file.
//!
//! It owns its buffers and hands out slot numbers. A slot's block can be borrowed only while no
//! operation on it is in flight, which is checked at every access, so the kernel's hold on the
//! memory can't be broken from outside this file.
#![allow(unsafe_code)] // The kernel borrows the buffers of operations in flight.

use std::{fs::File, io, os::fd::AsRawFd};

use io_uring::{IoUring, opcode, squeue, types};
use meter::{Error, Result};

use crate::{
    buffer::Buffers,
    engine::{Completion, Engine, Operation, Progress, Request, Slot},
    setup::{self, Granted, RingOptions},
};

/// An io_uring with its buffers. Dropping it waits for what is in flight.
pub struct Ring {
    // Dropped in this order: the kernel's side first, then the memory that it borrowed.
    ring: IoUring,
    buffers: Buffers,
    busy: Box<[Option<Progress>]>,
    in_flight: u32,
    granted: Granted,
}

impl Ring {
    /// A ring for `slots` operations of up to `length` bytes on `file`.
    ///
    /// # Errors
    /// Exit code 3 when io_uring is missing or disabled, when something of `options` was refused, or
    /// when the limit of locked memory is too low.
    pub fn new(file: &File, slots: u16, length: u32, options: &RingOptions) -> Result<Self> {
        let (ring, granted) = setup::build(u32::from(slots), options)?;
        let buffers = Buffers::new(usize::from(slots), length as usize)?;
        let whole = libc::iovec { iov_base: buffers.address(0).cast(), iov_len: buffers.size() };
        // SAFETY: the memory is the mapping of `buffers`, which this value owns and drops after the ring.
        unsafe { ring.submitter().register_buffers(&[whole]) }
            .map_err(|error| setup::register_refused(error, buffers.size()))?;
        ring.submitter()
            .register_files(&[file.as_raw_fd()])
            .map_err(|error| Error::system("register the file with io_uring", error))?;
        let busy = vec![None; usize::from(slots)].into_boxed_slice();
        Ok(Self { ring, buffers, busy, in_flight: 0, granted })
    }

    /// What the kernel granted of the ring's features.
    #[must_use]
    pub fn granted(&self) -> &Granted {
        &self.granted
    }

    fn push(&mut self, slot: Slot, request: Request, skip: u32) {
        let index = usize::from(slot.0);
        let entry = entry(&self.buffers, index, request, skip).user_data(u64::from(slot.0));
        // SAFETY: the entry names memory of `buffers` only (`entry` keeps within the block), which lives
        // as long as the ring, and which nobody else reaches while `busy[index]` is set.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        assert!(pushed.is_ok(), "the queue has an entry for every slot");
        self.in_flight += 1;
    }

    fn assert_free(&self, slot: Slot) {
        assert!(self.busy[usize::from(slot.0)].is_none(), "slot {} is in flight", slot.0);
    }
}

/// The kernel's form of a request on block `index`, `skip` bytes into it.
fn entry(buffers: &Buffers, index: usize, request: Request, skip: u32) -> squeue::Entry {
    // SAFETY: `skip` plus the request's length is at most the block's length, as `queue` checked.
    let address = unsafe { buffers.address(index).add(skip as usize) };
    let file = types::Fixed(0);
    match request.operation {
        Operation::Write => {
            opcode::WriteFixed::new(file, address, request.length, 0).offset(request.offset).build()
        }
        Operation::Read => {
            opcode::ReadFixed::new(file, address, request.length, 0).offset(request.offset).build()
        }
    }
}

/// A signal, a timeout or a moment without resources ends a call early; the loop looks again.
fn entered(result: io::Result<usize>, what: &str) -> Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::EINTR | libc::ETIME | libc::EAGAIN | libc::EBUSY) => Ok(()),
            _ => Err(Error::system(what, error)),
        },
    }
}

impl Engine for Ring {
    fn slots(&self) -> u16 {
        self.busy.len() as u16
    }

    fn block(&self, slot: Slot) -> &[u8] {
        self.assert_free(slot);
        // SAFETY: the slot is free, so no operation on its block is in flight.
        unsafe { self.buffers.block(usize::from(slot.0)) }
    }

    fn block_mut(&mut self, slot: Slot) -> &mut [u8] {
        self.assert_free(slot);
        // SAFETY: the slot is free, so no operation on its block is in flight.
        unsafe { self.buffers.block_mut(usize::from(slot.0)) }
    }

    #[inline]
    fn queue(&mut self, slot: Slot, request: Request) {
        self.assert_free(slot);
        assert!(request.length as usize <= self.buffers.length(), "the request is longer than its block");
        self.busy[usize::from(slot.0)] = Some(Progress::new(request));
        self.push(slot, request, 0);
    }

    #[inline]
    fn submit(&mut self) -> Result<()> {
        entered(self.ring.submitter().submit(), "submit to io_uring")
    }

    #[inline]
    fn wait(&mut self, at_least: u32, timeout_ns: Option<u64>) -> Result<()> {
        let at_least = at_least.min(self.in_flight) as usize;
        let result = match timeout_ns {
            None if self.ring.completion().len() >= at_least => return Ok(()),
            None => self.ring.submitter().submit_and_wait(at_least),
            Some(ns) => {
                let limit = types::Timespec::new().sec(ns / 1_000_000_000).nsec((ns % 1_000_000_000) as u32);
                self.ring
                    .submitter()
                    .submit_with_args(at_least.max(1), &types::SubmitArgs::new().timespec(&limit))
            }
        };
        entered(result, "wait for io_uring")
    }

    #[inline]
    fn reap(&mut self, completions: &mut Vec<Completion>) {
        let rest = {
            let Self { ring, busy, in_flight, .. } = self;
            let mut rest = None;
            for entry in ring.completion() {
                *in_flight -= 1;
                let slot = Slot(entry.user_data() as u16);
                let place = &mut busy[usize::from(slot.0)];
                let Some(progress) = place else { continue };
                match progress.advance(slot, entry.result()) {
                    Some(completion) => {
                        completions.push(completion);
                        *place = None;
                    }
                    None => {
                        rest = Some(slot);
                        break;
                    }
                }
            }
            rest
        };
        if let Some(slot) = rest {
            if let Some(progress) = self.busy[usize::from(slot.0)] {
                self.push(slot, progress.rest(), progress.bytes);
            }
            self.reap(completions);
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // The kernel may still write to the buffers: they must not be unmapped before it is done.
        let mut completions = Vec::new();
        while self.in_flight > 0 && self.wait(1, None).is_ok() {
            completions.clear();
            self.reap(&mut completions);
        }
    }
}
