//! What was asked for, resolved: nothing here can contradict itself.

use std::{fmt, net::SocketAddr, path::PathBuf};

use meter::{placement::Placement, units};
use serde::Serialize;

use crate::{
    limits::Limits,
    options::LocalOptions,
    protocol::order::{Order, Transport, Wait, Workload},
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

/// How often a measurement is repeated.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Repetition {
    /// Once, so that nothing can be said about how sure the result is.
    Once,
    /// A fixed number of times.
    Times {
        /// How often.
        count: u64,
        /// Confidence of the interval that is told, in percent.
        confidence_percent: f64,
    },
    /// Until the confidence interval of the mean is narrow enough.
    UntilSure {
        /// Half of the interval's width relative to the mean, in percent, that is narrow enough.
        half_width_percent: f64,
        /// Confidence of the interval, in percent.
        confidence_percent: f64,
        /// Fewest repetitions: a narrow interval of very few is luck.
        at_least: u64,
        /// Most repetitions; `null` for no limit.
        at_most: Option<u64>,
    },
}

impl Repetition {
    /// Confidence of the interval that is told, in percent; `None` for a single measurement.
    #[must_use]
    pub fn confidence_percent(&self) -> Option<f64> {
        match self {
            Self::Once => None,
            Self::Times { confidence_percent, .. } | Self::UntilSure { confidence_percent, .. } => {
                Some(*confidence_percent)
            }
        }
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
    /// Socket options of this end alone.
    pub local: LocalOptions,
    /// CPUs for this end's threads, empty when they are not pinned.
    pub cpus: Vec<usize>,
    /// This end's threads where they are not pinned; `null` for one per flow.
    pub threads: Option<u32>,
    /// The CPUs with the scheduling policy.
    #[serde(skip)]
    pub placements: Vec<Placement>,
    /// How often it is done.
    pub repetition: Repetition,
    /// Percentiles of latency to tell beside the usual ones, 0 to 100.
    pub percentiles: Vec<f64>,
    /// File for the interval log of latencies.
    pub hlog: Option<PathBuf>,
}

impl fmt::Display for ProbeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Order { workload, flows, duration_ns, wait, cpu_dma_latency_us, .. } = &self.order;
        match workload {
            Workload::Stream { direction, .. } => write!(f, "stream {direction}")?,
            Workload::Transactions { transport, request_bytes, response_bytes, outstanding, pace } => {
                let transport = if *transport == Transport::Tcp { "TCP" } else { "UDP" };
                write!(
                    f,
                    "requests of {request_bytes} B and responses of {response_bytes} B over {transport}"
                )?;
                match pace {
                    Some(pace) => write!(f, ", {}", pace.rate)?,
                    None => write!(f, ", {outstanding} outstanding per flow")?,
                }
            }
            Workload::Connections { request_bytes, response_bytes } => {
                write!(f, "connect, request of {request_bytes} B, response of {response_bytes} B, close")?;
            }
        }
        let spinning = match wait {
            Wait::Block => String::new(),
            Wait::Adaptive { spin_ns } => {
                format!(", both ends spinning for {} before they sleep", units::duration(*spin_ns as f64))
            }
            Wait::Spin => ", both ends spinning".to_owned(),
        };
        let length = units::duration(*duration_ns as f64);
        write!(f, " with {}, {flows} flows for {length}{spinning}", self.server)?;
        match cpu_dma_latency_us {
            Some(limit_us) => write!(f, ", idle CPUs of both ends awake within {limit_us} us"),
            None => Ok(()),
        }
    }
}
