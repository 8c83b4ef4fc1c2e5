//! One-way delay and its variation, where sender and receiver read one clock.

use std::{fmt, path::Path};

use meter::{
    Result, clock,
    histogram::{LatencyHistogram, LatencySummary},
    units,
};
use serde::Serialize;

use crate::{
    latency_log::{Collector, Recorder},
    payload::{self, Origin},
    sink::flows::FlowState,
};

/// Tag of the one-way delay in a histogram log.
const HLOG_TAG: &str = "one_way_delay";

/// How the delay varies (RFC 5481): both forms are of the datagrams that arrived, duplicates left out.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DelayVariation {
    /// Packet delay variation: a datagram's delay less the smallest of all (RFC 5481 §4.2).
    pub packet: LatencySummary,
    /// Inter-packet delay variation, without its sign: a datagram's delay against that of its
    /// predecessor in the flow (RFC 5481 §4.1); `null` when no two neighbours arrived.
    pub inter_packet: Option<LatencySummary>,
}

impl fmt::Display for DelayVariation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |ns: u64| units::duration(ns as f64);
        write!(
            f,
            "p50 {}  p99 {}  max {}",
            show(self.packet.p50_ns),
            show(self.packet.p99_ns),
            show(self.packet.max_ns)
        )
    }
}

/// One worker's view of the delays.
pub struct DelayMeter {
    local_clock: u32,
    /// CLOCK_REALTIME less CLOCK_MONOTONIC: the kernel stamps datagrams with the one, senders with the other.
    wall_ahead_ns: u64,
    delay: Recorder,
    inter_packet: Recorder,
    /// Datagrams whose sender reads another clock.
    pub other_clock: u64,
}

impl DelayMeter {
    /// Begins anew at `start_ns`.
    pub fn begin(&mut self, start_ns: u64) {
        self.delay.begin(start_ns);
        self.inter_packet.begin(start_ns);
        self.other_clock = 0;
    }

    /// To be called with the time once for each batch: the wall clock may have been set meanwhile.
    #[inline]
    pub fn tick(&mut self, now_ns: u64) {
        self.wall_ahead_ns = clock::wall_ns().wrapping_sub(clock::now_ns());
        self.delay.tick(now_ns);
        self.inter_packet.tick(now_ns);
    }

    /// Takes a datagram that the kernel stamped at `received_wall_ns`.
    #[inline]
    pub fn note(
        &mut self,
        flow: &mut FlowState,
        sequence: u64,
        intended_ns: u64,
        origin: Origin,
        received_wall_ns: u64,
    ) {
        if origin.clock != self.local_clock {
            self.other_clock += 1;
            return;
        }
        let received_ns = received_wall_ns.wrapping_sub(self.wall_ahead_ns);
        let delay_ns = received_ns.saturating_sub(intended_ns);
        self.delay.record(delay_ns);
        if let Some((before, before_ns)) = flow.latest
            && before.wrapping_add(1) == sequence
        {
            self.inter_packet.record(delay_ns.abs_diff(before_ns));
        }
        flow.latest = Some((sequence, delay_ns));
    }

    /// What was not given to the conductor.
    #[must_use]
    pub fn finish(self) -> FinishedDelays {
        FinishedDelays {
            delay: self.delay.finish(),
            inter_packet: self.inter_packet.finish(),
            other_clock: self.other_clock,
        }
    }
}

/// What a worker leaves behind.
pub struct FinishedDelays {
    delay: Box<LatencyHistogram>,
    inter_packet: Box<LatencyHistogram>,
    /// Datagrams whose sender reads another clock.
    pub other_clock: u64,
}

/// The conductor's view.
pub struct DelayCollector {
    delay: Collector,
    inter_packet: Collector,
}

/// Both ends, for `workers` of them.
///
/// # Errors
/// When the histogram log can't be created.
pub fn meters(
    hlog: Option<&Path>,
    interval_ns: Option<u64>,
    workers: usize,
) -> Result<(Vec<DelayMeter>, DelayCollector)> {
    let (delays, delay) = Collector::new(HLOG_TAG, hlog, interval_ns, workers)?;
    let (variations, inter_packet) = Collector::new("", None, None, workers)?;
    let local_clock = payload::local_clock();
    let meters = delays.into_iter().zip(variations).map(|(delay, inter_packet)| DelayMeter {
        local_clock,
        wall_ahead_ns: 0,
        delay,
        inter_packet,
        other_clock: 0,
    });
    Ok((meters.collect(), DelayCollector { delay, inter_packet }))
}

impl DelayCollector {
    /// The measurement begins at `start_ns`.
    pub fn begin(&mut self, start_ns: u64) {
        self.delay.begin(start_ns);
    }

    /// An interval has ended at `end_ns`.
    ///
    /// # Errors
    /// When the log can't be written.
    pub fn edge(&mut self, end_ns: u64) -> Result<()> {
        self.delay.edge(end_ns)
    }

    /// All workers have ended by `end_ns`; gives the delay and its variation, if any was measured.
    ///
    /// # Errors
    /// When the log can't be written.
    pub fn finish(
        self,
        finished: &[&FinishedDelays],
        end_ns: u64,
    ) -> Result<(Option<LatencySummary>, Option<DelayVariation>)> {
        let delay = self.delay.finish(finished.iter().map(|worker| &*worker.delay), end_ns)?.summary();
        let inter_packet =
            self.inter_packet.finish(finished.iter().map(|worker| &*worker.inter_packet), end_ns)?.summary();
        let variation =
            delay.as_ref().map(|delay| DelayVariation { packet: above_minimum(delay), inter_packet });
        Ok((delay, variation))
    }
}

/// The same figures with the minimum taken off.
fn above_minimum(delay: &LatencySummary) -> LatencySummary {
    let less = |ns: u64| ns - delay.min_ns;
    LatencySummary {
        count: delay.count,
        min_ns: 0,
        mean_ns: delay.mean_ns - delay.min_ns as f64,
        stdev_ns: delay.stdev_ns,
        p50_ns: less(delay.p50_ns),
        p90_ns: less(delay.p90_ns),
        p99_ns: less(delay.p99_ns),
        p99_9_ns: less(delay.p99_9_ns),
        p99_99_ns: less(delay.p99_99_ns),
        max_ns: less(delay.max_ns),
    }
}
