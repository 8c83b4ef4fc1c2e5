//! `io_uring`: a batch of sends through a ring, one system call for all (io_uring(7)).
//!
//! Every send of a batch has completed when [`Transmit::transmit`] returns, so the buffers are free
//! again. Zero-copy sends are not used: on a virtual link the receiver copies the pages after all, and
//! below some kilobytes the second completion costs more than the copy.
#![allow(unsafe_code)] // Ring entries point into buffers that this file owns.

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
};

use io_uring::{IoUring as Ring, opcode, types};
use meter::{Error, Result};

use crate::{
    method::{Datagram, Outcome, Transmit},
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
}

const CACHE_LINE: usize = 64;

impl IoUring {
    pub fn new(flows: Vec<Flow>, origin: Origin, largest: usize, batch_size: usize) -> Result<Self> {
        let ring = Ring::builder()
            .setup_coop_taskrun()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(batch_size as u32)
            .map_err(|error| unavailable("set up an io_uring (Linux 6.1)", error))?;
        let files: Vec<RawFd> = flows.iter().map(|flow| flow.socket.as_raw_fd()).collect();
        ring.submitter()
            .register_files(&files)
            .map_err(|error| unavailable("register sockets with an io_uring", error))?;
        let stride = largest.next_multiple_of(CACHE_LINE);
        let payloads = vec![FILLER; stride * batch_size];
        Ok(Self { ring, flows, origin, payloads, stride, batch_size })
    }

    /// Puts the batch into the submission queue.
    fn push(&mut self, flow: usize, batch: &[Datagram]) {
        let (origin, stride) = (self.origin, self.stride);
        let mut queue = self.ring.submission();
        for (slot, (datagram, payload)) in
            batch.iter().zip(self.payloads.chunks_exact_mut(stride)).enumerate()
        {
            let payload = &mut payload[..datagram.size as usize];
            payload::stamp(payload, datagram.sequence, datagram.intended_ns, origin);
            let entry = opcode::Send::new(types::Fixed(flow as u32), payload.as_ptr(), payload.len() as u32)
                .flags(libc::MSG_DONTWAIT)
                .build()
                .user_data(slot as u64);
            // SAFETY: the payload belongs to `self.payloads`, which is never resized, and is not touched
            // again before the completion of this entry: `transmit` waits for all of them.
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
        self.push(flow, batch);
        let mut outcome = Outcome { consumed: batch.len(), ..Outcome::default() };
        let mut completed = 0;
        while completed < batch.len() {
            outcome.calls += 1;
            // An error here leaves the entries in the queues: the next turn submits and waits again.
            if let Err(error) = self.ring.submit_and_wait(batch.len() - completed)
                && error.kind() != io::ErrorKind::Interrupted
            {
                outcome = outcome.and_refused(error);
            }
            for completion in self.ring.completion() {
                completed += 1;
                match completion.result() {
                    0.. => {
                        outcome.sent += 1;
                        outcome.sent_bytes += u64::from(batch[completion.user_data() as usize].size);
                    }
                    error => outcome = outcome.and_refused(io::Error::from_raw_os_error(-error)),
                }
            }
        }
        outcome
    }
}
