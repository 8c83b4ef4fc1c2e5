//! `summary.json`: the statistics of a results folder. A missing number is null, never 0.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use plan::{Better, Cell};
use results::outcome::Counts;
use stats::verdict::{Direction, Verdict};

/// Version of the summary's keys.
pub const SCHEMA_VERSION: u32 = 3;

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
    /// How sure each interval is that stands for itself, in percent; verdicts are from wider ones, which are adjusted
    /// for the number of comparisons.
    pub confidence_percent: f64,
    /// Boots that the trials ran in. With one, intervals hold for that boot only.
    pub boots: u64,
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
    /// What the load does to this cell: against the same attachment without load, in the probe's first metric.
    pub load_effect: Option<LoadEffect>,
    /// Where this is a second arm of the baseline: how far apart the two are, in the probe's first metric.
    pub control: Option<ControlSummary>,
    /// What a reader must know of its runs, in the probe's first metric.
    pub flags: CellFlags,
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
    /// Relative difference that has no practical meaning, in percent (from the plan).
    pub margin_percent: f64,
    /// Blocks in which both this cell and the one that it is compared with have a run: what follows is from them.
    pub blocks: u64,
    /// Mean of run less baseline's run, block by block.
    pub difference: Option<Estimated>,
    /// Geometric mean of run divided by baseline's run, block by block.
    pub ratio: Option<Estimated>,
    /// The interval of the ratio, adjusted for the number of comparisons.
    pub ratio_adjusted: Option<IntervalSummary>,
    /// Ratio of the medians.
    pub median_ratio: Option<f64>,
    /// Width of the interval over that which the same runs give without pairing: far below 1 where the machine drifts.
    pub pairing: Option<f64>,
    /// How likely a difference of means at least as large is by chance, adjusted for all cells of the probe (Holm).
    pub adjusted_p_value: Option<f64>,
    /// Comparisons that the adjusted numbers count: of means and of variances, in all cells of the probe.
    pub comparisons: u64,
    /// How far apart two equal things are, in percent, from the control; null without one.
    pub noise_floor_percent: Option<f64>,
    /// Variance divided by the variance of the cell that it is compared with.
    pub variance_ratio: Option<Estimated>,
    /// Cliff's δ against the cell that it is compared with: −1 (all runs smaller) to 1 (all larger).
    pub cliffs_delta: Option<f64>,
    /// What can be said of the difference of means; null with too few blocks.
    pub verdict: Option<VerdictSummary>,
    /// What can be said of the variances, for which a factor of 2 has no practical meaning.
    pub variance_verdict: Option<VerdictSummary>,
}

/// What can be said of an effect, from its adjusted interval and the margin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VerdictSummary {
    /// `different` (wholly beyond the margin), `small` (not equal, and not wholly beyond the margin), `equivalent`
    /// (wholly within the margin) or `undecided`.
    pub word: &'static str,
    /// `higher` or `lower`, where it is `different` or `small`.
    pub direction: Option<&'static str>,
    /// `better` or `worse`, where the metric has a good direction.
    pub meaning: Option<&'static str>,
    /// Blocks (boots, where there are several) that would probably decide, where it is `undecided`.
    pub units_to_decide: Option<u64>,
}

/// What a load does within one attachment.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct LoadEffect {
    /// The cell without load.
    pub compared_with: Cell,
    /// Mean of loaded less unloaded, block by block, in the metric's unit.
    pub difference: Option<Estimated>,
    /// Geometric mean of loaded divided by unloaded, block by block.
    pub ratio: Option<Estimated>,
    /// What can be said, with all loads of the probe counted.
    pub verdict: Option<VerdictSummary>,
    /// The ratio divided by the baseline's ratio under the same load: what the attachment adds to the load's effect.
    pub interaction: Option<Estimated>,
    /// What can be said of the interaction.
    pub interaction_verdict: Option<VerdictSummary>,
}

/// What a control says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ControlSummary {
    /// How far it is from the baseline that it is a second arm of, in percent.
    pub percent: f64,
    /// How far two equal things are apart here, in percent.
    pub noise_floor_percent: f64,
    /// Whether it differs beyond chance, and no difference in this result can be believed.
    pub differs: bool,
}

/// What a reader must know of a cell's runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct CellFlags {
    /// Kendall's τ, where the runs rise or fall over the order of execution beyond chance.
    pub drift_tau: Option<f64>,
    /// Sudden changes beyond chance, in order.
    pub changes: Vec<Change>,
    /// Whether runs gather around several levels, so that the mean lies where no run is.
    pub several_levels: bool,
}

/// A sudden change.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Change {
    /// Sequence number of the first trial after it.
    pub sequence: u64,
    /// Median after less median before, in the metric's unit.
    pub shift: f64,
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
    /// Elapsed time per interrupt, in microseconds.
    pub elapsed_us: Option<f64>,
    /// The cost as a share of the elapsed time, in percent.
    pub share_percent: Option<f64>,
    /// Why it is not given, such as too few interrupts to divide by.
    pub withheld: Option<String>,
    /// How much longer a run of this cell takes for each interrupt more, in microseconds.
    pub slope_us: Option<Estimated>,
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
    /// How much the runs of first blocks are above the others, in percent, where that is beyond chance.
    pub warm_up_percent: Option<f64>,
    /// How much runs resemble those of their cell in the block before, as a correlation, where that is beyond chance:
    /// then intervals are too narrow.
    pub dependence: Option<f64>,
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

/// A verdict, as in the summary, for a metric of which that direction is good.
pub fn verdict(verdict: Verdict, better: Better) -> VerdictSummary {
    let plain = |word| VerdictSummary { word, direction: None, meaning: None, units_to_decide: None };
    let directed = |word, direction: Direction| {
        let (direction, good) = match direction {
            Direction::Higher => ("higher", Better::More),
            Direction::Lower => ("lower", Better::Less),
        };
        let judged = if better == good { "better" } else { "worse" };
        let meaning = (better != Better::Neither).then_some(judged);
        VerdictSummary { direction: Some(direction), meaning, ..plain(word) }
    };
    match verdict {
        Verdict::Different(direction) => directed("different", direction),
        Verdict::Small(direction) => directed("small", direction),
        Verdict::Equivalent => plain("equivalent"),
        Verdict::Undecided { units } => VerdictSummary {
            units_to_decide: Some(units).filter(|units| *units < u64::MAX),
            ..plain("undecided")
        },
    }
}
