//! What a client asks of a server: both ends do the same order, each from its side.

use std::fmt;

use meter::rate::Rate;
use serde::{Deserialize, Serialize};

/// Which way payload goes, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the client to the server.
    Send,
    /// From the server to the client.
    Receive,
    /// Both ways at once, each on flows of its own.
    Both,
}

impl Direction {
    /// Whether the client sends.
    #[must_use]
    pub fn sends(self) -> bool {
        self != Self::Receive
    }

    /// Whether the client receives.
    #[must_use]
    pub fn receives(self) -> bool {
        self != Self::Send
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Send => "send",
            Self::Receive => "receive",
            Self::Both => "both",
        })
    }
}

/// How the sending end of a stream hands its payload to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SendWith {
    /// send(2): the kernel copies it. What ordinary programs do.
    #[default]
    Copy,
    /// send(2) with MSG_ZEROCOPY: the kernel keeps the pages until they are acknowledged.
    Zerocopy,
    /// sendfile(2) from a file in memory: the kernel sends the file's own pages.
    Sendfile,
}

/// What the receiving end of a stream does with the payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReceiveWith {
    /// recv(2): the kernel copies it into a buffer. What ordinary programs do.
    #[default]
    Copy,
    /// recv(2) with MSG_TRUNC: the kernel throws it away (tcp(7)), so nobody could have used it.
    Discard,
}

/// What carries requests and responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// One TCP connection per flow, open all the time.
    #[default]
    Tcp,
    /// One connected UDP socket per flow; a request or a response is one datagram.
    Udp,
}

/// When requests are sent, whatever becomes of earlier ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Pace {
    /// The rate of requests, all flows together.
    pub rate: Rate,
    /// Whether gaps are exponential (independent arrivals) instead of all equal.
    pub poisson: bool,
    /// Seed of the exponential gaps.
    pub seed: u64,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Workload {
    /// As many bytes as go through TCP connections.
    Stream {
        /// Which way.
        direction: Direction,
        /// Bytes handed to the kernel per system call.
        write_bytes: u64,
        /// Bytes asked of the kernel per system call.
        read_bytes: u64,
        /// How payload is sent.
        send_with: SendWith,
        /// How payload is received.
        receive_with: ReceiveWith,
    },
    /// Requests and responses over connections that stay open.
    Transactions {
        /// What carries them.
        transport: Transport,
        /// Bytes of a request.
        request_bytes: u64,
        /// Bytes of a response.
        response_bytes: u64,
        /// Requests of a flow without a response yet: the number kept under way in a closed loop, the
        /// most that may be in a paced one.
        outstanding: u32,
        /// The schedule; `null` for a closed loop, where a request waits for an earlier response.
        pace: Option<Pace>,
    },
    /// For every transaction a new TCP connection: connect, request, response, close.
    Connections {
        /// Bytes of a request.
        request_bytes: u64,
        /// Bytes of a response.
        response_bytes: u64,
    },
}

/// Options of the sockets, at both ends alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SocketOptions {
    /// Name of the congestion control (TCP_CONGESTION); `null` leaves the system's.
    pub congestion: Option<String>,
    /// Largest segment in bytes (TCP_MAXSEG); `null` leaves the path's.
    pub segment_bytes: Option<u32>,
    /// Whether small writes wait for an acknowledgement (Nagle's algorithm, the opposite of TCP_NODELAY).
    pub delay_small_writes: bool,
    /// Whether acknowledgements are sent at once (TCP_QUICKACK, set again after every read).
    pub quick_ack: bool,
    /// Send buffer in bytes that can be used (SO_SNDBUF); `null` leaves it to the kernel's tuning.
    pub send_buffer_bytes: Option<u64>,
    /// Receive buffer in bytes that can be used (SO_RCVBUF); `null` leaves it to the kernel's tuning.
    pub receive_buffer_bytes: Option<u64>,
}

/// How a thread waits for what its socket will bring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Wait {
    /// It sleeps in the kernel, as ordinary programs do.
    #[default]
    Block,
    /// It looks again and again for a while, and sleeps when nothing came.
    Adaptive {
        /// How long it looks, in nanoseconds.
        spin_ns: u64,
    },
    /// It looks again and again, and never sleeps.
    Spin,
}

/// What a client asks of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// What to measure.
    pub workload: Workload,
    /// Number of flows; a stream in both directions has that many each way.
    pub flows: u32,
    /// Threads of the server, where `peer_cpus` does not say; `null`: as many as the server has CPUs of
    /// its own, else one per flow.
    pub peer_threads: Option<u32>,
    /// CPUs for the server's threads, one pinned thread each; `null` leaves it to the server.
    pub peer_cpus: Option<Vec<usize>>,
    /// Time before measuring begins, in nanoseconds.
    pub warmup_ns: u64,
    /// Time that is measured, in nanoseconds.
    pub duration_ns: u64,
    /// Time between interval reports, in nanoseconds; `null` for none.
    pub interval_ns: Option<u64>,
    /// How threads wait for their sockets.
    pub wait: Wait,
    /// Longest time that a CPU of either end's machine may take to wake from idle, in microseconds, held through
    /// /dev/cpu_dma_latency; `null` leaves idle states alone.
    pub cpu_dma_latency_us: Option<u32>,
    /// Options of the sockets.
    pub socket: SocketOptions,
}

impl Order {
    /// Flows of the session, both directions together.
    #[must_use]
    pub fn all_flows(&self) -> u32 {
        match self.workload {
            Workload::Stream { direction: Direction::Both, .. } => self.flows.saturating_mul(2),
            _ => self.flows,
        }
    }

    /// Whether the work goes on after an error of the network: where a request can get lost, and where every
    /// transaction makes its own connection.
    #[must_use]
    pub fn survives_errors(&self) -> bool {
        matches!(
            self.workload,
            Workload::Transactions { transport: Transport::Udp, .. } | Workload::Connections { .. }
        )
    }

    /// Whether a request leaves only after an earlier response has come. Such a loop slows down with
    /// the system that it measures, so its times say nothing about a load that does not.
    #[must_use]
    pub fn is_closed_loop(&self) -> bool {
        !matches!(self.workload, Workload::Transactions { pace: Some(_), .. })
    }
}

/// Largest payload of a UDP datagram over IPv4, in bytes (RFC 768: 65 535 less both headers).
pub const LARGEST_DATAGRAM: u64 = 65_507;

/// Bytes at the front of a datagram that say which request it is, or answers: as many as fit, at most 8.
#[must_use]
pub fn tag_bytes(request_bytes: u64, response_bytes: u64) -> usize {
    request_bytes.min(response_bytes).min(8) as usize
}

/// Most requests that can be told apart by a tag of that length while they are under way, at most 65 536.
#[must_use]
pub fn distinguishable(tag_bytes: usize) -> u32 {
    if tag_bytes >= 3 { 1 << 16 } else { 1 << (8 * tag_bytes as u32 - 1) }
}
