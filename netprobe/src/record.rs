//! What a measurement tells.

use std::fmt::{self, Write};

use meter::{
    histogram::{LatencyHistogram, LatencySummary},
    interrupts::InterruptCount,
    units,
    usage::Usage,
};
use serde::Serialize;

use crate::{
    confidence::Confidence,
    protocol::{
        order::{Direction, ReceiveWith, SendWith},
        report::{EndReport, TcpInfo, ZerocopyCount},
    },
    workload::trouble::NetworkErrors,
};

/// A percentile that was asked for.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Percentile {
    /// Which, 0 to 100.
    pub percent: f64,
    /// The time that this share of all does not exceed, in nanoseconds.
    pub value_ns: u64,
}

/// The percentiles asked for; none of an empty histogram.
#[must_use]
pub fn percentiles_of(histogram: &LatencyHistogram, percents: &[f64]) -> Vec<Percentile> {
    let of = |&percent: &f64| Some(Percentile { percent, value_ns: histogram.percentile(percent)? });
    percents.iter().filter_map(of).collect()
}

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
    /// TCP connections on which this end sends, at the interval's end.
    pub tcp: Vec<TcpInfo>,
    /// TCP connections on which the server sends.
    pub peer_tcp: Vec<TcpInfo>,
}

impl fmt::Display for StreamSample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end_s = self.offset_s + self.length_s;
        write!(f, "{:7.2}–{end_s:.2} s  {}", self.offset_s, units::si(self.goodput_bps, "bit/s"))?;
        show_tcp(f, self.tcp.iter().chain(&self.peer_tcp))
    }
}

/// Round-trip time, window and retransmits of the first connection, and how many more there are.
fn show_tcp<'a>(f: &mut fmt::Formatter<'_>, mut tcp: impl Iterator<Item = &'a TcpInfo>) -> fmt::Result {
    let Some(first) = tcp.next() else { return Ok(()) };
    if let Some(rtt_ns) = first.rtt_ns {
        write!(f, "  rtt {}", units::duration(rtt_ns as f64))?;
    }
    if let Some(window) = first.congestion_window_segments {
        write!(f, "  cwnd {window}")?;
    }
    if let Some(retransmits) = first.retransmits {
        write!(f, "  retransmits {retransmits}")?;
    }
    match tcp.count() {
        0 => Ok(()),
        more => write!(f, "  (and {more} more flows)"),
    }
}

/// One interval of transactions.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TransactionSample {
    /// Begin of the interval after the begin of the measured time, in seconds.
    pub offset_s: f64,
    /// Length of the interval, in seconds.
    pub length_s: f64,
    /// Transactions that ended in it.
    pub transactions: u64,
    /// The same per second.
    pub transactions_per_s: f64,
    /// From the sending of a request to the last byte of its response, with connections of their own from
    /// connect(2) to the server's close; `null` without transactions.
    pub service_time: Option<LatencySummary>,
    /// The percentiles asked for.
    pub service_percentiles: Vec<Percentile>,
    /// From the intended time of a request; `null` in a closed loop, which has none.
    pub response_time: Option<LatencySummary>,
    /// The percentiles asked for.
    pub response_percentiles: Vec<Percentile>,
    /// This end's TCP connections at the interval's end.
    pub tcp: Vec<TcpInfo>,
    /// The server's TCP connections.
    pub peer_tcp: Vec<TcpInfo>,
}

impl fmt::Display for TransactionSample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end_s = self.offset_s + self.length_s;
        write!(
            f,
            "{:7.2}–{end_s:.2} s  {}",
            self.offset_s,
            units::si(self.transactions_per_s, "transactions/s")
        )?;
        if let Some(time) = self.response_time.as_ref().or(self.service_time.as_ref()) {
            let show = |ns: u64| units::duration(ns as f64);
            write!(f, "  p50 {}  p99 {}  max {}", show(time.p50_ns), show(time.p99_ns), show(time.max_ns))?;
        }
        show_tcp(f, self.tcp.iter())
    }
}

/// One of several repetitions.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RepetitionSample {
    /// Its number, from 1.
    pub repetition: u64,
    /// Length of the measured time, in seconds.
    pub elapsed_s: f64,
    /// Payload that arrived, in bits/s; `null` for transactions.
    pub goodput_bps: Option<f64>,
    /// Transactions per second; `null` for a stream.
    pub transactions_per_s: Option<f64>,
    /// Service times of this repetition; `null` for a stream.
    pub service_time: Option<LatencySummary>,
}

impl fmt::Display for RepetitionSample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "repetition {}: ", self.repetition)?;
        match (self.goodput_bps, self.transactions_per_s) {
            (Some(goodput), _) => f.write_str(&units::si(goodput, "bit/s")),
            (None, Some(rate)) => f.write_str(&units::si(rate, "transactions/s")),
            (None, None) => f.write_str("nothing"),
        }
    }
}

/// What payload cost one end.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StreamCost {
    /// Service demand: CPU time in nanoseconds per kB (1000 bytes) that arrived; `null` when nothing did.
    pub cpu_ns_per_kb: Option<f64>,
    /// Interrupts per MB (10⁶ bytes) that arrived; `null` when they can't be told.
    pub interrupts_per_mb: Option<f64>,
}

/// What a transaction cost one end.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TransactionCost {
    /// Service demand: CPU time in nanoseconds; `null` without transactions.
    pub cpu_ns_per_transaction: Option<f64>,
    /// Interrupts; `null` when they can't be told.
    pub interrupts_per_transaction: Option<f64>,
}

/// Cost of each unit of what was done, of which there were `units`.
fn cost(usage: &Usage, interrupts: &InterruptCount, units: f64) -> (Option<f64>, Option<f64>) {
    if units <= 0.0 {
        return (None, None);
    }
    (Some(usage.cpu_ns() as f64 / units), interrupts.count.map(|count| count as f64 / units))
}

impl StreamCost {
    /// Cost of `received_bytes` at an end.
    #[must_use]
    pub fn new(end: &EndReport, received_bytes: u64) -> Self {
        let (cpu_ns_per_mb, interrupts_per_mb) =
            cost(&end.usage, &end.interrupts, received_bytes as f64 / 1e6);
        Self { cpu_ns_per_kb: cpu_ns_per_mb.map(|ns| ns / 1e3), interrupts_per_mb }
    }
}

impl TransactionCost {
    /// Cost of each of `transactions` at an end.
    #[must_use]
    pub fn new(end: &EndReport, transactions: u64) -> Self {
        let (cpu_ns_per_transaction, interrupts_per_transaction) =
            cost(&end.usage, &end.interrupts, transactions as f64);
        Self { cpu_ns_per_transaction, interrupts_per_transaction }
    }
}

/// Summary of a stream. Where there were repetitions, of all of them together.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StreamSummary {
    /// Length of the measured time at the receiving end (at this end for both directions), in seconds.
    pub elapsed_s: f64,
    /// Which way payload went.
    pub direction: Direction,
    /// Payload that arrived, in bits/s; both directions together.
    pub goodput_bps: f64,
    /// The part from this end to the server, by the server's clock; `null` where there is none.
    pub send_goodput_bps: Option<f64>,
    /// The part from the server to this end; `null` where there is none.
    pub receive_goodput_bps: Option<f64>,
    /// Payload that arrived at the receiving ends, in bytes.
    pub received_bytes: u64,
    /// Payload that the sending ends handed to their kernels, in bytes.
    pub sent_bytes: u64,
    /// Flows, each way.
    pub flows: u32,
    /// How payload was handed to the kernel.
    pub send_with: SendWith,
    /// What the receiving end did with it: `discard` means that no program could have used it.
    pub receive_with: ReceiveWith,
    /// What became of sends without copying at this end; `null` where there were none.
    pub zerocopy: Option<ZerocopyCount>,
    /// CPUs that this end's threads were pinned to; empty when they were not.
    pub cpus: Vec<usize>,
    /// Threads of this end.
    pub threads: u32,
    /// What it cost this end.
    pub usage: Usage,
    /// Interrupts at this end.
    pub interrupts: InterruptCount,
    /// Cost per payload at this end.
    pub cost: StreamCost,
    /// Cost per payload at the server; `null` when it went away.
    pub peer_cost: Option<StreamCost>,
    /// TCP connections on which this end sends, at the end.
    pub tcp: Vec<TcpInfo>,
    /// What repetitions say of the goodput; `null` without them.
    pub confidence: Option<Confidence>,
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
        )?;
        if self.send_with != SendWith::Copy || self.receive_with != ReceiveWith::Copy {
            write!(f, "\nmarked: send with {:?}, receive with {:?}", self.send_with, self.receive_with)?;
        }
        let demand = |cost: &StreamCost| cost.cpu_ns_per_kb.map(|ns| format!("{ns:.1} ns CPU/kB"));
        show_cost(f, demand(&self.cost), self.peer_cost.as_ref().and_then(demand))?;
        self.confidence.as_ref().map_or(Ok(()), |confidence| write!(f, "\n{confidence}"))
    }
}

/// The service demand of both ends on a line.
fn show_cost(f: &mut fmt::Formatter<'_>, own: Option<String>, peer: Option<String>) -> fmt::Result {
    let Some(own) = own else { return Ok(()) };
    write!(f, "\nservice demand: {own} here")?;
    peer.map_or(Ok(()), |peer| write!(f, ", {peer} at the server"))
}

/// Whether requests waited for responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Loop {
    /// They did: the load slows down with the system, and only service times can be told.
    Closed,
    /// They were sent at intended times, whatever became of earlier ones.
    Open,
}

/// Summary of transactions. Where there were repetitions, of all of them together.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TransactionSummary {
    /// Length of the measured time, in seconds.
    pub elapsed_s: f64,
    /// Whether the loop was closed or open.
    #[serde(rename = "loop")]
    pub kind: Loop,
    /// Transactions of the measured time: begun and ended in it in a closed loop, intended for it in an
    /// open one.
    pub transactions: u64,
    /// Transactions per second, all flows together.
    pub transactions_per_s: f64,
    /// Transactions per second asked for; `null` in a closed loop.
    pub intended_load_per_s: Option<f64>,
    /// Requests intended for the measured time that had no response when it was over; `null` in a closed loop.
    pub unanswered: Option<u64>,
    /// Requests over UDP given up after a second; `null` over TCP.
    pub lost: Option<u64>,
    /// Datagrams that answered no open request: late or twice; `null` over TCP.
    pub stray: Option<u64>,
    /// Errors of the network with which the work went on; `null` over TCP connections that stay open, where
    /// one ends it. The server's are in `peer`.
    pub errors: Option<NetworkErrors>,
    /// From the sending of a request to the last byte of its response, with connections of their own from
    /// connect(2) to the server's close; `null` without transactions.
    pub service_time: Option<LatencySummary>,
    /// The percentiles asked for.
    pub service_percentiles: Vec<Percentile>,
    /// From the intended time of a request; `null` in a closed loop, which has none.
    pub response_time: Option<LatencySummary>,
    /// The percentiles asked for.
    pub response_percentiles: Vec<Percentile>,
    /// Flows.
    pub flows: u32,
    /// CPUs that this end's threads were pinned to; empty when they were not.
    pub cpus: Vec<usize>,
    /// Threads of this end.
    pub threads: u32,
    /// What it cost this end.
    pub usage: Usage,
    /// Interrupts at this end.
    pub interrupts: InterruptCount,
    /// Cost per transaction at this end.
    pub cost: TransactionCost,
    /// Cost per transaction at the server; `null` when it went away.
    pub peer_cost: Option<TransactionCost>,
    /// This end's TCP connections at the end.
    pub tcp: Vec<TcpInfo>,
    /// What repetitions say of the transactions per second; `null` without them.
    pub confidence: Option<Confidence>,
    /// What the server saw; `null` when it went away.
    pub peer: Option<EndReport>,
}

impl fmt::Display for TransactionSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.kind == Loop::Closed { "closed loop" } else { "open loop" };
        write!(
            f,
            "{} transactions in {:.3} s = {} ({kind})",
            self.transactions,
            self.elapsed_s,
            units::si(self.transactions_per_s, "transactions/s"),
        )?;
        show_times(f, "service time", self.service_time.as_ref(), &self.service_percentiles)?;
        show_times(f, "response time", self.response_time.as_ref(), &self.response_percentiles)?;
        for (count, what) in [(self.unanswered, "unanswered"), (self.lost, "lost"), (self.stray, "stray")] {
            if let Some(count) = count.filter(|&count| count > 0) {
                write!(f, "\n{what}: {count}")?;
            }
        }
        for (kind, count) in self.errors.into_iter().flat_map(NetworkErrors::occurred) {
            write!(f, "\nerrors, {kind}: {count}")?;
        }
        let demand = |cost: &TransactionCost| {
            cost.cpu_ns_per_transaction.map(|ns| format!("{ns:.0} ns CPU/transaction"))
        };
        show_cost(f, demand(&self.cost), self.peer_cost.as_ref().and_then(demand))?;
        self.confidence.as_ref().map_or(Ok(()), |confidence| write!(f, "\n{confidence}"))
    }
}

fn show_times(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    times: Option<&LatencySummary>,
    percentiles: &[Percentile],
) -> fmt::Result {
    let Some(times) = times else { return Ok(()) };
    let mut line = format!("\n{what}: {times}");
    for Percentile { percent, value_ns } in percentiles {
        write!(line, "  p{percent} {}", units::duration(*value_ns as f64))?;
    }
    f.write_str(&line)
}
