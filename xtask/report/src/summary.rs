//! `summary.json`: the statistics of a results folder. A missing number is null, never 0.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use plan::{Better, Cell};
use results::outcome::Counts;

/// Version of the summary's keys.
pub const SCHEMA_VERSION: u32 = 2;

/// Everything that the statistics say about one results folder.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Summary {
    /// Version of these keys.
    pub schema: u32,
    /// Name of the plan.
    pub plan: String,
    /// The plan's one line about itself.
    pub title: String,
    /// What kind of place the numbers come from.
    pub platform: String,
    /// Seed of the order of trials and of the bootstrap.
    pub seed: u64,
    /// When the matrix began, in nanoseconds since 1970-01-01 UTC.
    pub started_wall_ns: u64,
    /// Things that a reader must know.
    pub notes: Vec<String>,
    /// The attachment that others are compared with; null when the plan names none.
    pub baseline: Option<String>,
    /// How sure each interval is, in percent. Intervals are not widened for the number of comparisons.
    pub confidence_percent: f64,
    /// How far a ratio may be from 1, in percent, to be called no difference.
    pub margin_percent: f64,
    /// Trials that the plan asks for.
    pub trials_planned: u64,
    /// Trials by how they ended, repeated attempts included.
    pub outcomes: Counts,
    /// The cells, in the plan's order.
    pub cells: Vec<CellSummary>,
    /// For each probe, whether its results moved while the matrix ran.
    pub drift: BTreeMap<String, Drift>,
    /// Where the published numbers come from.
    pub published_source: Option<String>,
}

/// One point of the matrix.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CellSummary {
    /// `probe/attachment/load`, for readers.
    pub name: String,
    /// Which one.
    #[serde(flatten)]
    pub cell: Cell,
    /// Its id among the published numbers, such as `disk-3`.
    pub published_id: Option<String>,
    /// Completed trials: the runs that the statistics are about.
    pub n: u64,
    /// Repetitions that the plan asks for.
    pub planned: u64,
    /// Repetitions that the journal has no trial of.
    pub not_run: u64,
    /// Trials by how they ended, repeated attempts included.
    pub outcomes: Counts,
    /// The cell that it is compared with; null for the baseline itself and where there is none.
    pub compared_with: Option<Cell>,
    /// For each of the probe's metrics, by name.
    pub metrics: BTreeMap<String, MetricSummary>,
    /// What one interrupt costs; null when the probe has no rule for it, and for the baseline itself.
    pub cost_per_interrupt: Option<CostSummary>,
    /// What was published of this cell.
    pub published: Option<PublishedSummary>,
}

/// The runs of a cell in one metric. All numbers but ratios, δ and n are in `unit`, or its square.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MetricSummary {
    /// Unit: `s`, `bits/s`, `bytes/s`, `ns`, `1` …
    pub unit: String,
    /// Which direction is good: `less`, `more` or `neither`.
    pub better: &'static str,
    /// Runs that have this number.
    pub n: u64,
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Its interval (studentised bootstrap).
    pub mean_interval: Option<IntervalSummary>,
    /// Median.
    pub median: Option<f64>,
    /// Standard deviation, with n − 1.
    pub stdev: Option<f64>,
    /// Variance, with n − 1, in the unit's square.
    pub variance: Option<f64>,
    /// Its interval.
    pub variance_interval: Option<IntervalSummary>,
    /// Smallest run.
    pub min: Option<f64>,
    /// Largest run.
    pub max: Option<f64>,
    /// Percentiles of the runs.
    pub percentiles: Percentiles,
    /// Mean less the mean of the cell that it is compared with.
    pub difference: Option<Estimated>,
    /// Mean divided by the mean of the cell that it is compared with.
    pub ratio: Option<Estimated>,
    /// Variance divided by the variance of the cell that it is compared with.
    pub variance_ratio: Option<Estimated>,
    /// Cliff's δ against the cell that it is compared with: −1 (all runs smaller) to 1 (all larger).
    pub cliffs_delta: Option<f64>,
    /// What can be said of the difference: `higher`, `lower`, `no-difference` (within the margin), or
    /// `undecided`; null without an interval.
    pub verdict: Option<&'static str>,
}

/// Percentiles of the runs, interpolated; null where less than one run is expected beyond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Percentiles {
    /// 5th: from 20 runs on.
    pub p5: Option<f64>,
    /// 25th: from 4 runs on.
    pub p25: Option<f64>,
    /// 75th: from 4 runs on.
    pub p75: Option<f64>,
    /// 95th: from 20 runs on.
    pub p95: Option<f64>,
    /// 99th: from 100 runs on.
    pub p99: Option<f64>,
}

/// A number and its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Estimated {
    /// The number.
    pub value: f64,
    /// Its interval; null below five runs on either side.
    pub interval: Option<IntervalSummary>,
}

/// Both ends of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct IntervalSummary {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl From<stats::Interval> for IntervalSummary {
    fn from(stats::Interval { low, high }: stats::Interval) -> Self {
        Self { low, high }
    }
}

/// (elapsed − work × baseline's elapsed per work) / interrupts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct CostSummary {
    /// The cost, in microseconds; negative when the runs were faster than the baseline's.
    pub us: Option<f64>,
    /// Its interval, in microseconds.
    pub interval: Option<IntervalSummary>,
    /// Why it is not given, such as too few interrupts to divide by.
    pub withheld: Option<String>,
}

/// Numbers published elsewhere. What was not legible is null.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PublishedSummary {
    /// Id of the cell there.
    pub id: String,
    /// How legible: `printed`, `derived`, `read`.
    pub certainty: Option<String>,
    /// The metric here that `ratio` can be compared with.
    pub metric: Option<String>,
    /// Ratio of the published mean to the published mean of the baseline.
    pub ratio: Option<f64>,
    /// Mean elapsed time, in seconds.
    pub elapsed_s: Option<f64>,
    /// Difference of the mean from native, in seconds.
    pub delta_s: Option<f64>,
    /// Variance of the elapsed time, in square seconds.
    pub variance_s2: Option<f64>,
    /// Longest less shortest, in seconds.
    pub range_s: Option<f64>,
    /// Mean goodput, in bits/s.
    pub goodput_bps: Option<f64>,
    /// Interrupts, one number a run; empty when not published.
    pub interrupts: Vec<u64>,
    /// Cost of one interrupt, in microseconds.
    pub cost_us: Option<f64>,
}

/// Whether results moved over the order of execution, each run taken as its ratio to its cell's median.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Drift {
    /// Runs looked at.
    pub n: u64,
    /// Kendall's τ against the order: −1 falls always, 1 rises always.
    pub tau: Option<f64>,
    /// How likely such a τ is by chance.
    pub tau_p_value: Option<f64>,
    /// Sequence number of the first trial after the most likely sudden change.
    pub change_at: Option<u64>,
    /// Median ratio after the change less that before, in percent.
    pub change_percent: Option<f64>,
    /// How likely such a change is by chance.
    pub change_p_value: Option<f64>,
}

impl CellSummary {
    /// Whether it is of the attachment that others are compared with.
    pub fn is_baseline(&self, summary: &Summary) -> bool {
        summary.baseline.as_ref() == Some(&self.cell.attachment)
    }

    /// What it lacks, in words: `2 invalid, 1 skipped`; empty when all its trials completed.
    pub fn lacks(&self) -> String {
        let mut parts = self.outcomes.incomplete();
        if self.not_run > 0 {
            parts.push(format!("{} not run", self.not_run));
        }
        parts.join(", ")
    }
}

/// The name of a direction, as in plans.
pub fn better_name(better: Better) -> &'static str {
    match better {
        Better::Less => "less",
        Better::More => "more",
        Better::Neither => "neither",
    }
}

/// The name of a verdict, as in the summary.
pub fn verdict_name(verdict: stats::Verdict) -> &'static str {
    match verdict {
        stats::Verdict::Higher => "higher",
        stats::Verdict::Lower => "lower",
        stats::Verdict::NoDifference => "no-difference",
        stats::Verdict::Undecided => "undecided",
    }
}
