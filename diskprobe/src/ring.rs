//! The ring: io_uring with registered buffers and one registered file.
//!
//! It owns its buffers and hands out slot numbers. A slot's block can be borrowed only while no
//! operation on it is in flight, which is checked at every access, so the kernel's hold on the
//! memory can't be broken from outside this file.
#![allow(unsafe_code)] // The kernel borrows the buffers of operations in flight.

use std::{fs::File, io, os::fd::AsRawFd, time::Duration};

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use meter::{Error, Result, clock};

use crate::{
    buffer::Buffers,
    engine::{Completion, Engine, Fault, Gathering, LONGEST_REFUSAL_NS, Operation, Progress, Request, Slot},
    nvme::Namespace,
    setup::{self, Granted, RingOptions},
    workers::{self, Way},
};

/// How a request looks to the kernel, and what the kernel's answer means.
///
/// # Safety
/// The entry that [`Form::entry`] makes must let the kernel touch no memory but the request's length
/// from `address` on.
pub unsafe trait Form {
    /// Entries of the submission queue.
    type Submission: squeue::EntryMarker;
    /// Entries of the completion queue.
    type Completion: cqueue::EntryMarker;

    /// The entry of a request on registered file 0 and registered buffer 0.
    fn entry(&self, request: Request, address: *mut u8, user_data: u64) -> Self::Submission;

    /// Whether the kernel starts no operation on `file` without possibly blocking.
    fn blocks(&self, file: &File) -> bool;

    /// The entry, for a thread of the kernel right away.
    fn handed_over(&self, entry: Self::Submission) -> Self::Submission;

    /// User data, and the bytes transferred of `request` or a negative error number.
    fn result(&self, answer: &Self::Completion, wanted: impl FnOnce(u64) -> u32) -> (u64, i32);
}

/// Reads and writes of a file or block device.
#[derive(Clone, Copy, Debug)]
pub struct ReadWrite;

// SAFETY: WriteFixed and ReadFixed touch exactly `length` bytes from `address` on.
unsafe impl Form for ReadWrite {
    type Submission = squeue::Entry;
    type Completion = cqueue::Entry;

    #[inline]
    fn entry(&self, request: Request, address: *mut u8, user_data: u64) -> squeue::Entry {
        let Request { operation, offset, length } = request;
        let file = types::Fixed(0);
        let entry = match operation {
            Operation::Write => opcode::WriteFixed::new(file, address, length, 0).offset(offset).build(),
            Operation::Read => opcode::ReadFixed::new(file, address, length, 0).offset(offset).build(),
        };
        entry.user_data(user_data)
    }

    fn blocks(&self, file: &File) -> bool {
        workers::blocks(file)
    }

    #[inline]
    fn handed_over(&self, entry: squeue::Entry) -> squeue::Entry {
        entry.flags(squeue::Flags::ASYNC)
    }

    #[inline]
    fn result(&self, answer: &cqueue::Entry, _: impl FnOnce(u64) -> u32) -> (u64, i32) {
        (answer.user_data(), answer.result())
    }
}

// SAFETY: the command names `address` and `length`, and the kernel holds it to registered buffer 0.
unsafe impl Form for Namespace {
    type Submission = squeue::Entry128;
    type Completion = cqueue::Entry32;

    #[inline]
    fn entry(&self, request: Request, address: *mut u8, user_data: u64) -> squeue::Entry128 {
        opcode::UringCmd80::new(types::Fixed(0), Namespace::COMMAND)
            .cmd(self.command(request, address as u64))
            .buf_index(Some(0))
            .build()
            .user_data(user_data)
    }

    fn blocks(&self, _: &File) -> bool {
        false
    }

    #[inline]
    fn handed_over(&self, entry: squeue::Entry128) -> squeue::Entry128 {
        entry
    }

    #[inline]
    fn result(&self, answer: &cqueue::Entry32, wanted: impl FnOnce(u64) -> u32) -> (u64, i32) {
        // A command is done entirely or not at all; a positive result is the status of the drive.
        let user_data = answer.user_data();
        let result = match answer.result() {
            0 => wanted(user_data) as i32,
            errno if errno < 0 => errno,
            status => -Namespace::errno_of(status.unsigned_abs()),
        };
        (user_data, result)
    }
}

/// `IORING_ENTER_GETEVENTS` (linux/io_uring.h).
const ENTER_GETEVENTS: u32 = 1;

/// An io_uring with its buffers. Dropping it waits for what is in flight.
pub struct Ring<F: Form> {
    // Dropped in this order: the kernel's side first, then the memory that it borrowed.
    ring: IoUring<F::Submission, F::Completion>,
    buffers: Buffers,
    form: F,
    busy: Box<[Option<Progress>]>,
    in_flight: u32,
    /// Whether operations go to a thread of the kernel without an attempt of ours.
    hand_over: bool,
    gathering: Gathering,
    granted: Granted,
    refusal: Option<Refusal>,
    /// Whether the submission queue holds operations that must not start any more.
    abandoned: bool,
}

/// The kernel takes no operations for want of resources (EAGAIN), or before completions were reaped (EBUSY).
#[derive(Clone, Copy, Debug)]
struct Refusal {
    errno: i32,
    since_ns: u64,
}

/// How long to leave the kernel alone between two attempts that it refuses.
const REFUSAL_PAUSE: Duration = Duration::from_micros(100);

impl<F: Form> Ring<F> {
    /// A ring for `slots` operations of up to `length` bytes on `file`.
    ///
    /// # Errors
    /// Exit code 3 when io_uring is missing or disabled, when something of `options` was refused, or
    /// when the limit of locked memory is too low.
    pub fn new(file: &File, form: F, slots: u16, length: u32, options: &RingOptions) -> Result<Self> {
        let (ring, mut granted) = setup::build(u32::from(slots), options)?;
        let buffers = Buffers::new(usize::from(slots), length as usize)?;
        let whole = libc::iovec { iov_base: buffers.address(0).cast(), iov_len: buffers.size() };
        // SAFETY: the memory is the mapping of `buffers`, which this value owns and drops after the ring.
        unsafe { ring.submitter().register_buffers(&[whole]) }
            .map_err(|error| setup::register_refused(error, buffers.size()))?;
        ring.submitter()
            .register_files(&[file.as_raw_fd()])
            .map_err(|error| Error::system("register the file with io_uring", error))?;
        let busy = vec![None; usize::from(slots)].into_boxed_slice();
        let way = if form.blocks(file) {
            workers::keep(&ring.submitter(), file, options, &mut granted)?
        } else {
            Way::Attempt
        };
        let gathering = match way {
            Way::HandOver { one_cpu: true } => Gathering::in_turn_with_the_device(slots),
            _ => Gathering::beside_the_device(slots),
        };
        let hand_over = way != Way::Attempt;
        Ok(Self {
            ring,
            buffers,
            form,
            busy,
            in_flight: 0,
            hand_over,
            gathering,
            granted,
            refusal: None,
            abandoned: false,
        })
    }

    /// What the kernel granted of the ring's features.
    #[must_use]
    pub fn granted(&self) -> &Granted {
        &self.granted
    }

    /// Puts the part of a slot's request that is still to do into the submission queue.
    #[inline]
    fn push(&mut self, slot: Slot, progress: Progress) {
        if self.abandoned {
            return;
        }
        let index = usize::from(slot.0);
        // SAFETY: the bytes done are fewer than the request's length, which `queue` found to fit the block.
        let address = unsafe { self.buffers.address(index).add(progress.bytes as usize) };
        let mut entry = self.form.entry(progress.rest(), address, u64::from(slot.0));
        if self.hand_over {
            entry = self.form.handed_over(entry);
        }
        // SAFETY: by the contract of `Form` the entry names memory of this block only. It lives as long as
        // the ring, and `block` and `block_mut` refuse to borrow it while `busy[index]` is set.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        assert!(pushed.is_ok(), "the queue has an entry for every slot");
        self.in_flight += 1;
    }

    /// Has the kernel post what has ended, without waiting: with DEFER_TASKRUN it does so only when asked.
    fn look(&mut self) -> Result<()> {
        let queued = self.ring.submission().len() as u32;
        // SAFETY: no argument is passed; the entries that are submitted were pushed by `push`.
        let result =
            unsafe { self.ring.submitter().enter::<libc::sigset_t>(queued, 0, ENTER_GETEVENTS, None) };
        self.entered(result, "look for completions of io_uring")
    }

    /// A signal, a timeout or a moment without resources ends a call early; the loop looks again.
    #[inline]
    fn entered(&mut self, result: io::Result<usize>, what: &str) -> Result<()> {
        match result {
            Ok(_) => {
                self.refusal = None;
                Ok(())
            }
            Err(error) => self.interrupted(error, what),
        }
    }

    #[cold]
    fn interrupted(&mut self, error: io::Error, what: &str) -> Result<()> {
        match error.raw_os_error() {
            Some(libc::EINTR | libc::ETIME) => Ok(()),
            Some(errno @ (libc::EAGAIN | libc::EBUSY)) => {
                if let Some(refusal) = &mut self.refusal {
                    refusal.errno = errno;
                    std::thread::sleep(REFUSAL_PAUSE);
                } else {
                    self.refusal = Some(Refusal { errno, since_ns: clock::now_ns() });
                }
                Ok(())
            }
            _ => Err(Error::system(what, error)),
        }
    }

    /// Operations that the kernel has taken and not ended.
    fn held_by_kernel(&mut self) -> u32 {
        let queued = self.ring.submission().len() as u32;
        self.in_flight.saturating_sub(queued)
    }

    fn assert_free(&self, slot: Slot) {
        assert!(self.busy[usize::from(slot.0)].is_none(), "slot {} is in flight", slot.0);
    }

    /// Takes answers until none is left or one was for a part only, whose slot it gives.
    #[inline]
    fn reap_whole(&mut self, completions: &mut Vec<Completion>) -> Option<Slot> {
        let Self { ring, busy, in_flight, form, .. } = self;
        for answer in ring.completion() {
            let wanted = |slot: u64| busy[slot as usize].map_or(0, |progress| progress.rest().length);
            let (user_data, result) = form.result(&answer, wanted);
            let slot = Slot(user_data as u16);
            let place = &mut busy[usize::from(slot.0)];
            let Some(progress) = place else { continue };
            *in_flight -= 1;
            match progress.advance(slot, result) {
                Some(completion) => {
                    *place = None;
                    completions.push(completion);
                }
                None => return Some(slot),
            }
        }
        None
    }
}

impl<F: Form> Engine for Ring<F> {
    fn slots(&self) -> u16 {
        self.busy.len() as u16
    }

    fn granted(&self) -> Option<&Granted> {
        Some(&self.granted)
    }

    fn gathering(&self) -> Gathering {
        self.gathering
    }

    fn block(&self, slot: Slot) -> &[u8] {
        self.assert_free(slot);
        self.buffers.block(usize::from(slot.0))
    }

    fn block_mut(&mut self, slot: Slot) -> &mut [u8] {
        self.assert_free(slot);
        self.buffers.block_mut(usize::from(slot.0))
    }

    #[inline]
    fn queue(&mut self, slot: Slot, request: Request) {
        self.assert_free(slot);
        assert!(request.length as usize <= self.buffers.length(), "the request is longer than its block");
        let progress = Progress::new(request);
        self.busy[usize::from(slot.0)] = Some(progress);
        self.push(slot, progress);
    }

    #[inline]
    fn submit(&mut self) -> Result<()> {
        if self.abandoned {
            return Err(Error::failed("the kernel refused operations of io_uring before"));
        }
        let result = self.ring.submitter().submit();
        self.entered(result, "submit to io_uring")
    }

    #[inline]
    fn wait(&mut self, at_least: u32, timeout_ns: Option<u64>) -> Result<()> {
        if at_least == 0 && timeout_ns.is_none() {
            return self.look();
        }
        let at_least = at_least.min(self.in_flight) as usize;
        let result = match timeout_ns {
            None if self.ring.completion().len() >= at_least => return Ok(()),
            None => self.ring.submitter().submit_and_wait(at_least),
            Some(ns) => {
                let limit = types::Timespec::new().sec(ns / 1_000_000_000).nsec((ns % 1_000_000_000) as u32);
                let arguments = types::SubmitArgs::new().timespec(&limit);
                self.ring.submitter().submit_with_args(at_least.max(1), &arguments)
            }
        };
        self.entered(result, "wait for io_uring")
    }

    #[inline]
    fn is_refused(&mut self) -> bool {
        self.refusal.is_some_and(|refusal| {
            clock::now_ns() - refusal.since_ns >= LONGEST_REFUSAL_NS && self.held_by_kernel() == 0
        })
    }

    fn abandon(&mut self, completions: &mut Vec<Completion>) {
        let errno = self.refusal.map_or(libc::EAGAIN, |refusal| refusal.errno);
        for (slot, place) in self.busy.iter_mut().enumerate() {
            let Some(Progress { request, bytes, short_transfers }) = place.take() else { continue };
            let fault = Some(Fault::Refused(errno));
            completions.push(Completion { slot: Slot(slot as u16), request, bytes, short_transfers, fault });
        }
        (self.abandoned, self.in_flight) = (true, 0);
    }

    #[inline]
    fn reap(&mut self, completions: &mut Vec<Completion>) {
        while let Some(slot) = self.reap_whole(completions) {
            if let Some(progress) = self.busy[usize::from(slot.0)] {
                self.push(slot, progress);
            }
        }
    }
}

impl<F: Form> Drop for Ring<F> {
    fn drop(&mut self) {
        // The kernel may still write to the buffers: they must not be unmapped before it is done. What it has not taken
        // never starts.
        let mut completions = Vec::new();
        while self.held_by_kernel() > 0 {
            // SAFETY: no argument is passed, and nothing is submitted.
            let result =
                unsafe { self.ring.submitter().enter::<libc::sigset_t>(0, 1, ENTER_GETEVENTS, None) };
            if self.entered(result, "wait for io_uring").is_err() {
                break;
            }
            completions.clear();
            self.reap(&mut completions);
        }
        // The kernel takes a closed ring apart later; the file and its space shall not wait for that.
        let _: io::Result<()> = self.ring.submitter().unregister_files();
    }
}
