//! The messages of a control connection.

use std::fmt;

use meter::{interrupts::InterruptCount, usage::Usage};
use serde::{Deserialize, Serialize};

use super::token::{Bits, Nonce};

/// What a client says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Answers the challenge.
    Authenticate {
        /// The client's own nonce.
        nonce: Nonce,
        /// That it knows the token.
        proof: Bits,
    },
    /// Asks for a session.
    Open(Order),
    /// Everything is ready here: begin.
    Start,
    /// End the measurement and report.
    Stop,
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reply {
    /// First word: the server's nonce, and whether a token is needed.
    Challenge {
        /// The server's nonce.
        nonce: Nonce,
        /// Whether `authenticate` must come next.
        token_needed: bool,
    },
    /// The proof was right; here is the server's own.
    Authenticated {
        /// That the server knows the token.
        proof: Bits,
    },
    /// The order is accepted.
    Opened {
        /// Names the session to its data connections, as 32 hexadecimal digits.
        cookie: String,
    },
    /// All flows are here and all threads pinned.
    Ready,
    /// The server has begun.
    Started,
    /// One interval has passed at the server.
    Interval(IntervalReport),
    /// What the server measured.
    Report(Box<EndReport>),
    /// No: the connection ends here.
    Refused {
        /// The class of the reason.
        because: Refusal,
        /// What was wrong and what to try.
        reason: String,
    },
}

/// Classes of refusals, which become the client's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The token was wrong or missing.
    Token,
    /// The order is beyond the server's limits, or makes no sense.
    Order,
    /// The server has no session free.
    Busy,
    /// The server's machine lacks what was ordered.
    Unavailable,
    /// Something failed at the server.
    Failed,
}

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

/// What is measured, as both ends must know it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Workload {
    /// As many bytes as go through a TCP connection.
    Stream {
        /// Which way.
        direction: Direction,
        /// Bytes handed to the kernel per system call.
        write_bytes: u64,
        /// Bytes asked of the kernel per system call.
        read_bytes: u64,
    },
    /// Requests and responses over open TCP connections.
    Transactions {
        /// Bytes of a request.
        request_bytes: u64,
        /// Bytes of a response.
        response_bytes: u64,
    },
}

/// What a client asks of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// What to do.
    pub workload: Workload,
    /// Number of flows (TCP connections); for both directions at once, that many each way.
    pub flows: u32,
    /// Time before measuring begins, in nanoseconds.
    pub warmup_ns: u64,
    /// Time that is measured, in nanoseconds.
    pub duration_ns: u64,
    /// Time between interval reports, in nanoseconds; `null` for none.
    pub interval_ns: Option<u64>,
    /// CPUs for the server's threads, one pinned thread each; `null` leaves it to the server.
    pub peer_cpus: Option<Vec<usize>>,
}

impl Order {
    /// TCP connections that the session needs, both directions together.
    #[must_use]
    pub fn connections(&self) -> u32 {
        match self.workload {
            Workload::Stream { direction: Direction::Both, .. } => self.flows.saturating_mul(2),
            _ => self.flows,
        }
    }
}

/// Growth over one interval at the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IntervalReport {
    /// Number of the interval, from 0.
    pub index: u64,
    /// Its length, in nanoseconds.
    pub length_ns: u64,
    /// Bytes that arrived at the server.
    pub received_bytes: u64,
    /// Bytes that the server handed to its kernel.
    pub sent_bytes: u64,
}

/// What one end saw over the measured time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EndReport {
    /// Length of the measured time by this end's clock, in seconds.
    pub elapsed_s: f64,
    /// Payload that arrived here, in bytes.
    pub received_bytes: u64,
    /// Payload that this end handed to its kernel, in bytes.
    pub sent_bytes: u64,
    /// Threads that this end worked with.
    pub threads: u32,
    /// CPUs that they were pinned to; empty when they were not.
    pub cpus: Vec<usize>,
    /// What it cost this end.
    pub usage: Usage,
    /// Interrupts at this end.
    pub interrupts: InterruptCount,
    /// Sessions that the server had beside this one: their cost is in `usage` and `interrupts` too.
    pub other_sessions: u32,
}
