//! Records of the sink.

use std::fmt;

use meter::{histogram::LatencySummary, units, usage::Usage};
use serde::Serialize;

use crate::{errors::ErrorCounts, interfaces::InterfaceTraffic, sink::delay::DelayVariation};

/// What arrived in one interval; every count is that of the interval.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SinkSample {
    /// Length of the interval, in seconds.
    pub interval_s: f64,
    /// Datagrams that arrived, duplicates included.
    pub delivered_datagrams: u64,
    /// Bytes of their payloads.
    pub delivered_bytes: u64,
    /// Datagrams per second.
    pub delivered_pps: f64,
    /// Payload bits per second (RFC 2647 §3.17).
    pub goodput_bps: f64,
    /// Numbers that are missing, less those that came late after all; so it may be negative.
    pub lost_datagrams: i64,
    /// Dropped by the kernel because a socket's buffer was full; `null` where the kernel does not tell.
    pub dropped_at_socket: Option<u64>,
    /// Arrived behind a higher number (RFC 4737 §3).
    pub reordered_datagrams: u64,
    /// Arrived again.
    pub duplicated_datagrams: u64,
}

impl fmt::Display for SinkSample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "delivered {} datagrams, {}, {}; lost {}, reordered {}, duplicated {}",
            self.delivered_datagrams,
            units::si(self.delivered_pps, "packets/s"),
            units::si(self.goodput_bps, "bit/s"),
            self.lost_datagrams,
            self.reordered_datagrams,
            self.duplicated_datagrams
        )
    }
}

/// The range of some numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Numbers {
    /// The lowest.
    pub lowest: u64,
    /// The highest.
    pub highest: u64,
}

/// What arrived in the whole measurement.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SinkSummary {
    /// The measured time, in seconds: from the start, warm-up left out, to the end of the run.
    pub elapsed_s: f64,
    /// Datagrams that arrived, duplicates included.
    pub delivered_datagrams: u64,
    /// Bytes of their payloads.
    pub delivered_bytes: u64,
    /// Datagrams per second of the measured time.
    pub delivered_pps: f64,
    /// Payload bits per second of the measured time (RFC 2647 §3.17).
    pub goodput_bps: f64,
    /// From the first datagram to the last, in seconds; `null` when none arrived.
    pub arrival_span_s: Option<f64>,
    /// Datagrams per second of that span, those of the first read left out: how fast they came while they came. A
    /// burst alone has the rate of its own datagrams. `null` when all came at once.
    pub arrival_pps: Option<f64>,
    /// Numbers missing between the first and the highest one of each flow, for whatever reason. What is missing behind
    /// the last one that arrived can't be known here: compare with the sender's count.
    pub lost_datagrams: u64,
    /// The numbers that counting began with, over all flows: the first to arrive of each, or the one of
    /// `--expect-from`; `null` when no number arrived.
    pub first_numbers: Option<Numbers>,
    /// Dropped by the kernel because a socket's buffer was full, as it counts them (SO_RXQ_OVFL): messages of
    /// whatever kind, also behind the last one that arrived, so that it may be more than what is lost. `null` where
    /// the kernel does not tell.
    pub dropped_at_socket: Option<u64>,
    /// Arrived behind a higher number (RFC 4737 §3), duplicates left out.
    pub reordered_datagrams: u64,
    /// Arrived again.
    pub duplicated_datagrams: u64,
    /// Arrived without room for a number: delivered, but lost or repeated ones can't be told.
    pub unnumbered_datagrams: u64,
    /// Arrived from something that is not this program; not counted as delivered.
    pub foreign_datagrams: u64,
    /// Arrived before the start of a run under `--controlled` or `--start-at`, and thrown away.
    pub discarded_datagrams: u64,
    /// Flows with numbers that were seen.
    pub flows: u64,
    /// Mean number of datagrams that one system call gave; `null` when there was none.
    pub datagrams_per_syscall: Option<f64>,
    /// CPU time of the receiving threads for one datagram, in nanoseconds; `null` when none arrived.
    pub cpu_ns_per_datagram: Option<f64>,
    /// From the intended send time to the kernel's receive timestamp; `null` when it was not measured or
    /// the sender reads another clock.
    pub one_way_delay: Option<LatencySummary>,
    /// How that delay varies; `null` when there is none.
    pub delay_variation: Option<DelayVariation>,
    /// Errors of receiving, by the name of the error number.
    pub errors: ErrorCounts,
    /// What the interfaces of this network namespace carried meanwhile, by their own counters; `null`
    /// where the kernel does not tell.
    pub interfaces: Option<Vec<InterfaceTraffic>>,
    /// What it cost.
    pub usage: Usage,
}

impl fmt::Display for SinkSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.delivered_datagrams == 0 {
            write!(f, "nothing arrived in {:.3} s", self.elapsed_s)?;
        } else {
            write!(
                f,
                "delivered {} datagrams in {:.3} s: {}, {}",
                self.delivered_datagrams,
                self.elapsed_s,
                units::si(self.delivered_pps, "packets/s"),
                units::si(self.goodput_bps, "bit/s")
            )?;
        }
        if let (Some(span_s), Some(pps)) = (self.arrival_span_s, self.arrival_pps) {
            write!(f, "\nfrom the first arrival to the last {span_s:.3} s: {}", units::si(pps, "packets/s"))?;
        }
        write!(f, "\nlost {}", self.lost_datagrams)?;
        write!(f, ", reordered {}, duplicated {}", self.reordered_datagrams, self.duplicated_datagrams)?;
        for (count, what) in [
            (self.dropped_at_socket.unwrap_or(0), "messages dropped at the socket"),
            (self.unnumbered_datagrams, "without a number"),
            (self.foreign_datagrams, "foreign datagrams left out"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        if let (Some(batch), Some(cpu_ns)) = (self.datagrams_per_syscall, self.cpu_ns_per_datagram) {
            write!(f, "\n{batch:.1} datagrams per system call, {cpu_ns:.0} ns of CPU time each")?;
        }
        if let Some(delay) = &self.one_way_delay {
            write!(f, "\none-way delay: {delay}")?;
        }
        if let Some(variation) = &self.delay_variation {
            write!(f, "\ndelay variation: {variation}")?;
        }
        self.errors.iter().try_for_each(|(kind, count)| write!(f, "\n{count} × {kind}"))?;
        self.interfaces.iter().flatten().try_for_each(|interface| write!(f, "\n{interface}"))
    }
}
