//! The ways to hand datagrams to the kernel, side by side behind one small trait.

use std::{fmt, io, str::FromStr};

use meter::Result;
use serde::Serialize;

use crate::{payload::Origin, sender::config::SendConfig, socket::Flow};

mod auto;
mod gso;
mod outgoing;
mod send;
mod sendmmsg;

pub use auto::choose;

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
}

/// Every method with its name.
const METHODS: [(Method, &str); 3] =
    [(Method::Send, "send"), (Method::Sendmmsg, "sendmmsg"), (Method::Gso, "gso")];

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
    /// How many datagrams the kernel took, counted from the front of the batch.
    pub accepted: usize,
    /// System calls that were made.
    pub calls: u64,
    /// Why the one behind the accepted ones was not taken.
    pub error: Option<io::Error>,
}

/// One worker's way to hand datagrams to the kernel. It owns its sockets and buffers, and after it
/// was made it allocates nothing.
pub trait Transmit {
    /// How many datagrams it takes at once, at most.
    fn batch_size(&self) -> usize;

    /// Hands over `batch`, not empty and no longer than [`Transmit::batch_size`], all of the flow
    /// with this index among the worker's flows. A sender calls it again with what was not accepted.
    fn transmit(&mut self, flow: usize, batch: &[Datagram]) -> Outcome;
}

/// The transmitter for `method`, over `flows`.
///
/// # Errors
/// When the machine refuses the method (exit code 3).
pub fn open(
    method: Method,
    flows: Vec<Flow>,
    origin: Origin,
    config: &SendConfig,
) -> Result<Box<dyn Transmit>> {
    let largest = config.sizes.largest() as usize;
    Ok(match method {
        Method::Send => Box::new(send::Send::new(flows, origin, largest)),
        Method::Sendmmsg => Box::new(sendmmsg::Sendmmsg::new(flows, origin, largest, config.batch_size)),
        Method::Gso => Box::new(gso::Gso::new(flows, origin, config.batch_size)?),
    })
}
