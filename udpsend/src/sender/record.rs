//! Records of the sender.

use std::fmt;

use meter::{histogram::LatencySummary, units, usage::Usage};
use serde::Serialize;

use crate::{errors::ErrorCounts, interfaces::InterfaceTraffic};

/// What was sent in one interval; every count is that of the interval.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SendSample {
    /// Length of the interval, in seconds.
    pub interval_s: f64,
    /// Datagrams that the kernel took.
    pub sent_datagrams: u64,
    /// Bytes of their payloads.
    pub sent_bytes: u64,
    /// Datagrams per second.
    pub offered_pps: f64,
    /// Payload bits per second.
    pub offered_bps: f64,
    /// Slots of the schedule that were not sent: too late, or not taken by the kernel when the time was over.
    pub missed_slots: u64,
    /// Refused sends, by the name of the error number.
    pub errors: ErrorCounts,
}

impl fmt::Display for SendSample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sent {} datagrams, {}, {}",
            self.sent_datagrams,
            units::si(self.offered_pps, "packets/s"),
            units::si(self.offered_bps, "bit/s")
        )?;
        show_trouble(f, self.missed_slots, &self.errors)
    }
}

/// What was sent in the whole measurement.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SendSummary {
    /// From the start, warm-up left out, until the last worker ended, in seconds.
    pub elapsed_s: f64,
    /// Datagrams that the kernel took. It may still drop them: see the sink, and the interface.
    pub sent_datagrams: u64,
    /// Bytes of their payloads.
    pub sent_bytes: u64,
    /// How many of them had no room for a number: a sink can't tell whether those are lost.
    pub unnumbered_datagrams: u64,
    /// Intended load, in datagrams per second; `null` when unlimited.
    pub intended_pps: Option<f64>,
    /// Offered load, in datagrams per second (RFC 2285 §3.5.2).
    pub offered_pps: f64,
    /// Offered load, in payload bits per second.
    pub offered_bps: f64,
    /// Refused sends, by the name of the error number. None of them counts as sent.
    pub errors: ErrorCounts,
    /// How much later than intended datagrams were handed over; `null` when the load was unlimited.
    pub pacing_error: Option<LatencySummary>,
    /// Slots of the schedule that were not sent: later than the catch-up bound, or not taken by the kernel when the
    /// time was over. Where more than a million random slots are left at the end, their mean number.
    pub missed_slots: u64,
    /// Mean number of datagrams that one system call took; `null` when there was none.
    pub datagrams_per_syscall: Option<f64>,
    /// CPU time of the sending threads for one datagram, in nanoseconds; `null` when none was sent.
    /// The kernel's work for the receiver that runs on these threads is part of it.
    pub cpu_ns_per_datagram: Option<f64>,
    /// What the interfaces of this network namespace carried meanwhile, by their own counters; `null`
    /// where the kernel does not tell.
    pub interfaces: Option<Vec<InterfaceTraffic>>,
    /// What it cost.
    pub usage: Usage,
}

impl fmt::Display for SendSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sent {} datagrams in {:.3} s: {}, {}",
            self.sent_datagrams,
            self.elapsed_s,
            units::si(self.offered_pps, "packets/s"),
            units::si(self.offered_bps, "bit/s")
        )?;
        if let (Some(batch), Some(cpu_ns)) = (self.datagrams_per_syscall, self.cpu_ns_per_datagram) {
            write!(f, "\n{batch:.1} datagrams per system call, {cpu_ns:.0} ns of CPU time each")?;
        }
        if let Some(pacing_error) = &self.pacing_error {
            write!(f, "\npacing error: {pacing_error}")?;
        }
        show_trouble(f, self.missed_slots, &self.errors)?;
        if self.unnumbered_datagrams > 0 {
            write!(f, ", {} without a number", self.unnumbered_datagrams)?;
        }
        self.interfaces.iter().flatten().try_for_each(|interface| write!(f, "\n{interface}"))
    }
}

fn show_trouble(f: &mut fmt::Formatter<'_>, missed_slots: u64, errors: &ErrorCounts) -> fmt::Result {
    if missed_slots > 0 {
        write!(f, ", {missed_slots} slots missed")?;
    }
    errors.iter().try_for_each(|(kind, count)| write!(f, ", {count} × {kind}"))
}
