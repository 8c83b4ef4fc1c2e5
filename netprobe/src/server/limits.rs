//! What a server lets its clients ask for.

use meter::units::{self, Bytes};
use serde::Serialize;

use crate::protocol::message::{Order, Workload};

/// Limits of a server; a client beyond them is refused with the limit's name.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Limits {
    /// Sessions at a time.
    pub sessions: u32,
    /// Connections that are not yet part of a session, at a time. Beyond it the oldest one goes.
    pub pending_connections: u32,
    /// Flows of a session, both directions together.
    pub flows: u32,
    /// Length of a session from `start`, warm-up included, in nanoseconds.
    pub duration_ns: u64,
    /// How long a client may keep a session waiting, in nanoseconds.
    pub idle_ns: u64,
    /// How long a connection may take to say what it is for, in nanoseconds.
    pub hello_ns: u64,
    /// Largest buffer of a flow, in bytes: a write, a read, a request, a response.
    pub buffer_bytes: u64,
}

impl Limits {
    /// Whether `order` is within the limits and makes sense.
    ///
    /// # Errors
    /// What is wrong, and the limit.
    pub fn check(&self, order: &Order) -> Result<(), String> {
        if order.connections() == 0 || order.connections() > self.flows {
            return Err(format!(
                "{} flows asked for; this server allows 1 to {}",
                order.connections(),
                self.flows
            ));
        }
        let length_ns = order.warmup_ns.saturating_add(order.duration_ns);
        if order.duration_ns == 0 || length_ns > self.duration_ns {
            let longest = units::duration(self.duration_ns as f64);
            return Err(format!(
                "a session must be longer than 0 and not longer than {longest}, warm-up included"
            ));
        }
        if order.interval_ns.is_some_and(|interval| interval < SHORTEST_INTERVAL_NS) {
            return Err("an interval must be at least 1 ms".into());
        }
        if order.peer_cpus.as_ref().is_some_and(|cpus| cpus.is_empty() || cpus.len() > 1024) {
            return Err("the list of CPUs must have 1 to 1024 of them".into());
        }
        let (one, other) = match order.workload {
            Workload::Stream { write_bytes, read_bytes, .. } => (write_bytes, read_bytes),
            Workload::Transactions { request_bytes, response_bytes } => (request_bytes, response_bytes),
        };
        let allowed = 1..=self.buffer_bytes;
        if allowed.contains(&one) && allowed.contains(&other) {
            return Ok(());
        }
        Err(format!("sizes must be from 1 byte to {} on this server", Bytes(self.buffer_bytes)))
    }
}

/// Shortest interval between two reports: a thousand a second is what a control connection can bear.
const SHORTEST_INTERVAL_NS: u64 = 1_000_000;
