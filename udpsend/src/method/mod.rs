//! The ways to hand datagrams to the kernel, side by side behind one small trait.

use std::{fmt, io, str::FromStr};

use meter::Result;
use serde::Serialize;

use crate::{payload::Origin, sender::config::SendConfig, socket::Flow};

mod auto;
mod gso;
mod io_uring;
mod outgoing;
mod packet;
mod raw;
mod send;
mod sendmmsg;
mod xdp;
mod xsk;

pub use auto::{Path, choose};

/// A way to hand datagrams to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// One send(2) each, on a connected socket.
    Send,
    /// One sendmmsg(2) for a batch.
    Sendmmsg,
    /// One send(2) of up to 64 equal datagrams that the kernel or the device segments (UDP_SEGMENT).
    Gso,
    /// A batch of sends through a ring (io_uring(7)), one system call for all.
    IoUring,
    /// Whole frames through an AF_PACKET socket, past routing, the UDP layer and the queueing discipline.
    Packet,
    /// Whole frames through an AF_XDP socket in copy mode.
    Xdp,
}

impl Method {
    /// Whether it builds frames itself, and so needs CAP_NET_RAW and one interface.
    #[must_use]
    pub fn is_raw(self) -> bool {
        matches!(self, Self::Packet | Self::Xdp)
    }
}

/// Every method with its name.
const METHODS: [(Method, &str); 6] = [
    (Method::Send, "send"),
    (Method::Sendmmsg, "sendmmsg"),
    (Method::Gso, "gso"),
    (Method::IoUring, "io_uring"),
    (Method::Packet, "packet"),
    (Method::Xdp, "xdp"),
];

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        METHODS.iter().find(|(method, _)| method == self).map_or(Ok(()), |(_, name)| f.write_str(name))
    }
}

/// A method as typed: a name, or `auto` for the choice of the tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypedMethod(pub Option<Method>);

impl FromStr for TypedMethod {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if text == "auto" {
            return Ok(Self(None));
        }
        METHODS.iter().find(|(_, name)| *name == text).map(|(method, _)| Self(Some(*method))).ok_or_else(
            || {
                let names: Vec<&str> = METHODS.iter().map(|(_, name)| *name).collect();
                format!("`{text}` is not a method; use auto, {}", names.join(", "))
            },
        )
    }
}

/// One datagram to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Datagram {
    /// Number within its flow.
    pub sequence: u64,
    /// Intended send time, CLOCK_MONOTONIC, in nanoseconds.
    pub intended_ns: u64,
    /// Bytes of payload.
    pub size: u32,
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
    /// System calls that were made.
    pub calls: u64,
    /// How many sends were refused.
    pub refused: u64,
    /// Why the latest of them was.
    pub error: Option<io::Error>,
    /// Numbers that are to be given again.
    pub returned: Option<Returned>,
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
    fn front(batch: &[Datagram], result: io::Result<usize>) -> Self {
        match result {
            Ok(taken) => Self::default().and_taken(&batch[..taken]).and_calls(1),
            Err(error) => Self::default().and_calls(1).and_refused(error),
        }
    }

    /// Counts the front of the batch as taken.
    #[inline]
    fn and_taken(mut self, taken: &[Datagram]) -> Self {
        self.consumed += taken.len();
        self.sent += taken.len() as u64;
        self.sent_bytes += taken.iter().map(|datagram| u64::from(datagram.size)).sum::<u64>();
        self
    }

    /// Counts system calls.
    #[inline]
    fn and_calls(mut self, calls: u64) -> Self {
        self.calls += calls;
        self
    }

    /// Counts one refused send.
    #[inline]
    fn and_refused(mut self, error: io::Error) -> Self {
        self.refused += 1;
        self.error = Some(error);
        self
    }
}

/// One worker's way to hand datagrams to the kernel. It owns its sockets and buffers, and after it
/// was made it allocates nothing.
pub trait Transmit {
    /// How many datagrams it takes at once, at most.
    fn batch_size(&self) -> usize;

    /// Hands over `batch`, not empty and no longer than [`Transmit::batch_size`], all of the flow
    /// with this index among the worker's flows. A sender calls it again with what was not consumed.
    fn transmit(&mut self, flow: usize, batch: &[Datagram]) -> Outcome;

    /// What the kernel took, but had not told about yet, when no more is handed over.
    fn finish(&mut self) -> Outcome {
        Outcome::default()
    }
}

/// The transmitter of worker `worker` for `method`, over its `flows`.
///
/// # Errors
/// When the machine refuses the method (exit code 3).
pub fn open(
    method: Method,
    flows: Vec<Flow>,
    origin: Origin,
    config: &SendConfig,
    worker: usize,
) -> Result<Box<dyn Transmit>> {
    let largest = config.sizes.largest() as usize;
    Ok(match method {
        Method::Send => Box::new(send::Send::new(flows, origin, largest)),
        Method::Sendmmsg => Box::new(sendmmsg::Sendmmsg::new(flows, origin, config)),
        Method::Gso => Box::new(gso::Gso::new(flows, origin, largest, config.batch_size)?),
        Method::IoUring => Box::new(io_uring::IoUring::new(flows, origin, largest, config.batch_size)?),
        Method::Packet => Box::new(packet::Packet::new(flows, origin, config)?),
        Method::Xdp => Box::new(xdp::Xdp::new(flows, origin, config, worker)?),
    })
}
