//! The records of a measurement.

use std::fmt;

use meter::{
    histogram::{LatencyHistogram, LatencySummary},
    interrupts::InterruptCount,
    units,
    usage::Usage,
};
use serde::Serialize;

use crate::{
    config::Config, data::Mismatch, facts::Facts, latencies::Latencies, setup::Granted, steady::SteadyState,
    tally::Amount,
};

/// The body of the `start` record's `config`: what was asked for, and of what target.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Resolved {
    /// What was asked for.
    #[serde(flatten)]
    pub config: Config,
    /// Facts of the target.
    pub target: Facts,
}

impl fmt::Display for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.config, self.target)
    }
}

/// What one stretch of work gave: a run, an interval, or all runs together.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Figures {
    /// From the first submission to the last completion, in seconds; with `--rate` to the end of `--duration` or to a
    /// stop where that is later. A final sync is not in it. Intervals follow each other without a gap, and theirs add up to
    /// their run's.
    pub elapsed_s: f64,
    /// What rates are over, in seconds: `elapsed_s` and, where all blocks of a `--rate` were done, the rest of the
    /// time until the next operation would have been due.
    pub window_s: f64,
    /// Bytes whose transfer the kernel confirmed.
    pub bytes: u64,
    /// Operations that were done entirely.
    pub operations: u64,
    /// Bytes per second of the window; `null` when no time passed.
    pub bytes_per_s: Option<f64>,
    /// Operations per second of the window; `null` when no time passed.
    pub operations_per_s: Option<f64>,
    /// From the moment an operation was ready until the kernel had taken it (fio's slat).
    pub submission_latency: Option<LatencySummary>,
    /// From then until its end was seen (fio's clat).
    pub completion_latency: Option<LatencySummary>,
    /// Both together: the service time (fio's lat).
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
    /// Both per operation and per GiB.
    pub cost: Cost,
}

/// CPU time, steal and interrupts per operation and per GiB; `null` where nothing was done or they can't be told.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Cost {
    /// CPU time of this process per operation, in nanoseconds.
    pub cpu_per_operation_ns: Option<f64>,
    /// CPU time of this process per GiB, in seconds.
    pub cpu_per_gib_s: Option<f64>,
    /// Time that the hypervisor took per operation, in nanoseconds.
    pub steal_per_operation_ns: Option<f64>,
    /// Time that the hypervisor took per GiB, in seconds.
    pub steal_per_gib_s: Option<f64>,
    /// Interrupts per operation.
    pub interrupts_per_operation: Option<f64>,
    /// Interrupts per GiB.
    pub interrupts_per_gib: Option<f64>,
}

impl Cost {
    fn new(bytes: u64, operations: u64, usage: &Usage, interrupts: &InterruptCount) -> Self {
        let ratio = |amount: Option<f64>, of: f64| amount.filter(|_| of > 0.0).map(|amount| amount / of);
        let gib = bytes as f64 / f64::from(1 << 30);
        let operations = operations as f64;
        let cpu_ns = Some(usage.cpu_ns() as f64);
        let steal_ns = usage.steal_ns.map(|ns| ns as f64);
        let count = interrupts.count.map(|count| count as f64);
        Self {
            cpu_per_operation_ns: ratio(cpu_ns, operations),
            cpu_per_gib_s: ratio(cpu_ns, gib * 1e9),
            steal_per_operation_ns: ratio(steal_ns, operations),
            steal_per_gib_s: ratio(steal_ns, gib * 1e9),
            interrupts_per_operation: ratio(count, operations),
            interrupts_per_gib: ratio(count, gib),
        }
    }
}

impl Figures {
    /// The figures of `amount` done.
    #[must_use]
    pub fn new(amount: &Amount, latencies: &Latencies, usage: Usage, interrupts: InterruptCount) -> Self {
        let Amount { elapsed_ns, window_ns, bytes, operations, short_transfers, in_flight_ns } = *amount;
        Self {
            elapsed_s: elapsed_ns as f64 / 1e9,
            window_s: window_ns as f64 / 1e9,
            bytes,
            operations,
            bytes_per_s: amount.per_second(bytes as f64),
            operations_per_s: amount.per_second(operations as f64),
            submission_latency: latencies.submission.summary(),
            completion_latency: latencies.completion.summary(),
            total_latency: latencies.total.summary(),
            response_time: latencies.response.as_ref().and_then(|response| response.summary()),
            in_flight_mean: amount.per_second(in_flight_ns as f64 / 1e9),
            short_transfers,
            cost: Cost::new(bytes, operations, &usage, &interrupts),
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
            "{} in {:.6} s: {}, {}, depth {:.2}",
            units::si(self.bytes as f64, "B"),
            self.elapsed_s,
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
        if let Some(ns) = self.cost.cpu_per_operation_ns {
            write!(f, " ({} per operation)", units::duration(ns))?;
        }
        match (&self.interrupts.count, &self.interrupts.reason) {
            (Some(count), _) => {
                write!(
                    f,
                    ", {} of {}",
                    units::counted(*count, "interrupt"),
                    self.interrupts.sources.join(", ")
                )
            }
            (None, Some(reason)) => write!(f, ", interrupts unknown: {reason}"),
            (None, None) => Ok(()),
        }
    }
}

/// The body of a `sample` record: one run, or one interval of it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sample {
    /// Number of the run, from 0.
    pub run: u32,
    /// Number of the interval in the run, from 0; `null` for the whole run.
    pub interval: Option<u32>,
    /// Its figures.
    #[serde(flatten)]
    pub figures: Figures,
    /// Seconds that the final sync took; `null` without one.
    pub sync_s: Option<f64>,
    /// What reading back found; `null` where nothing is compared.
    pub verification: Option<Verification>,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {}", self.run)?;
        if let Some(interval) = self.interval {
            write!(f, " interval {interval}")?;
        }
        write!(f, ": {}", self.figures)?;
        if let Some(seconds) = self.sync_s {
            write!(f, "\n  sync {}", units::duration(seconds * 1e9))?;
        }
        self.verification.iter().try_for_each(|verification| write!(f, "\n  {verification}"))
    }
}

/// What comparing data found.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Verification {
    /// Bytes compared.
    pub bytes: u64,
    /// Sectors of 512 bytes that differ.
    pub wrong_sectors: u64,
    /// The first of them; `null` when all is as it should be.
    pub mismatch: Option<Mismatch>,
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = units::si(self.bytes as f64, "B");
        match &self.mismatch {
            None => write!(f, "verified {bytes}"),
            Some(mismatch) => {
                write!(f, "{} in {bytes}: {mismatch}", units::counted(self.wrong_sectors, "wrong sector"))
            }
        }
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
    /// Seconds that the final syncs took together; `null` without one.
    pub sync_s: Option<f64>,
    /// What reading back found in all runs; `null` where nothing is compared.
    pub verification: Option<Verification>,
    /// Bytes of what a run reads that are holes or were reserved and never written: they come as zeros without the
    /// disk. `null` for writes, and where the target does not tell.
    pub holes_bytes: Option<u64>,
    /// What SNIA's rule says; `null` where it is not asked.
    pub steady_state: Option<SteadyState>,
    /// io_uring's features in use and refused; `null` for an engine without it.
    pub ring: Option<Granted>,
    /// The whole histograms, where they are asked for.
    pub histograms: Option<Vec<NamedHistogram>>,
}

/// One histogram.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NamedHistogram {
    /// Whose it is, such as `completion_latency`.
    pub name: &'static str,
    /// Pairs of a bucket's highest latency in nanoseconds and its count, ascending.
    pub buckets_ns: Vec<(u64, u64)>,
}

impl NamedHistogram {
    /// The non-empty buckets of `histogram`.
    #[must_use]
    pub fn new(name: &'static str, histogram: &LatencyHistogram) -> Self {
        Self { name, buckets_ns: histogram.buckets().collect() }
    }
}

impl Summary {
    /// A summary with every figure filled in, as JSON: it shows which keys there are.
    #[must_use]
    pub fn example() -> serde_json::Value {
        let mut latencies = Latencies::new(true);
        latencies.record_one();
        let amount = Amount {
            elapsed_ns: 1,
            window_ns: 1,
            bytes: 1,
            operations: 1,
            short_transfers: 0,
            in_flight_ns: 1,
        };
        let usage = Usage { steal_ns: Some(0), resident_peak_bytes: Some(0), ..Usage::default() };
        let interrupts = InterruptCount { count: Some(0), sources: Vec::new(), reason: None };
        let summary = Self {
            runs: 1,
            figures: Figures::new(&amount, &latencies, usage, interrupts),
            sync_s: Some(0.0),
            verification: Some(Verification { bytes: 0, wrong_sectors: 0, mismatch: None }),
            holes_bytes: Some(0),
            steady_state: Some(crate::steady::judge(&[1.0; crate::steady::WINDOW])),
            ring: None,
            histograms: None,
        };
        serde_json::to_value(summary).unwrap_or_default()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.runs {
            0 => f.write_str("no run was begun"),
            // A single run has been shown already.
            1 => Ok(()),
            runs => write!(f, "{runs} runs: {}", self.figures),
        }?;
        match &self.steady_state {
            Some(SteadyState {
                reached,
                rounds,
                range_percent: Some(range),
                slope_percent: Some(slope),
                ..
            }) => {
                let word = if *reached { "steady" } else { "not steady" };
                write!(f, "\n{word} after {rounds} rounds: range {range:.1} %, slope {slope:.1} %")
            }
            _ => Ok(()),
        }
    }
}
