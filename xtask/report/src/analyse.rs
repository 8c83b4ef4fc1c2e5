//! From the plan and the journal to the summary.

use std::collections::{BTreeMap, BTreeSet};

use meter::random::Random;
use stats::Interval;

use super::{
    input::{self, Input},
    summary::{
        CellSummary, CostSummary, Drift, Estimated, IntervalSummary, MetricSummary, Percentiles,
        PublishedSummary, SCHEMA_VERSION, Summary, better_name, verdict_name,
    },
};
use plan::{Cell, CostSpec, MetricSpec, ProbeSpec, PublishedCell};
use results::outcome::Counts;

/// The summary of a results folder. The same input gives the same summary, bit by bit.
pub fn summarise(input: &Input) -> Summary {
    let probes: BTreeMap<&String, &ProbeSpec> =
        input.plan.probes.iter().filter(|(name, _)| input.cells().any(|cell| cell.probe == **name)).collect();
    Summary {
        schema: SCHEMA_VERSION,
        plan: input.plan.name.clone(),
        title: input.plan.title.clone(),
        platform: input.header.platform.clone(),
        seed: input.header.seed,
        started_wall_ns: input.header.started_wall_ns,
        notes: input.notes.clone(),
        baseline: input.baseline().map(str::to_owned),
        confidence_percent: stats::CONFIDENCE_PERCENT,
        margin_percent: stats::MARGIN_PERCENT,
        trials_planned: input.header.trials,
        outcomes: input.trials.iter().map(|trial| trial.outcome).collect(),
        cells: input.cells().map(|cell| summarise_cell(input, cell, probes[&cell.probe])).collect(),
        drift: probes.iter().map(|(name, spec)| ((*name).clone(), drift(input, name, spec))).collect(),
        published_source: input.plan.published.as_ref().map(|published| published.source.clone()),
    }
}

fn summarise_cell(input: &Input, cell: &Cell, probe: &ProbeSpec) -> CellSummary {
    let outcomes: Counts = input.trials_of(cell).map(|trial| trial.outcome).collect();
    let repetitions: BTreeSet<u32> = input.trials_of(cell).map(|trial| trial.repetition).collect();
    let planned = u64::from(input.plan.repetitions);
    let compared_with = input.compared_with(cell, |other| input.header.cells.contains(other));
    let metric = |spec: &MetricSpec| {
        let summary = summarise_metric(input, cell, compared_with.as_ref(), spec);
        (spec.name.clone(), summary)
    };
    CellSummary {
        published_id: input.plan.published_cell(cell).map(|published| published.id.clone()),
        n: outcomes.completed(),
        planned,
        not_run: planned.saturating_sub(repetitions.len() as u64),
        outcomes,
        metrics: probe.metrics.iter().map(metric).collect(),
        cost_per_interrupt: cost(input, cell, compared_with.as_ref(), probe.cost.as_ref()),
        published: published(input, cell, probe),
        compared_with,
        name: cell.name(),
        cell: cell.clone(),
    }
}

fn summarise_metric(input: &Input, cell: &Cell, other: Option<&Cell>, spec: &MetricSpec) -> MetricSummary {
    let runs = input.runs(cell, &spec.name);
    let baseline = other.map(|other| input.runs(other, &spec.name)).unwrap_or_default();
    let described = stats::describe(&runs);
    let [mean_interval, variance_interval] =
        stats::spread_intervals(&runs, &mut random(input, cell, &spec.name, "spread"));
    let compared = stats::compare(&runs, &baseline, &mut random(input, cell, &spec.name, "compare"));
    let percentile = |percent: f64| stats::percentile(&runs, percent);
    MetricSummary {
        unit: spec.unit.clone(),
        better: better_name(spec.better),
        n: runs.len() as u64,
        mean: described.map(|described| described.mean),
        mean_interval: ends(mean_interval),
        median: described.map(|described| described.median),
        stdev: described.and_then(|described| described.stdev),
        variance: described.and_then(|described| described.variance),
        variance_interval: ends(variance_interval),
        min: described.map(|described| described.min),
        max: described.map(|described| described.max),
        percentiles: Percentiles {
            p5: percentile(5.0),
            p25: percentile(25.0),
            p75: percentile(75.0),
            p95: percentile(95.0),
            p99: percentile(99.0),
        },
        difference: compared.and_then(|c| estimated(Some(c.difference), c.difference_interval)),
        ratio: compared.and_then(|c| estimated(c.ratio, c.ratio_interval)),
        variance_ratio: compared.and_then(|c| estimated(c.variance_ratio, c.variance_ratio_interval)),
        cliffs_delta: compared.map(|compared| compared.cliffs_delta),
        verdict: compared.and_then(|compared| compared.verdict).map(verdict_name),
    }
}

/// A number with its interval, where the number is one.
fn estimated(value: Option<f64>, interval: Option<Interval>) -> Option<Estimated> {
    let value = value.filter(|value| value.is_finite())?;
    Some(Estimated { value, interval: ends(interval) })
}

/// Both ends, where they are numbers: results at the edge of what numbers can hold have none.
fn ends(interval: Option<Interval>) -> Option<IntervalSummary> {
    interval
        .filter(|interval| interval.low.is_finite() && interval.high.is_finite())
        .map(IntervalSummary::from)
}

/// The bootstrap's generator for one number: its own, so that a cell more or less changes no other.
fn random(input: &Input, cell: &Cell, metric: &str, purpose: &str) -> Random {
    // FNV-1a (Fowler, Noll and Vo), 64 bits.
    let name = cell.name();
    let bytes = [&name, metric, purpose].into_iter().flat_map(|word| word.bytes().chain([0]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    Random::new(input.header.seed ^ hash)
}

fn cost(input: &Input, cell: &Cell, other: Option<&Cell>, spec: Option<&CostSpec>) -> Option<CostSummary> {
    let (other, spec) = (other?, spec?);
    let runs = |cell: &Cell| -> Vec<stats::Run> {
        let run = |metrics: &BTreeMap<String, f64>| {
            Some(stats::Run {
                elapsed_s: *metrics.get(&spec.elapsed)?,
                work: *metrics.get(&spec.work)?,
                interrupts: *metrics.get(&spec.interrupts)?,
            })
        };
        input.completed(cell).filter_map(|trial| run(&trial.metrics)).collect()
    };
    // The baseline needs no interrupts of its own.
    let baseline: Vec<stats::Run> = input
        .completed(other)
        .filter_map(|trial| {
            let (elapsed_s, work) = (*trial.metrics.get(&spec.elapsed)?, *trial.metrics.get(&spec.work)?);
            Some(stats::Run { elapsed_s, work, interrupts: 0.0 })
        })
        .collect();
    let mut random = random(input, cell, &spec.interrupts, "cost");
    Some(match stats::cost_per_interrupt(&runs(cell), &baseline, &mut random) {
        stats::Cost::Known { us, interval } => {
            CostSummary { us: Some(us), interval: ends(interval), withheld: None }
        }
        stats::Cost::Withheld(reason) => CostSummary { withheld: Some(reason), ..CostSummary::default() },
    })
}

fn published(input: &Input, cell: &Cell, probe: &ProbeSpec) -> Option<PublishedSummary> {
    let name = cell.name();
    let numbers = input.plan.published_cell(cell)?;
    let metric = input::published_metric(probe);
    let other = input.compared_with(cell, |other| input.plan.published_cell(other).is_some());
    let other = other.and_then(|other| input.plan.published_cell(&other));
    let of = |cell: &PublishedCell| match metric?.unit.as_str() {
        "bits/s" => cell.goodput_bps,
        _ => cell.elapsed_s,
    };
    let costs = &input.plan.published.as_ref()?.cost_per_interrupt;
    Some(PublishedSummary {
        id: numbers.id.clone(),
        certainty: numbers.certainty.clone(),
        metric: metric.map(|metric| metric.name.clone()),
        ratio: other.and_then(|other| Some(of(numbers)? / of(other)?)),
        elapsed_s: numbers.elapsed_s,
        delta_s: numbers.delta_s,
        variance_s2: numbers.variance_s2,
        range_s: numbers.range_s,
        goodput_bps: numbers.goodput_bps,
        interrupts: numbers.interrupts.clone(),
        cost_us: costs.iter().find(|cost| cost.name == name).map(|cost| cost.cost_us),
    })
}

/// Every completed run of a probe as its sequence number and its ratio to its cell's median, in the
/// order of execution. Cells with a median that can't be divided by are left out.
pub fn ratios_to_median(input: &Input, probe: &str, spec: &ProbeSpec) -> Vec<(u64, Cell, f64)> {
    let Some(metric) = spec.metrics.first() else { return Vec::new() };
    let cells = input.cells().filter(|cell| cell.probe == probe);
    let medians: BTreeMap<&Cell, f64> = cells
        .filter_map(|cell| Some((cell, stats::describe(&input.runs(cell, &metric.name))?.median)))
        .filter(|(_, median)| *median > 0.0)
        .collect();
    input
        .trials
        .iter()
        .filter(|trial| trial.outcome.counts())
        .filter_map(|trial| {
            let ratio = trial.metrics.get(&metric.name)? / medians.get(&trial.cell)?;
            Some((trial.sequence, trial.cell.clone(), ratio))
        })
        .collect()
}

fn drift(input: &Input, probe: &str, spec: &ProbeSpec) -> Drift {
    let runs = ratios_to_median(input, probe, spec);
    let ratios: Vec<f64> = runs.iter().map(|(_, _, ratio)| *ratio).collect();
    let trend = stats::trend(&ratios);
    let change = stats::change_point(&ratios, &mut Random::new(input.header.seed));
    Drift {
        n: ratios.len() as u64,
        tau: trend.map(|trend| trend.tau),
        tau_p_value: trend.map(|trend| trend.p_value),
        change_at: change.and_then(|change| runs.get(change.index)).map(|(sequence, _, _)| *sequence),
        change_percent: change.map(|change| change.shift * 100.0),
        change_p_value: change.map(|change| change.p_value),
    }
}
