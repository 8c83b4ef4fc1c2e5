//! What a sender does, resolved.

use std::{fmt, net::SocketAddr, path::PathBuf};

use meter::{
    placement::{Placement, Policy},
    units::{self, Nanoseconds},
};
use serde::Serialize;

use crate::{load::Load, method::kind::Method, sizes::Sizes, socket::SocketOptions};

/// When a sender ends by itself, whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Limit {
    /// After this time behind the warm-up, in nanoseconds.
    pub duration_ns: u64,
    /// After this many datagrams, warm-up included.
    pub datagrams: Option<u64>,
    /// After at least this many bytes of payload, warm-up included.
    pub bytes: Option<u64>,
}

/// A flow to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FlowConfig {
    /// Source port; 0 leaves the choice to the kernel.
    pub source_port: u16,
    /// Address and port that it sends to.
    pub target: SocketAddr,
}

/// What a sender does, with every default filled in.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SendConfig {
    /// The flows; worker `i` of `n` serves every n-th of them, from the i-th.
    pub flows: Vec<FlowConfig>,
    /// Payload sizes.
    pub sizes: Sizes,
    /// The intended load, of all workers together.
    pub load: Load,
    /// How datagrams are handed to the kernel.
    pub method: Method,
    /// Datagrams in one system call, at most.
    pub batch_size: usize,
    /// Slots that are later than this are given up and counted as missed, in nanoseconds.
    pub catch_up_ns: u64,
    /// Seed of random sizes and arrivals.
    pub seed: u64,
    /// When it ends.
    pub limit: Limit,
    /// Warm-up before anything counts, in nanoseconds.
    pub warmup_ns: u64,
    /// Time between samples, in nanoseconds; `null` for none.
    pub interval_ns: Option<u64>,
    /// Options of the sockets.
    pub socket: SocketOptions,
    /// CPUs of the workers, one each; empty for a single worker that is not pinned.
    pub cpus: Vec<usize>,
    /// Scheduling policy of the workers.
    pub policy: Policy,
    /// Where the histogram log goes.
    pub hlog: Option<PathBuf>,
    /// The choices that were left to the tool.
    #[serde(skip)]
    pub notes: Vec<String>,
}

impl SendConfig {
    /// Placements of the workers.
    #[must_use]
    pub fn placements(&self) -> Vec<Placement> {
        Placement::each(&self.cpus, self.policy)
    }
}

impl fmt::Display for SendConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "to {}", self.flows[0].target)?;
        if self.flows.len() > 1 {
            write!(f, " and others, {} flows", self.flows.len())?;
        }
        write!(
            f,
            ": {} bytes, {}, method {}, {}",
            self.sizes,
            self.load,
            self.method,
            Nanoseconds(self.limit.duration_ns)
        )?;
        if let Some(datagrams) = self.limit.datagrams {
            write!(f, " or {datagrams} datagrams")?;
        }
        match self.limit.bytes {
            Some(bytes) => write!(f, " or {}", units::Bytes(bytes)),
            None => Ok(()),
        }
    }
}
