//! What every way to hand datagrams to the kernel has in common: it takes batches and says what became of them.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use meter::control::Stop;

use crate::{
    method::kind::Method,
    payload::{self, Origin},
    socket::{Flow, SocketOptions},
    sys,
};

/// One datagram to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Datagram {
    /// Number within its flow; of no meaning where the payload has no room for it.
    pub sequence: u64,
    /// Intended send time, CLOCK_MONOTONIC, in nanoseconds.
    pub intended_ns: u64,
    /// Bytes of payload.
    pub size: u32,
}

impl Datagram {
    /// Whether its payload has room for its number.
    #[must_use]
    #[inline]
    pub fn is_numbered(&self) -> bool {
        payload::has_number(self.size as usize)
    }
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Datagrams of the batch, from its front, that are done with: sent, failed, or in a ring.
    pub consumed: usize,
    /// Datagrams that the kernel took during this call; with a ring also such of earlier calls.
    pub sent: u64,
    /// Bytes of their payloads.
    pub sent_bytes: u64,
    /// How many of them have no number.
    pub unnumbered: u64,
    /// System calls that were made.
    pub calls: u64,
    /// How many sends were refused.
    pub refused: u64,
    /// Why the latest of them was.
    pub error: Option<io::Error>,
    /// Whether the next datagram has to wait for room in the kernel: [`Transmit::wait_for_room`].
    pub is_full: bool,
    /// Whether the batch waits inside the transmitter: the next call must have the same datagrams at its front.
    pub is_held: bool,
    /// Numbers that are to be given again.
    pub returned: Option<Returned>,
    /// Datagrams consumed of which the kernel never said that they were sent; of [`Transmit::finish`] only.
    pub unsent: u64,
}

/// Numbers of datagrams that were consumed and then refused. Those behind them in the ring have moved
/// up, so that the flow's next numbers are lower by as many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returned {
    /// Index of the flow among the worker's flows.
    pub flow: usize,
    /// How many.
    pub numbers: u64,
}

impl Outcome {
    /// Of a method that takes the front of a batch and refuses the next datagram at most.
    #[inline]
    pub fn front(batch: &[Datagram], result: io::Result<usize>) -> Self {
        match result {
            Ok(taken) => Self::default().and_taken(&batch[..taken]).and_calls(1),
            Err(error) => Self::default().and_calls(1).and_refused(error),
        }
    }

    /// Counts the front of the batch as taken.
    #[inline]
    pub fn and_taken(mut self, taken: &[Datagram]) -> Self {
        self.consumed += taken.len();
        taken.iter().for_each(|datagram| self.add_sent(datagram));
        self
    }

    /// Counts one datagram as sent.
    #[inline]
    pub fn add_sent(&mut self, datagram: &Datagram) {
        self.sent += 1;
        self.sent_bytes += u64::from(datagram.size);
        self.unnumbered += u64::from(!datagram.is_numbered());
    }

    /// Counts system calls.
    #[inline]
    pub fn and_calls(mut self, calls: u64) -> Self {
        self.calls += calls;
        self
    }

    /// Counts one refused send. To have no room is no refusal: the datagram waits.
    #[inline]
    pub fn and_refused(mut self, error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::WouldBlock {
            self.is_full = true;
        } else {
            self.refused += 1;
            self.error = Some(error);
        }
        self
    }
}

/// What a transmitter is made for.
#[derive(Clone, Copy, Debug)]
pub struct TransmitConfig<'a> {
    /// The way to hand datagrams over.
    pub method: Method,
    /// Largest payload, in bytes.
    pub largest: usize,
    /// Datagrams in one system call, at most.
    pub batch_size: usize,
    /// Options of the sockets.
    pub socket: &'a SocketOptions,
    /// Clock and run of the sender.
    pub origin: Origin,
    /// Number of the worker, from 0.
    pub worker: usize,
    /// How many workers there are.
    pub workers: usize,
    /// Ends a set-up that waits for others.
    pub stop: &'a Stop,
}

/// One worker's way to hand datagrams to the kernel. It owns its sockets and buffers, and after it
/// was made it allocates nothing.
pub trait Transmit {
    /// How many datagrams it takes at once, at most.
    fn batch_size(&self) -> usize;

    /// Hands over `batch`, not empty and no longer than [`Transmit::batch_size`], all of the flow
    /// with this index among the worker's flows. It never waits for room. A sender calls it again with what was
    /// not consumed.
    fn transmit(&mut self, flow: usize, batch: &[Datagram]) -> Outcome;

    /// Waits until there is room for a datagram of this flow, `timeout_ns` nanoseconds at most, and says whether there
    /// is, or an error that the next send tells.
    fn wait_for_room(&self, flow: usize, timeout_ns: u64) -> bool;

    /// What the kernel took, but had not told about yet, when no more is handed over.
    fn finish(&mut self) -> Outcome {
        Outcome::default()
    }
}

/// [`Transmit::wait_for_room`] for a socket: a poll(2) that is interrupted or fails has found none.
pub fn wait_for_room(socket: BorrowedFd<'_>, timeout_ns: u64) -> bool {
    sys::wait_writable(socket, timeout_ns).unwrap_or(false)
}

/// The same for one of `flows`.
pub fn wait_for_flow(flows: &[Flow], flow: usize, timeout_ns: u64) -> bool {
    wait_for_room(flows[flow].socket.as_fd(), timeout_ns)
}
