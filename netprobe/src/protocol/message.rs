//! The messages of a control connection.

use serde::{Deserialize, Serialize};

use super::{
    order::Order,
    report::{EndReport, IntervalReport},
    token::{Bits, Nonce},
};

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
        /// Ports of the server for this session: one for connections, one per flow for datagrams;
        /// empty where flows come to the port that the server listens on.
        ports: Vec<u16>,
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
