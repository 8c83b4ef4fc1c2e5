//! The comparisons of one family: all cells of one probe in one metric, each with its baseline.
//!
//! Of many comparisons of equal things some look different by chance. So what is said of a family is adjusted for
//! its size: with a probability of at most 5 % anything at all in it is wrongly called a difference, of means
//! or of variances. Of these 5 % the means have 4 and the variances 1.

use meter::random::Random;

use crate::{
    LEAST_RUNS,
    describe::{cliffs_delta, describe},
    effect::{Effect, Effects, Tails, effects},
    flip::least_units,
    series::{Pair, Run, pairs, resolution},
    verdict::{Rule, Verdict},
};

/// How often an interval that stands for itself may miss, and a family may name any false difference.
pub const ERROR: f64 = 0.05;
/// The part of [`ERROR`] that the variances of a family have; the means have the rest.
pub const SPREADS_SHARE: f64 = 0.2;
/// Ratio of variances up to which two spreads are the same for practical purposes.
pub const VARIANCE_MARGIN: f64 = 2.0;

/// One cell and what it is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The cell's completed runs.
    pub runs: &'a [Run],
    /// The runs of the cell that it is compared with.
    pub baseline: &'a [Run],
    /// Relative difference that has no practical meaning, as a share: 0.01 for 1 %.
    pub margin: f64,
    /// How far apart two equal things were seen to be, on the scale of ln(run / baseline); 0 without a control.
    pub noise_floor: f64,
    /// Seed of the draws of this comparison.
    pub seed: u64,
}

/// A cell compared with another.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Blocks in which both have a run.
    pub blocks: usize,
    /// The effects. Only what the blocks with both runs say.
    pub effects: Effects,
    /// Ratio of the medians of the paired runs, where all are above zero.
    pub median_ratio: Option<f64>,
    /// Chance that a run is larger than one of the baseline, less the chance that it is smaller: −1 to 1.
    pub cliffs_delta: f64,
    /// p-value of the mean's effect, adjusted for the family (Holm).
    pub adjusted_p_value: Option<f64>,
    /// What can be said of the mean; missing where the runs are too few for the method.
    pub verdict: Option<Verdict>,
    /// What can be said of the variance; missing where the runs are too few for the method.
    pub spread_verdict: Option<Verdict>,
}

/// A family that was compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// One for each question, in its order; `None` where no block has both runs.
    pub comparisons: Vec<Option<Comparison>>,
    /// Comparisons that the adjustment counts: those of means and as many of variances.
    pub count: usize,
}

/// The tails of the intervals in a family of `cells` that are compared.
pub fn tails(cells: usize) -> Tails {
    let of = |error: f64| error / 2.0 / cells.max(1) as f64;
    Tails {
        alone: ERROR / 2.0,
        of_means: of(ERROR * (1.0 - SPREADS_SHARE)),
        of_spreads: of(ERROR * SPREADS_SHARE),
    }
}

/// Blocks of one boot below which a family of `cells` compared cells gets no verdict on means.
pub fn least_blocks(cells: usize) -> usize {
    least_units(tails(cells).of_means).max(LEAST_RUNS)
}

/// Compares a family.
pub fn compare_family(questions: &[Question]) -> Family {
    let paired: Vec<Vec<Pair>> =
        questions.iter().map(|question| pairs(question.runs, question.baseline)).collect();
    let cells = paired.iter().filter(|pairs| !pairs.is_empty()).count();
    let resolution =
        resolution(paired.iter().flatten().flat_map(|pair| [&pair.run, &pair.baseline]).collect::<Vec<_>>());
    let tails = tails(cells);
    let mut comparisons: Vec<Option<Comparison>> = questions
        .iter()
        .zip(&paired)
        .map(|(question, pairs)| compare(question, pairs, resolution, tails))
        .collect();
    holm(&mut comparisons);
    Family { comparisons, count: 2 * cells }
}

fn compare(question: &Question, pairs: &[Pair], resolution: f64, tails: Tails) -> Option<Comparison> {
    if pairs.is_empty() {
        return None;
    }
    let effects = effects(pairs, resolution, tails, &mut Random::new(question.seed))?;
    let runs: Vec<f64> = pairs.iter().map(|pair| pair.run).collect();
    let baseline: Vec<f64> = pairs.iter().map(|pair| pair.baseline).collect();
    let (median, baseline_median) = (describe(&runs)?.median, describe(&baseline)?.median);
    let varies = |runs: &[f64]| runs.iter().any(|run| *run != runs[0]);
    let tells_small = varies(&runs) || varies(&baseline);
    let judge = |effect: Effect, margin: f64, noise_floor: f64, tail: f64| {
        let rule = Rule { margin, noise_floor, tells_small };
        effect.adjusted.map(|interval| rule.judge(effect.value, interval, effects.units, tail))
    };
    let (margin, floor) = (question.margin, question.noise_floor);
    // Without logarithms the margin is a share of the baseline's mean.
    let level = describe(&baseline)?.mean.abs();
    let verdict = match effects.log_ratio {
        Some(log_ratio) => judge(log_ratio, margin.ln_1p(), floor, tails.of_means),
        None => judge(effects.difference, margin * level, floor.exp_m1() * level, tails.of_means),
    };
    Some(Comparison {
        blocks: pairs.len(),
        median_ratio: effects.log_ratio.map(|_| median / baseline_median),
        cliffs_delta: cliffs_delta(&runs, &baseline),
        adjusted_p_value: None,
        verdict,
        spread_verdict: effects
            .log_variance_ratio
            .and_then(|effect| judge(effect, VARIANCE_MARGIN.ln(), 0.0, tails.of_spreads)),
        effects,
    })
}

/// Fills in Holm's adjusted p-values of the means (Scandinavian Journal of Statistics 6, 1979), with the means'
/// part of the error.
fn holm(comparisons: &mut [Option<Comparison>]) {
    let p_value = |comparison: &Comparison| {
        comparison.effects.log_ratio.as_ref().unwrap_or(&comparison.effects.difference).p_value
    };
    let count = comparisons.iter().flatten().count();
    let mut ranked: Vec<(f64, &mut Comparison)> = comparisons
        .iter_mut()
        .flatten()
        .filter_map(|comparison| Some((p_value(comparison)?, comparison)))
        .collect();
    ranked.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let mut reached = 0.0_f64;
    for (rank, (p_value, comparison)) in ranked.into_iter().enumerate() {
        let adjusted = p_value * (count - rank) as f64 / (1.0 - SPREADS_SHARE);
        reached = reached.max(adjusted.min(1.0));
        comparison.adjusted_p_value = Some(reached);
    }
}
