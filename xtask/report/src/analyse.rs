//! From the plan and the journal to the summary.

use std::collections::{BTreeMap, BTreeSet};

use meter::random::Random;
use plan::{Better, Cell, CostSpec, MetricSpec, ProbeSpec, PublishedCell};
use results::{journal::Trial, outcome::Counts};
use stats::{
    Interval,
    cost::{self, Cost, Work},
    effect::Effect,
    verdict::Verdict,
};

use crate::{
    families::{self, Family, seed},
    input::{self, Input},
    summary::{
        CellFlags, CellSummary, Change, ControlSummary, CostSummary, Drift, Estimated, IntervalSummary,
        LoadEffect, MetricSummary, Percentiles, PublishedSummary, SCHEMA_VERSION, Summary, better_name,
        verdict as verdict_summary,
    },
};

/// All families of a folder, by probe and metric.
type Families<'a> = BTreeMap<(&'a str, &'a str), Family>;

/// The summary of a results folder. The same input gives the same summary, bit by bit.
pub fn summarise(input: &Input) -> Summary {
    let probes: BTreeMap<&String, &ProbeSpec> =
        input.plan.probes.iter().filter(|(name, _)| input.cells().any(|cell| cell.probe == **name)).collect();
    let families = families::all(input, &probes);
    let cell = |cell: &Cell| summarise_cell(input, &families, cell, probes[&cell.probe]);
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
        boots: input.boot_count() as u64,
        trials_planned: input.header.trials,
        outcomes: input.trials.iter().map(|trial| trial.outcome).collect(),
        cells: families::in_parallel(&input.header.cells, cell),
        drift: probes
            .iter()
            .map(|(name, spec)| ((*name).clone(), drift(input, name, spec, first(&families, name, spec))))
            .collect(),
        published_source: input.plan.published.as_ref().map(|published| published.source.clone()),
    }
}

/// The family of a probe in its first metric.
fn first<'a>(families: &'a Families<'a>, name: &'a str, spec: &'a ProbeSpec) -> Option<&'a Family> {
    families.get(&(name, spec.metrics.first()?.name.as_str()))
}

fn summarise_cell(input: &Input, families: &Families, cell: &Cell, probe: &ProbeSpec) -> CellSummary {
    let outcomes: Counts = input.trials_of(cell).map(|trial| trial.outcome).collect();
    let repetitions: BTreeSet<u32> = input.trials_of(cell).map(|trial| trial.repetition).collect();
    let planned = u64::from(input.plan.repetitions);
    let compared_with = input.compared_with(cell, |other| input.header.cells.contains(other));
    let metric = |spec: &MetricSpec| {
        let family = families.get(&(cell.probe.as_str(), spec.name.as_str()));
        (spec.name.clone(), summarise_metric(input, family, cell, spec))
    };
    let family = first(families, &cell.probe, probe);
    CellSummary {
        published_id: input.plan.published_cell(cell).map(|published| published.id.clone()),
        n: outcomes.completed(),
        planned,
        not_run: planned.saturating_sub(repetitions.len() as u64),
        outcomes,
        metrics: probe.metrics.iter().map(metric).collect(),
        cost_per_interrupt: cost(input, cell, compared_with.as_ref(), probe.cost.as_ref()),
        load_effect: family.and_then(|family| load_effect(family, cell, probe)),
        control: family.and_then(|family| family.controls.get(cell)).map(|control| ControlSummary {
            percent: percent(control.log_ratio),
            noise_floor_percent: percent(control.noise_floor),
            differs: control.differs,
        }),
        flags: family.map(|family| cell_flags(input, family, cell, probe)).unwrap_or_default(),
        published: published(input, cell, probe),
        compared_with,
        name: cell.name(),
        cell: cell.clone(),
    }
}

/// A logarithm of a ratio as a change in percent.
fn percent(log_ratio: f64) -> f64 {
    log_ratio.exp_m1() * 100.0
}

fn summarise_metric(input: &Input, family: Option<&Family>, cell: &Cell, spec: &MetricSpec) -> MetricSummary {
    let runs = input.runs(cell, &spec.name);
    let described = stats::describe(&runs);
    let mut random = Random::new(seed(input, cell, &spec.name, "spread"));
    let [mean_interval, variance_interval] = stats::spread_intervals(&runs, &mut random);
    let compared = family.and_then(|family| family.against_baseline.get(cell));
    let comparison = compared.map(|compared| &compared.comparison);
    let effects = comparison.map(|comparison| &comparison.effects);
    let log_ratio = effects.and_then(|effects| effects.log_ratio);
    let judged = |verdict: Option<Verdict>, better| verdict.map(|found| verdict_summary(found, better));
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
        margin_percent: spec.margin_percent,
        blocks: comparison.map_or(0, |comparison| comparison.blocks as u64),
        difference: effects.and_then(|effects| plain(effects.difference)),
        ratio: log_ratio.and_then(exponential),
        ratio_adjusted: log_ratio
            .and_then(|effect| ends(effect.adjusted.map(|interval| interval.map(f64::exp)))),
        median_ratio: comparison
            .and_then(|comparison| comparison.median_ratio)
            .filter(|ratio| ratio.is_finite()),
        pairing: effects.and_then(|effects| effects.pairing).filter(|pairing| pairing.is_finite()),
        adjusted_p_value: comparison.and_then(|comparison| comparison.adjusted_p_value),
        comparisons: compared.map_or(0, |compared| compared.count as u64),
        noise_floor_percent: compared.and_then(|compared| compared.noise_floor).map(percent),
        variance_ratio: effects.and_then(|effects| effects.log_variance_ratio).and_then(exponential),
        cliffs_delta: comparison.map(|comparison| comparison.cliffs_delta),
        verdict: judged(comparison.and_then(|comparison| comparison.verdict), spec.better),
        variance_verdict: judged(comparison.and_then(|comparison| comparison.spread_verdict), Better::Less),
    }
}

fn load_effect(family: &Family, cell: &Cell, probe: &ProbeSpec) -> Option<LoadEffect> {
    let compared = family.load_effects.get(cell)?;
    let better = probe.metrics.first()?.better;
    let effects = &compared.comparison.effects;
    let interaction = family.interactions.get(cell);
    Some(LoadEffect {
        compared_with: compared.with.clone(),
        difference: plain(effects.difference),
        ratio: effects.log_ratio.and_then(exponential),
        verdict: compared.comparison.verdict.map(|found| verdict_summary(found, better)),
        interaction: interaction.and_then(|contrast| exponential(contrast.effect)),
        interaction_verdict: interaction
            .and_then(|contrast| contrast.verdict)
            .map(|found| verdict_summary(found, better)),
    })
}

fn cell_flags(input: &Input, family: &Family, cell: &Cell, probe: &ProbeSpec) -> CellFlags {
    let place = family.places.get(cell);
    let flagged = family.flags.as_ref().zip(place).and_then(|(flags, place)| flags.cells.get(*place));
    let (Some(flagged), Some(metric)) = (flagged, probe.metrics.first()) else { return CellFlags::default() };
    let sequences: Vec<u64> = input
        .completed(cell)
        .filter(|trial| trial.metrics.contains_key(&metric.name))
        .map(|trial| trial.sequence)
        .collect();
    let change = |change: &stats::drift::ChangePoint| {
        Some(Change { sequence: *sequences.get(change.index)?, shift: change.shift })
    };
    CellFlags {
        drift_tau: flagged.trend.filter(|_| flagged.drifts).map(|trend| trend.tau),
        changes: flagged.changes.iter().filter_map(change).collect(),
        several_levels: flagged.several_levels,
    }
}

/// An effect as it is.
fn plain(effect: Effect) -> Option<Estimated> {
    estimated(Some(effect.value), effect.interval)
}

/// An effect on the scale of logarithms, as a ratio.
fn exponential(effect: Effect) -> Option<Estimated> {
    estimated(Some(effect.value.exp()), effect.interval.map(|interval| interval.map(f64::exp)))
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

/// What one interrupt costs in `cell`, against the baseline under the same load: under another, the load would be
/// in the cost.
fn cost(input: &Input, cell: &Cell, other: Option<&Cell>, spec: Option<&CostSpec>) -> Option<CostSummary> {
    let (other, spec) = (other?, spec?);
    let work = |trial: &Trial| {
        Some(Work {
            elapsed_s: *trial.metrics.get(&spec.elapsed)?,
            work: *trial.metrics.get(&spec.work)?,
            // The baseline needs no interrupts of its own.
            interrupts: trial.metrics.get(&spec.interrupts).copied().unwrap_or(f64::NAN),
        })
    };
    let runs: Vec<(u32, u32, Work)> = input
        .completed(cell)
        .filter_map(|trial| Some((input.boot(trial), trial.repetition, work(trial)?)))
        .filter(|(_, _, work)| work.interrupts.is_finite())
        .collect();
    let baseline: BTreeMap<(u32, u32), Work> = input
        .completed(other)
        .filter_map(|trial| Some(((input.boot(trial), trial.repetition), work(trial)?)))
        .collect();
    let slope = cost::slope(&runs.iter().map(|(_, _, run)| *run).collect::<Vec<_>>());
    let slope_us = slope.and_then(|(us, interval)| estimated(Some(us), Some(interval)));
    if other.load != cell.load {
        let withheld = Some(format!("the baseline has no cell under the load {:?}", cell.load));
        return Some(CostSummary { withheld, slope_us, ..CostSummary::default() });
    }
    let mut blocks: Vec<cost::Block> = runs
        .into_iter()
        .filter_map(|(boot, block, run)| {
            Some(cost::Block { boot, run, baseline: *baseline.get(&(boot, block))? })
        })
        .collect();
    blocks.sort_by_key(|block| block.boot);
    let mut random = Random::new(seed(input, cell, &spec.interrupts, "cost"));
    Some(match cost::cost_per_interrupt(&blocks, &mut random) {
        Cost::Known { us, interval, elapsed_us, share } => CostSummary {
            us: Some(us),
            interval: ends(interval),
            elapsed_us: Some(elapsed_us).filter(|us| us.is_finite()),
            share_percent: Some(share * 100.0).filter(|share| share.is_finite()),
            withheld: None,
            slope_us,
        },
        Cost::Withheld(reason) => CostSummary { withheld: Some(reason), slope_us, ..CostSummary::default() },
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

fn drift(input: &Input, probe: &str, spec: &ProbeSpec, family: Option<&Family>) -> Drift {
    let flags = family.and_then(|family| family.flags.as_ref());
    let warm_up = flags.and_then(|flags| flags.warm_up);
    let dependence = flags.and_then(|flags| flags.dependence);
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
        warm_up_percent: warm_up.map(|warm_up| warm_up.excess * 100.0).filter(|excess| excess.is_finite()),
        dependence: dependence.map(|dependence| dependence.correlation).filter(|found| found.is_finite()),
    }
}
