//! Figures: what a run gave, each under a key that ends in its unit.

use std::{borrow::Borrow, collections::BTreeMap};

use anyhow::{Context, Result};
use meter::units;
use serde::Serialize;

/// What a figure is, as the key under which the tools' records give it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Figure(&'static str);

impl Figure {
    /// Bytes transferred per second of the tool's own measured time.
    pub const BYTES_PER_S: Self = Self("bytes_per_s");
    /// Operations per second of the tool's own measured time.
    pub const OPERATIONS_PER_S: Self = Self("operations_per_s");
    /// Packets per second as the receiving interface counts them.
    pub const INTERFACE_PPS: Self = Self("interface_pps");
    /// Datagrams per second as the receiving program counts them.
    pub const DELIVERED_PPS: Self = Self("delivered_pps");
    /// Payload bits per second as received.
    pub const GOODPUT_BPS: Self = Self("goodput_bps");
    /// Transactions per second.
    pub const TRANSACTIONS_PER_S: Self = Self("transactions_per_s");
    /// From exec to exit, in seconds.
    pub const ELAPSED_S: Self = Self("elapsed_s");
    /// From exec until everything is ready for the first operation, in seconds.
    pub const READY_S: Self = Self("ready_s");
    /// CPU time of all processes from exec to exit, both ends where there are two, in seconds.
    pub const CPU_S: Self = Self("cpu_s");
    /// CPU time of all processes for one packet that arrived, in nanoseconds.
    pub const CPU_PER_PACKET_NS: Self = Self("cpu_per_packet_ns");
    /// CPU time of all processes for one operation, in nanoseconds.
    pub const CPU_PER_OPERATION_NS: Self = Self("cpu_per_operation_ns");
    /// Peak resident memory of the largest process, in bytes.
    pub const RESIDENT_PEAK_BYTES: Self = Self("resident_peak_bytes");
    /// Size of a file, in bytes.
    pub const SIZE_BYTES: Self = Self("size_bytes");
    /// Median of a latency, in nanoseconds.
    pub const P50_NS: Self = Self("p50_ns");
    /// 99th percentile of a latency, in nanoseconds.
    pub const P99_NS: Self = Self("p99_ns");
    /// Distance of the mean rate from the intended one, in percent.
    pub const RATE_ERROR_PERCENT: Self = Self("rate_error_percent");
    /// 90th percentile of the distance from the intended time, in nanoseconds.
    pub const PACING_P90_NS: Self = Self("pacing_p90_ns");
    /// 99th percentile of the distance from the intended time, in nanoseconds.
    pub const PACING_P99_NS: Self = Self("pacing_p99_ns");
    /// Distance of the achieved duty from the one asked for, in percentage points.
    pub const DUTY_ERROR_POINTS: Self = Self("duty_error_points");
    /// Time for one operation, in nanoseconds.
    pub const TIME_PER_OPERATION_NS: Self = Self("time_per_operation_ns");
    /// Instructions of one operation.
    pub const INSTRUCTIONS_PER_OPERATION: Self = Self("instructions_per_operation");
    /// Interruptions of a busy loop that were found, per second.
    pub const GAPS_PER_S: Self = Self("gaps_per_s");

    /// The key.
    pub fn key(self) -> &'static str {
        self.0
    }

    /// A value with its unit, for people.
    pub fn show(self, value: f64) -> String {
        let ends_with = |suffix| self.0.ends_with(suffix);
        if ends_with("_bytes_per_s") || self == Self::BYTES_PER_S {
            units::si(value, "B/s")
        } else if ends_with("_per_s") {
            units::si(value, "/s")
        } else if ends_with("_bps") {
            units::si(value, "bit/s")
        } else if ends_with("_pps") {
            units::si(value, "packets/s")
        } else if ends_with("_bytes") {
            units::si(value, "B")
        } else if ends_with("_ns") {
            units::duration(value)
        } else if ends_with("_s") {
            units::duration(value * 1e9)
        } else if ends_with("_percent") {
            format!("{value:.4} %")
        } else if ends_with("_points") {
            format!("{value:.3} points")
        } else {
            format!("{value}")
        }
    }
}

impl Borrow<str> for Figure {
    fn borrow(&self) -> &str {
        self.0
    }
}

/// What one run of one side gave. What it did not give is missing, never zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Measurement {
    /// Its figures.
    #[serde(flatten)]
    pub figures: BTreeMap<Figure, f64>,
    /// What the tool itself said against its result.
    #[serde(skip)]
    pub remarks: Vec<String>,
}

impl Measurement {
    /// Adds a figure.
    pub fn with(mut self, figure: Figure, value: f64) -> Self {
        self.figures.insert(figure, value);
        self
    }

    /// Adds a figure that a tool must have given.
    pub fn given(self, figure: Figure, value: Option<f64>) -> Result<Self> {
        let value = value.with_context(|| format!("its output does not tell {}", figure.key()))?;
        Ok(self.with(figure, value))
    }

    /// A figure.
    pub fn get(&self, figure: Figure) -> Option<f64> {
        self.figures.get(&figure).copied()
    }

    /// Divides the CPU time by a count of operations or packets.
    pub fn cpu_per(self, figure: Figure, count: f64) -> Self {
        match self.get(Figure::CPU_S) {
            Some(cpu_s) if count > 0.0 => self.with(figure, cpu_s * 1e9 / count),
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_told_by_the_key() {
        assert_eq!(Figure::BYTES_PER_S.show(1.5e9), "1.5 GB/s");
        assert_eq!(Figure::TRANSACTIONS_PER_S.show(20_000.0), "20 k/s");
        assert_eq!(Figure::GOODPUT_BPS.show(1e9), "1 Gbit/s");
        assert_eq!(Figure::CPU_S.show(0.25), "250 ms");
        assert_eq!(Figure::CPU_PER_PACKET_NS.show(812.0), "812 ns");
        assert_eq!(Figure::RESIDENT_PEAK_BYTES.show(1_572_864.0), "1.573 MB");
    }

    #[test]
    fn what_a_tool_did_not_tell_is_an_error_and_not_a_zero() {
        let error = Measurement::default().given(Figure::P99_NS, None).unwrap_err();
        assert!(error.to_string().contains("p99_ns"));
    }
}
