//! `io_uring`: a batch of sends through a ring, one system call for all (io_uring(7)).
//!
//! The sends of a batch are linked: when one is refused the kernel gives up those behind it, so that
//! numbers stay without a gap. Of a batch only one completion is asked for, that of the last send or of
//! the refused one (IOSQE_CQE_SKIP_SUCCESS, Linux 5.17). When it is there, every send has ended or will
//! not begin, so the buffers are free again. Zero-copy sends are not used: on a virtual link the receiver copies the pages after all, and
//! below some kilobytes the second completion costs more than the copy.
#![allow(unsafe_code)] // Ring entries point into buffers that this file owns.

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
};

use io_uring::{IoUring as Ring, opcode, squeue::Flags, types};
use meter::{Error, Result};

use crate::{
    method::transmit::{Datagram, Outcome, Transmit, TransmitConfig, wait_for_flow},
    payload::{self, FILLER, Origin},
    socket::Flow,
};

pub struct IoUring {
    /// Declared before what its entries point to, so that it is dropped first.
    ring: Ring,
    flows: Vec<Flow>,
    origin: Origin,
    payloads: Vec<u8>,
    stride: usize,
    batch_size: usize,
    /// Number of the present batch, which its completion carries.
    batches: u32,
    /// Datagrams of a batch whose submission failed: their entries still lie in the queue.
    queued: usize,
}

const CACHE_LINE: usize = 64;

impl IoUring {
    pub fn new(flows: Vec<Flow>, config: &TransmitConfig<'_>) -> Result<Self> {
        let batch_size = config.batch_size;
        let ring = Ring::builder()
            .setup_coop_taskrun()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(batch_size as u32)
            .map_err(|error| match error.raw_os_error() {
                Some(libc::EINVAL) => unavailable("set up an io_uring with the features of Linux 6.1", error),
                _ => meter::io_uring::setup_refused(error, "--method sendmmsg"),
            })?;
        let files: Vec<RawFd> = flows.iter().map(|flow| flow.socket.as_raw_fd()).collect();
        ring.submitter()
            .register_files(&files)
            .map_err(|error| unavailable("register sockets with an io_uring", error))?;
        let stride = config.largest.next_multiple_of(CACHE_LINE);
        let payloads = vec![FILLER; stride * batch_size];
        Ok(Self { ring, flows, origin: config.origin, payloads, stride, batch_size, batches: 0, queued: 0 })
    }

    /// Puts the batch into the submission queue.
    fn push(&mut self, flow: usize, batch: &[Datagram]) {
        let (origin, stride) = (self.origin, self.stride);
        let (number, last) = (u64::from(self.batches) << 32, batch.len() - 1);
        let mut queue = self.ring.submission();
        for (slot, (datagram, payload)) in
            batch.iter().zip(self.payloads.chunks_exact_mut(stride)).enumerate()
        {
            let payload = &mut payload[..datagram.size as usize];
            payload::stamp(payload, datagram.sequence, datagram.intended_ns, origin);
            let entry = opcode::Send::new(types::Fixed(flow as u32), payload.as_ptr(), payload.len() as u32)
                .flags(libc::MSG_DONTWAIT)
                .build()
                .flags(if slot == last { Flags::empty() } else { Flags::IO_LINK | Flags::SKIP_SUCCESS })
                .user_data(number | slot as u64);
            // SAFETY: the payload belongs to `self.payloads`, which is never resized, and is not touched
            // again before the batch has ended: `transmit` waits for that.
            let pushed = unsafe { queue.push(&entry) };
            debug_assert!(pushed.is_ok(), "the queue has room for a batch");
        }
    }
}

fn unavailable(what: &str, error: io::Error) -> Error {
    Error::unavailable(format!("{what}; use --method sendmmsg")).with_source(error)
}

impl Transmit for IoUring {
    fn batch_size(&self) -> usize {
        self.batch_size
    }

    fn transmit(&mut self, flow: usize, batch: &[Datagram]) -> Outcome {
        debug_assert!(flow < self.flows.len() && batch.len() <= self.batch_size);
        // The front of the batch is what was queued: the sender keeps it while a submission fails.
        if self.queued == 0 {
            self.batches = self.batches.wrapping_add(1);
            self.push(flow, batch);
            self.queued = batch.len();
        }
        let batch = &batch[..self.queued];
        let mut outcome = Outcome::default();
        loop {
            outcome = outcome.and_calls(1);
            let submitted = self.ring.submit_and_wait(1);
            let this_batch = |data: u64| (data >> 32) as u32 == self.batches;
            if let Some(completion) = self.ring.completion().find(|entry| this_batch(entry.user_data())) {
                self.queued = 0;
                return match completion.result() {
                    0.. => outcome.and_taken(batch),
                    error => {
                        let sent = completion.user_data() as u32 as usize;
                        outcome.and_taken(&batch[..sent]).and_refused(io::Error::from_raw_os_error(-error))
                    }
                };
            }
            // An error leaves the entries in the queue: the next call submits and waits again, if there is one.
            if let Err(error) = submitted
                && error.kind() != io::ErrorKind::Interrupted
            {
                outcome.is_held = true;
                return outcome.and_refused(error);
            }
        }
    }

    fn wait_for_room(&self, flow: usize, timeout_ns: u64) -> bool {
        wait_for_flow(&self.flows, flow, timeout_ns)
    }
}
