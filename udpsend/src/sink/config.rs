//! What a sink does, resolved.

use std::{fmt, net::SocketAddr, path::PathBuf};

use meter::{
    placement::{Placement, Policy},
    units::Nanoseconds,
};
use serde::Serialize;

/// What a sink does, with every default filled in.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SinkConfig {
    /// Address and port that it is bound to.
    pub listen: SocketAddr,
    /// When it ends by itself, in nanoseconds.
    pub duration_ns: u64,
    /// Warm-up before anything counts, in nanoseconds.
    pub warmup_ns: u64,
    /// End this long after the latest datagram, in nanoseconds; `null` for never.
    pub idle_ns: Option<u64>,
    /// Time between samples, in nanoseconds; `null` for none.
    pub interval_ns: Option<u64>,
    /// Whether the kernel may join datagrams of one flow (UDP_GRO).
    pub gro: bool,
    /// Whether the kernel stamps arrivals, for the one-way delay.
    pub timestamps: bool,
    /// Where the histogram log goes.
    pub hlog: Option<PathBuf>,
    /// Messages in one system call, at most.
    pub batch_size: usize,
    /// Receive buffer of each socket as granted, in bytes that can be used: half of what the kernel tells.
    pub buffer_bytes: u64,
    /// The number that counting of every flow begins with; `null` for the first one that arrives.
    pub expect_from: Option<u64>,
    /// Whether what arrived before the start is thrown away: under `--controlled` and `--start-at`.
    pub discards_backlog: bool,
    /// Flows that can be told apart, per worker.
    pub flows_max: usize,
    /// CPUs of the workers, one each with a socket of its own; empty for a single worker that is not pinned.
    pub cpus: Vec<usize>,
    /// Scheduling policy of the workers.
    pub policy: Policy,
}

impl SinkConfig {
    /// Placements of the workers.
    #[must_use]
    pub fn placements(&self) -> Vec<Placement> {
        Placement::each(&self.cpus, self.policy)
    }
}

impl fmt::Display for SinkConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "listening on {} for {} at most", self.listen, Nanoseconds(self.duration_ns))
    }
}
