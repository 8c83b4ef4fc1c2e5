//! What the pairs of two cells say: their effect sizes with intervals, each for itself and adjusted for the
//! number of comparisons.

use meter::random::Random;

use crate::{
    Interval, LEAST_RUNS,
    describe::{mean, quantile, sorted, variance},
    distribution::{normal_quantile, student_cdf, student_quantile},
    flip::{self, Typical},
    series::Pair,
};

/// How often an interval may miss the truth on either side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tails {
    /// An interval that stands for itself.
    pub alone: f64,
    /// The adjusted interval of a mean.
    pub of_means: f64,
    /// The adjusted interval of a variance.
    pub of_spreads: f64,
}

/// One effect, with what is known of its truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// The estimate.
    pub value: f64,
    /// Its interval, for itself; missing with fewer than [`LEAST_RUNS`] blocks.
    pub interval: Option<Interval>,
    /// Its interval, adjusted for the number of comparisons; missing where the method can't give one from so few.
    pub adjusted: Option<Interval>,
    /// How likely an effect at least as far from 0 is by chance, not adjusted.
    pub p_value: Option<f64>,
}

/// The effects between two cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Effects {
    /// Mean of ln(run / baseline); missing where a run is not above zero.
    pub log_ratio: Option<Effect>,
    /// Mean of run − baseline, in the unit of the runs.
    pub difference: Effect,
    /// ln of the ratio of the variances; its interval is that of the mean squares about the medians. Missing where the baseline has none, and with fewer than three blocks.
    pub log_variance_ratio: Option<Effect>,
    /// Independent units: blocks, or boots where there are several.
    pub units: usize,
    /// Boots.
    pub boots: usize,
    /// Width of the interval over that which the same runs give without pairing, as standard errors.
    pub pairing: Option<f64>,
}

/// The columns of a block: 1, ln x − ln y, x − y, and the squares of the distances of x and y from their medians.
/// (From their means, one stall would move all distances of its cell, and nothing would be exchangeable.)
type Row = [f64; 5];
/// Three quantities of a set of blocks: mean of logarithms, mean of differences, logarithm of the variance ratio.
type Three = [f64; 3];

/// The effects in `pairs`, which are sorted by boot and are not empty. `resolution` is the smallest step that a
/// number can make.
pub fn effects(pairs: &[Pair], resolution: f64, tails: Tails, random: &mut Random) -> Option<Effects> {
    let boots: Vec<&[Pair]> = pairs.chunk_by(|one, next| one.boot == next.boot).collect();
    let rows: Vec<Vec<Row>> = boots.iter().map(|boot| rows(boot)).collect();
    // The mean over boots, each with the same weight.
    let of_boots: Vec<Three> = rows.iter().map(|rows| three(&sum(rows))).collect();
    let mut value: Three =
        std::array::from_fn(|k| of_boots.iter().map(|boot| boot[k]).sum::<f64>() / of_boots.len() as f64);
    if let [boot] = boots[..] {
        value[2] = log_variance_ratio(boot);
    }
    if !value[1].is_finite() {
        return None;
    }
    let tails_of =
        [[tails.alone, tails.of_means], [tails.alone, tails.of_means], [tails.alone, tails.of_spreads]];
    let units = if boots.len() > 1 { boots.len() } else { pairs.len() };
    let mut found = if boots.len() > 1 {
        std::array::from_fn(|k| {
            by_student(&of_boots.iter().map(|boot| boot[k]).collect::<Vec<_>>(), tails_of[k])
        })
    } else {
        of_blocks(&rows[0], tails_of, random)
    };
    if pairs.len() < LEAST_RUNS {
        found = [Found::default(); 3];
    }
    let effect = |k: usize| {
        let Found { interval, adjusted, p_value } = found[k];
        Effect { value: value[k], interval, adjusted, p_value }
    };
    let floors = floors(pairs, resolution);
    let floored = |k: usize| above_the_floor(effect(k), floors[k], tails_of[k]);
    let positive = pairs.iter().all(|pair| pair.run > 0.0 && pair.baseline > 0.0);
    Some(Effects {
        log_ratio: positive.then(|| floored(0)),
        difference: floored(1),
        log_variance_ratio: value[2].is_finite().then(|| effect(2)),
        units,
        boots: boots.len(),
        pairing: pairing(pairs),
    })
}

fn rows(boot: &[Pair]) -> Vec<Row> {
    let median = |of: fn(&Pair) -> f64| {
        let sorted = sorted(&boot.iter().map(of).collect::<Vec<_>>());
        quantile(&sorted, 0.5)
    };
    let (run, baseline) = (median(|pair| pair.run), median(|pair| pair.baseline));
    boot.iter()
        .map(|pair| {
            [
                1.0,
                pair.run.ln() - pair.baseline.ln(),
                pair.run - pair.baseline,
                (pair.run - run).powi(2),
                (pair.baseline - baseline).powi(2),
            ]
        })
        .collect()
}

fn log_variance_ratio(pairs: &[Pair]) -> f64 {
    let of = |value: fn(&Pair) -> f64| variance(&pairs.iter().map(value).collect::<Vec<_>>());
    match (of(|pair| pair.run), of(|pair| pair.baseline)) {
        (Some(run), Some(baseline)) => (run / baseline).ln(),
        _ => f64::NAN,
    }
}

fn sum(rows: &[Row]) -> Row {
    rows.iter().fold([0.0; 5], |sum, row| std::array::from_fn(|column| sum[column] + row[column]))
}

fn three([count, logs, differences, squares, baseline_squares]: &Row) -> Three {
    [logs / count, differences / count, (squares / baseline_squares).ln()]
}

#[derive(Clone, Copy, Default)]
struct Found {
    interval: Option<Interval>,
    adjusted: Option<Interval>,
    p_value: Option<f64>,
}

/// From the blocks of one boot: sign flips, and Student's t for the interval of so few that flips can't give it.
fn of_blocks(rows: &[Row], tails: [[f64; 2]; 3], random: &mut Random) -> [Found; 3] {
    let units = flip::batches(rows.to_vec());
    let freedom = units.len().saturating_sub(1).max(1) as f64;
    let mut typical: [Typical; 3] = flip::typical(&units, three, random);
    std::array::from_fn(|k| {
        let [alone, adjusted] = tails[k];
        let by_flips = typical[k].interval(alone, freedom);
        let by_student = || match k {
            2 => None,
            _ => by_student(&units.iter().map(|unit| three(unit)[k]).collect::<Vec<_>>(), tails[k]).interval,
        };
        Found {
            interval: by_flips.or_else(by_student),
            adjusted: typical[k].interval(adjusted, freedom),
            p_value: Some(typical[k].p_value(0.0)),
        }
    })
}

/// Student's t of the mean of independent units.
fn by_student(units: &[f64], [alone, adjusted]: [f64; 2]) -> Found {
    let (Some(mean), Some(variance)) = (mean(units), variance(units)) else { return Found::default() };
    let freedom = units.len() as f64 - 1.0;
    let error = (variance / units.len() as f64).sqrt();
    let interval = |tail: f64| {
        let reach = -student_quantile(tail, freedom) * error;
        Some(Interval { low: mean - reach, high: mean + reach })
    };
    let t = if error > 0.0 {
        -(mean / error).abs()
    } else if mean == 0.0 {
        0.0
    } else {
        -1e300
    };
    Found {
        interval: interval(alone),
        adjusted: interval(adjusted),
        p_value: Some(2.0 * student_cdf(t, freedom)),
    }
}

/// The least standard error that numbers of this resolution leave, and the least half width where neither cell
/// varies: rounding that always goes the same way does not average out. One pair for logarithms, one for differences.
fn floors(pairs: &[Pair], resolution: f64) -> [[f64; 2]; 2] {
    let n = pairs.len() as f64;
    let first = pairs[0];
    let constant = pairs.iter().all(|pair| pair.run == first.run && pair.baseline == first.baseline);
    let level = pairs.iter().map(|pair| pair.run.min(pair.baseline)).fold(f64::INFINITY, f64::min);
    [level, 1.0].map(|unit| {
        let step = resolution / unit.max(f64::MIN_POSITIVE);
        [step / (6.0 * n).sqrt(), if constant { step } else { 0.0 }]
    })
}

fn above_the_floor(effect: Effect, [error, half]: [f64; 2], tails: [f64; 2]) -> Effect {
    let widen = |interval: Option<Interval>, tail: f64| {
        let least = (-normal_quantile(tail.max(1e-300)) * error).max(half);
        interval.map(|Interval { low, high }| Interval {
            low: low.min(effect.value - least),
            high: high.max(effect.value + least),
        })
    };
    Effect {
        interval: widen(effect.interval, tails[0]),
        adjusted: widen(effect.adjusted, tails[1]),
        ..effect
    }
}

/// Standard error of the mean difference with pairing over that without.
fn pairing(pairs: &[Pair]) -> Option<f64> {
    let of = |value: fn(&Pair) -> f64| variance(&pairs.iter().map(value).collect::<Vec<_>>());
    let unpaired = of(|pair| pair.run)? + of(|pair| pair.baseline)?;
    (unpaired > 0.0).then_some((of(|pair| pair.run - pair.baseline)? / unpaired).sqrt())
}
