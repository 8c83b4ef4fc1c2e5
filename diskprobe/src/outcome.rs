//! The records of a measurement.

use std::fmt;

use meter::{histogram::LatencySummary, interrupts::InterruptCount, units, usage::Usage};
use serde::Serialize;

use crate::worker::{Latencies, Tally};

/// What one stretch of work gave: a run, an interval, or all runs together.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Figures {
    /// From the first submission to the last completion, in seconds. A final sync is not in it.
    pub elapsed_s: f64,
    /// Bytes whose transfer the kernel confirmed.
    pub bytes: u64,
    /// Operations that were done entirely.
    pub operations: u64,
    /// Bytes per second of elapsed time; `null` when no time passed.
    pub bytes_per_s: Option<f64>,
    /// Operations per second of elapsed time; `null` when no time passed.
    pub operations_per_s: Option<f64>,
    /// From the moment an operation was ready until the kernel had taken it (fio's slat).
    pub submission_latency: Option<LatencySummary>,
    /// From then until its end was seen (fio's clat).
    pub completion_latency: Option<LatencySummary>,
    /// Both together (fio's lat).
    pub total_latency: Option<LatencySummary>,
    /// From the intended start to the end; `null` without a rate, which alone gives intended starts.
    pub response_time: Option<LatencySummary>,
    /// Mean number of operations in flight; `null` when no time passed.
    pub in_flight_mean: Option<f64>,
    /// How often the kernel transferred a part of an operation and was asked for the rest.
    pub short_transfers: u64,
    /// What it cost this process.
    pub usage: Usage,
    /// Interrupts of the target's disk meanwhile.
    pub interrupts: InterruptCount,
}

impl Figures {
    /// The figures of `tallies` that together took `elapsed_ns`.
    #[must_use]
    pub fn new(
        total: &Tally,
        elapsed_ns: u64,
        latencies: &Latencies,
        usage: Usage,
        interrupts: InterruptCount,
    ) -> Self {
        let elapsed_s = elapsed_ns as f64 / 1e9;
        let per_second = |amount: f64| (elapsed_ns > 0).then(|| amount / elapsed_s);
        Self {
            elapsed_s,
            bytes: total.bytes,
            operations: total.operations,
            bytes_per_s: per_second(total.bytes as f64),
            operations_per_s: per_second(total.operations as f64),
            submission_latency: latencies.submission.summary(),
            completion_latency: latencies.completion.summary(),
            total_latency: latencies.total.summary(),
            response_time: latencies.response.as_ref().and_then(meter::histogram::LatencyHistogram::summary),
            in_flight_mean: per_second(total.in_flight_ns as f64 / 1e9),
            short_transfers: total.short_transfers,
            usage,
            interrupts,
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = |rate: Option<f64>, unit| rate.map_or_else(|| "-".into(), |rate| units::si(rate, unit));
        write!(
            f,
            "{} in {} s: {}, {}, depth {:.2}",
            units::si(self.bytes as f64, "B"),
            format_args!("{:.6}", self.elapsed_s),
            rate(self.bytes_per_s, "B/s"),
            rate(self.operations_per_s, "operations/s"),
            self.in_flight_mean.unwrap_or(0.0)
        )?;
        let rows = [
            ("submission", &self.submission_latency),
            ("completion", &self.completion_latency),
            ("total", &self.total_latency),
            ("response", &self.response_time),
        ];
        for (name, latency) in rows {
            if let Some(latency) = latency {
                write!(f, "\n  {name:<11}{latency}")?;
            }
        }
        write!(f, "\n  CPU {} user", units::duration(self.usage.cpu_user_ns as f64))?;
        write!(f, " + {} system", units::duration(self.usage.cpu_system_ns as f64))?;
        match (&self.interrupts.count, &self.interrupts.reason) {
            (Some(count), _) => write!(f, ", {count} interrupts of {}", self.interrupts.sources.join(", ")),
            (None, Some(reason)) => write!(f, ", interrupts unknown: {reason}"),
            (None, None) => Ok(()),
        }
    }
}

/// The body of a `sample` record: one run.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sample {
    /// Number of the run, from 0.
    pub run: u32,
    /// Its figures.
    #[serde(flatten)]
    pub figures: Figures,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {}: {}", self.run, self.figures)
    }
}

/// The body of the `summary` record: all runs together.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Summary {
    /// Number of runs that were begun.
    pub runs: u32,
    /// Their figures together; those of the only run where there was one.
    #[serde(flatten)]
    pub figures: Figures,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.runs {
            // A single run has been shown already.
            1 => Ok(()),
            runs => write!(f, "{runs} runs: {}", self.figures),
        }
    }
}
