//! What a measurement tells.

use std::fmt;

use meter::{histogram::LatencySummary, interrupts::InterruptCount, units, usage::Usage};
use serde::Serialize;

use crate::protocol::message::{Direction, EndReport};

/// One interval of a stream.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StreamSample {
    /// Begin of the interval after the begin of the measured time, in seconds.
    pub offset_s: f64,
    /// Length of the interval at the receiving end, in seconds.
    pub length_s: f64,
    /// Payload that arrived at the receiving ends, in bytes.
    pub received_bytes: u64,
    /// The same in bits/s.
    pub goodput_bps: f64,
}

impl fmt::Display for StreamSample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end_s = self.offset_s + self.length_s;
        write!(f, "{:7.2}–{end_s:.2} s  {}", self.offset_s, units::si(self.goodput_bps, "bit/s"))
    }
}

/// Summary of a stream.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StreamSummary {
    /// Length of the measured time at the receiving end (at this end for both directions), in seconds.
    pub elapsed_s: f64,
    /// Which way payload went.
    pub direction: Direction,
    /// Payload that arrived, in bits/s; both directions together.
    pub goodput_bps: f64,
    /// Payload that arrived at the receiving ends, in bytes.
    pub received_bytes: u64,
    /// Payload that the sending ends handed to their kernels, in bytes.
    pub sent_bytes: u64,
    /// Flows, each way.
    pub flows: u32,
    /// What it cost this end.
    pub usage: Usage,
    /// Interrupts at this end.
    pub interrupts: InterruptCount,
    /// What the server saw; `null` when it went away.
    pub peer: Option<EndReport>,
}

impl fmt::Display for StreamSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} received in {:.3} s = {}",
            self.direction,
            units::si(self.received_bytes as f64, "B"),
            self.elapsed_s,
            units::si(self.goodput_bps, "bit/s"),
        )
    }
}

/// Summary of transactions.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TransactionSummary {
    /// Length of the measured time, in seconds.
    pub elapsed_s: f64,
    /// Transactions that began and ended within it.
    pub transactions: u64,
    /// Transactions per second, all flows together.
    pub transactions_per_s: f64,
    /// From the sending of a request to the last byte of its response; `null` without transactions.
    pub service_time: Option<LatencySummary>,
    /// Flows.
    pub flows: u32,
    /// What it cost this end.
    pub usage: Usage,
    /// Interrupts at this end.
    pub interrupts: InterruptCount,
    /// What the server saw; `null` when it went away.
    pub peer: Option<EndReport>,
}

impl fmt::Display for TransactionSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} transactions in {:.3} s = {}",
            self.transactions,
            self.elapsed_s,
            units::si(self.transactions_per_s, "transactions/s"),
        )?;
        match &self.service_time {
            Some(times) => write!(f, "\nservice time: {times}"),
            None => Ok(()),
        }
    }
}
