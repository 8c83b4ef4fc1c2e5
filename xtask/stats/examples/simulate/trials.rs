//! Many made-up experiments, and how often something is said of them.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use meter::random::Random;
use stats::{
    Interval,
    family::{Comparison, Family, Question, compare_family},
    flags::{self, CellFlags, Flags},
    series::Run,
    verdict::Verdict,
};

use crate::shapes::Experiment;

/// The margin of the verdicts in all simulations.
pub const MARGIN: f64 = 0.01;

/// Counts over `times` experiments what `of` finds in each; the same on any number of CPUs.
pub fn count<const K: usize>(times: u64, seed: u64, of: impl Fn(&mut Random) -> [u64; K] + Sync) -> [u64; K] {
    let sums: [AtomicU64; K] = std::array::from_fn(|_| AtomicU64::new(0));
    let next = AtomicU64::new(0);
    let work = || loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= times {
            break;
        }
        let mut random =
            Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ index.wrapping_mul(0xd1b5_4a32_d192_ed03));
        for (sum, found) in sums.iter().zip(of(&mut random)) {
            sum.fetch_add(found, Ordering::Relaxed);
        }
    };
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cpus {
            scope.spawn(work);
        }
    });
    sums.map(AtomicU64::into_inner)
}

/// All cells but the first compared with the first.
pub fn against_the_first(cells: &[Vec<Run>], seed: u64) -> Family {
    let question = |(index, runs)| Question {
        runs,
        baseline: &cells[0],
        margin: MARGIN,
        noise_floor: 0.0,
        seed: seed ^ ((index as u64) << 32),
    };
    let questions: Vec<Question> =
        cells.iter().map(Vec::as_slice).enumerate().skip(1).map(question).collect();
    compare_family(&questions)
}

/// Whether a verdict names a difference.
pub fn names_a_difference(verdict: Option<Verdict>) -> bool {
    matches!(verdict, Some(Verdict::Different(_) | Verdict::Small(_)))
}

/// Families with a false difference of means, of variances, of either.
pub fn false_claims(experiment: &Experiment, times: u64, seed: u64) -> [u64; 3] {
    count(times, seed, |random| {
        let family = against_the_first(&experiment.run(random), random.next_u64());
        let any = |of: fn(&Comparison) -> Option<Verdict>| {
            family.comparisons.iter().flatten().any(|comparison| names_a_difference(of(comparison)))
        };
        let (mean, spread) = (any(|c| c.verdict), any(|c| c.spread_verdict));
        [u64::from(mean), u64::from(spread), u64::from(mean || spread)]
    })
}

/// How often the intervals of ratio, difference and variance ratio between two cells hold the truth, and how often
/// there are such intervals.
pub fn coverage(experiment: &Experiment, mean: f64, times: u64, seed: u64) -> [u64; 6] {
    let ratio = experiment.ratios[1] / experiment.ratios[0];
    let spread = (ratio * experiment.spreads[1] / experiment.spreads[0]).powi(2);
    count(times, seed, |random| {
        let family = against_the_first(&experiment.run(random), random.next_u64());
        let Some(Some(comparison)) = family.comparisons.first() else { return [0; 6] };
        let effects = &comparison.effects;
        let holds = |interval: Option<Interval>, truth: f64| {
            let held = interval.is_some_and(|interval| interval.contains(truth));
            [u64::from(held), u64::from(interval.is_some())]
        };
        let of = |effect: Option<stats::effect::Effect>| effect.and_then(|effect| effect.interval);
        let [a, a_n] = holds(of(effects.log_ratio), ratio.ln());
        let [b, b_n] = holds(of(Some(effects.difference)), mean * (ratio - 1.0));
        let [c, c_n] = holds(of(effects.log_variance_ratio), spread.ln());
        [a, a_n, b, b_n, c, c_n]
    })
}

/// How often the second cell of a family is found to differ in the mean, and in the variance; and by an interval
/// that stands for itself.
pub fn found(experiment: &Experiment, times: u64, seed: u64) -> [u64; 4] {
    count(times, seed, |random| {
        let family = against_the_first(&experiment.run(random), random.next_u64());
        let Some(Some(comparison)) = family.comparisons.first() else { return [0; 4] };
        let excludes = |effect: Option<stats::effect::Effect>| {
            let interval = effect.and_then(|effect| effect.interval);
            u64::from(interval.is_some_and(|interval| !interval.contains(0.0)))
        };
        [
            u64::from(names_a_difference(comparison.verdict)),
            u64::from(names_a_difference(comparison.spread_verdict)),
            excludes(comparison.effects.log_ratio),
            excludes(comparison.effects.log_variance_ratio),
        ]
    })
}

/// How often a family has a cell with a trend or change, a cell with several levels, an unlike first block, runs that
/// depend on each other.
pub fn flags(experiment: &Experiment, times: u64, seed: u64) -> [u64; 4] {
    count(times, seed, |random| {
        let Flags { cells, warm_up, dependence } = flags::flags(&experiment.run(random), random.next_u64());
        [
            u64::from(cells.iter().any(CellFlags::moved)),
            u64::from(cells.iter().any(|cell| cell.several_levels)),
            u64::from(warm_up.is_some()),
            u64::from(dependence.is_some()),
        ]
    })
}
