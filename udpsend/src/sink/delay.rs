//! One-way delay and its variation, where sender and receiver read one clock.

use std::fmt;

use meter::{
    clock,
    histogram::{LatencyHistogram, LatencySummary},
    relay::Recording,
    runtime::Recorder,
    units,
};
use serde::Serialize;

use crate::{
    latency_log::Repeats,
    payload::{self, Origin},
    sink::flows::FlowState,
};

/// Tag of the one-way delay in a histogram log; its variation is in none.
pub const HLOG_TAGS: &[&str] = &["one_way_delay"];

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

/// What is recorded of the delays.
#[derive(Debug)]
pub struct Delays {
    one_way: LatencyHistogram,
    inter_packet: LatencyHistogram,
}

impl Delays {
    /// None yet, memory touched.
    #[must_use]
    pub fn none() -> Self {
        Self { one_way: LatencyHistogram::new(), inter_packet: LatencyHistogram::new() }
    }

    /// The delay and its variation; `None` when none was recorded.
    #[must_use]
    pub fn summaries(&self) -> Option<(LatencySummary, DelayVariation)> {
        let one_way = self.one_way.summary()?;
        let packet = above_minimum(&one_way);
        Some((one_way, DelayVariation { packet, inter_packet: self.inter_packet.summary() }))
    }
}

impl Recording for Delays {
    fn merge(&mut self, other: &Self) {
        self.one_way.merge(&other.one_way);
        self.inter_packet.merge(&other.inter_packet);
    }

    fn reset(&mut self) {
        self.one_way.reset();
        self.inter_packet.reset();
    }

    fn histograms(&self) -> Vec<&LatencyHistogram> {
        vec![&self.one_way, &self.inter_packet]
    }
}

/// One worker's view of the delays.
pub struct DelayMeter {
    local_clock: u32,
    /// CLOCK_REALTIME less CLOCK_MONOTONIC: the kernel stamps datagrams with the one, senders with the other.
    wall_ahead_ns: u64,
    recorder: Recorder<Delays>,
    one_way: Repeats,
    inter_packet: Repeats,
    /// Datagrams whose sender reads another clock.
    pub other_clock: u64,
}

impl DelayMeter {
    /// Records into `recorder`.
    #[must_use]
    pub fn new(recorder: Recorder<Delays>) -> Self {
        Self {
            local_clock: payload::local_clock(),
            wall_ahead_ns: 0,
            recorder,
            one_way: Repeats::default(),
            inter_packet: Repeats::default(),
            other_clock: 0,
        }
    }

    /// The measured time begins at `from_ns`.
    pub fn begin(&mut self, from_ns: u64) {
        self.one_way.reset();
        self.inter_packet.reset();
        self.recorder.begin(from_ns);
        self.other_clock = 0;
    }

    /// To be called with the time once for each batch: the wall clock may have been set meanwhile.
    #[inline]
    pub fn tick(&mut self, now_ns: u64) {
        self.wall_ahead_ns = clock::wall_ns().wrapping_sub(clock::now_ns());
        self.settle();
        self.recorder.tick(now_ns);
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
        let delays = &mut *self.recorder.active;
        self.one_way.record(delay_ns, &mut delays.one_way);
        if let Some((before, before_ns)) = flow.latest
            && before.wrapping_add(1) == sequence
        {
            self.inter_packet.record(delay_ns.abs_diff(before_ns), &mut delays.inter_packet);
        }
        flow.latest = Some((sequence, delay_ns));
    }

    /// What was not given to the conductor.
    #[must_use]
    pub fn finish(mut self) -> Box<Delays> {
        self.settle();
        self.recorder.finish()
    }

    #[inline]
    fn settle(&mut self) {
        self.one_way.settle(&mut self.recorder.active.one_way);
        self.inter_packet.settle(&mut self.recorder.active.inter_packet);
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
