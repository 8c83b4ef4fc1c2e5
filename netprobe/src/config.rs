//! What was asked for, resolved: nothing here can contradict itself.

use std::{fmt, net::SocketAddr, path::PathBuf};

use meter::{placement::Placement, units};
use serde::Serialize;

use crate::{
    protocol::message::{Order, Workload},
    server::limits::Limits,
};

/// Who may use a server.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", tag = "access")]
pub enum Access {
    /// Whoever is on this host.
    Loopback,
    /// Whoever knows the token in this file.
    Token {
        /// The file.
        file: PathBuf,
    },
    /// Whoever has a loopback, private or link-local address.
    ClosedNetwork,
}

/// A server.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ServeConfig {
    /// Address that it listens on.
    pub listen: SocketAddr,
    /// Who may use it.
    #[serde(flatten)]
    pub access: Access,
    /// What clients may ask for.
    pub limits: Limits,
    /// How long it listens, in nanoseconds; `null`: until stopped.
    pub duration_ns: Option<u64>,
    /// CPUs for the threads of sessions, empty when they are not pinned.
    pub cpus: Vec<usize>,
    /// The same with the scheduling policy.
    #[serde(skip)]
    pub placements: Vec<Placement>,
}

impl fmt::Display for ServeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = match &self.access {
            Access::Loopback => "from this host".to_owned(),
            Access::Token { file } => format!("with the token in {}", file.display()),
            Access::ClosedNetwork => {
                "from loopback, private and link-local addresses, without a token".to_owned()
            }
        };
        write!(f, "serve on {}, {access}; at most {} sessions", self.listen, self.limits.sessions)
    }
}

/// A measurement against a server.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProbeConfig {
    /// The server, as typed.
    pub server: String,
    /// File with the token, where the server needs one.
    pub token_file: Option<PathBuf>,
    /// What both ends do.
    pub order: Order,
    /// CPUs for this end's threads, empty when they are not pinned.
    pub cpus: Vec<usize>,
    /// The same with the scheduling policy.
    #[serde(skip)]
    pub placements: Vec<Placement>,
    /// File for the interval log of latencies.
    pub hlog: Option<PathBuf>,
}

impl fmt::Display for ProbeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Order { workload, flows, duration_ns, .. } = &self.order;
        match workload {
            Workload::Stream { direction, .. } => write!(f, "stream {direction} with {}", self.server)?,
            Workload::Transactions { request_bytes, response_bytes } => {
                write!(
                    f,
                    "requests of {request_bytes} B, responses of {response_bytes} B with {}",
                    self.server
                )?;
            }
        }
        write!(f, ", {flows} flows for {}", units::duration(*duration_ns as f64))
    }
}
