//! One cell against the baseline: difference, ratio, effect size and spread, each with its interval.

use meter::random::Random;

use super::{
    Interval,
    bootstrap::{Estimate, intervals},
    describe::{mean, sorted, variance},
};

/// How far a ratio may be from 1, in percent, and still be called no difference.
pub const MARGIN_PERCENT: f64 = 1.0;

/// What can be said of a difference from the baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The whole interval of the difference is above zero.
    Higher,
    /// The whole interval of the difference is below zero.
    Lower,
    /// The interval of the ratio holds 1 and is within the margin on both sides.
    NoDifference,
    /// The interval holds zero, but a difference beyond the margin too: more runs would tell.
    Undecided,
}

/// How runs differ from those of the baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Mean less the baseline's, in the unit of the runs.
    pub difference: f64,
    /// Its interval.
    pub difference_interval: Option<Interval>,
    /// Mean divided by the baseline's, where all runs are above zero.
    pub ratio: Option<f64>,
    /// Its interval.
    pub ratio_interval: Option<Interval>,
    /// Chance that a run is larger than one of the baseline, less the chance that it is smaller: −1 to 1.
    pub cliffs_delta: f64,
    /// Variance divided by the baseline's.
    pub variance_ratio: Option<f64>,
    /// Its interval.
    pub variance_ratio_interval: Option<Interval>,
    /// What can be said; missing without an interval.
    pub verdict: Option<Verdict>,
}

/// Compares `runs` with `baseline`; `None` when either is empty.
pub fn compare(runs: &[f64], baseline: &[f64], random: &mut Random) -> Option<Comparison> {
    let difference = mean(runs)? - mean(baseline)?;
    let [difference_interval, ratio_interval, variance_ratio_interval] = intervals(
        [runs, baseline],
        |[runs, baseline]| {
            let [runs, baseline] = [moments(runs), moments(baseline)];
            [
                between(mean_of(&runs), mean_of(&baseline)),
                between(log_mean(&runs), log_mean(&baseline)),
                between(log_variance(&runs), log_variance(&baseline)),
            ]
        },
        random,
    );
    let ratio_interval = ratio_interval.map(|interval| interval.map(f64::exp));
    let positive = |runs: &[f64]| runs.iter().all(|&run| run > 0.0);
    let comparable = positive(runs) && positive(baseline);
    Some(Comparison {
        difference,
        difference_interval,
        ratio: if comparable { Some(mean(runs)? / mean(baseline)?) } else { None },
        ratio_interval: ratio_interval.filter(|_| comparable),
        cliffs_delta: cliffs_delta(runs, baseline),
        variance_ratio: variance(runs).zip(variance(baseline).filter(|&v| v > 0.0)).map(|(a, b)| a / b),
        variance_ratio_interval: variance_ratio_interval.map(|interval| interval.map(f64::exp)),
        verdict: verdict(difference_interval, ratio_interval.filter(|_| comparable)),
    })
}

/// The intervals of the mean and of the variance of `runs`.
pub fn spread_intervals(runs: &[f64], random: &mut Random) -> [Option<Interval>; 2] {
    let [mean, variance] = intervals(
        [runs],
        |[runs]| {
            let runs = moments(runs);
            [mean_of(&runs), log_variance(&runs)]
        },
        random,
    );
    [mean, variance.map(|interval| interval.map(f64::exp))]
}

fn verdict(difference: Option<Interval>, ratio: Option<Interval>) -> Option<Verdict> {
    let difference = difference?;
    let margin = Interval { low: 1.0 - MARGIN_PERCENT / 100.0, high: 1.0 + MARGIN_PERCENT / 100.0 };
    Some(if difference.low > 0.0 {
        Verdict::Higher
    } else if difference.high < 0.0 {
        Verdict::Lower
    } else if ratio.is_some_and(|ratio| margin.contains(ratio.low) && margin.contains(ratio.high)) {
        Verdict::NoDifference
    } else {
        Verdict::Undecided
    })
}

/// Cliff's delta, by counting in the sorted baseline.
pub(crate) fn cliffs_delta(runs: &[f64], baseline: &[f64]) -> f64 {
    let baseline = sorted(baseline);
    let mut balance = 0_i64;
    for &run in runs {
        let smaller = baseline.partition_point(|&other| other < run);
        let not_larger = baseline.partition_point(|&other| other <= run);
        balance += smaller as i64 - (baseline.len() - not_larger) as i64;
    }
    balance as f64 / (runs.len() * baseline.len()) as f64
}

/// Number of runs, mean, and mean second and fourth powers of the deviations from it.
struct Moments {
    n: f64,
    mean: f64,
    second: f64,
    fourth: f64,
}

fn moments(runs: &[f64]) -> Moments {
    let n = runs.len() as f64;
    let mean = runs.iter().sum::<f64>() / n;
    let (mut second, mut fourth) = (0.0, 0.0);
    for run in runs {
        let square = (run - mean) * (run - mean);
        second += square;
        fourth += square * square;
    }
    Moments { n, mean, second: second / n, fourth: fourth / n }
}

fn mean_of(runs: &Moments) -> Option<Estimate> {
    (runs.n > 1.0).then(|| Estimate { value: runs.mean, error: (runs.second / (runs.n - 1.0)).sqrt() })
}

/// The logarithm of the mean, for ratios; its error by the delta method.
fn log_mean(runs: &Moments) -> Option<Estimate> {
    let mean = mean_of(runs).filter(|mean| mean.value > 0.0)?;
    Some(Estimate { value: mean.value.ln(), error: mean.error / mean.value })
}

/// The logarithm of the variance; its error follows from the kurtosis (as in Bonett,
/// Computational Statistics & Data Analysis 50, 2006).
fn log_variance(runs: &Moments) -> Option<Estimate> {
    (runs.n > 3.0 && runs.second > 0.0).then(|| {
        let kurtosis = runs.fourth / (runs.second * runs.second);
        let error = ((kurtosis - (runs.n - 3.0) / (runs.n - 1.0)) / runs.n).max(0.0).sqrt();
        Estimate { value: (runs.second * runs.n / (runs.n - 1.0)).ln(), error }
    })
}

/// The difference of two independent estimates.
fn between(one: Option<Estimate>, other: Option<Estimate>) -> Option<Estimate> {
    let (one, other) = (one?, other?);
    Some(Estimate { value: one.value - other.value, error: one.error.hypot(other.error) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(n: usize, mean: f64, stdev: f64, random: &mut Random) -> Vec<f64> {
        let normal = |random: &mut Random| {
            (-2.0 * random.unit().ln()).sqrt() * (std::f64::consts::TAU * random.unit()).cos()
        };
        (0..n).map(|_| mean + stdev * normal(random)).collect()
    }

    #[test]
    fn numbers_computed_by_hand() {
        let compared = compare(&[3.0, 5.0, 7.0], &[2.0, 4.0, 6.0], &mut Random::new(1)).unwrap();
        assert_eq!((compared.difference, compared.ratio), (1.0, Some(1.25)));
        // Of nine pairs the first is larger in 6 and smaller in 3.
        assert!((compared.cliffs_delta - 3.0 / 9.0).abs() < 1e-12);
        assert_eq!(compared.variance_ratio, Some(1.0));
        assert_eq!((compared.difference_interval, compared.verdict), (None, None));
        assert_eq!(compare(&[], &[1.0], &mut Random::new(1)), None);
    }

    #[test]
    fn ties_count_for_neither_side() {
        assert_eq!(cliffs_delta(&[1.0, 2.0], &[1.0, 2.0]), 0.0);
        assert_eq!(cliffs_delta(&[5.0, 6.0], &[1.0, 2.0]), 1.0);
        assert_eq!(cliffs_delta(&[0.0], &[1.0, 2.0]), -1.0);
    }

    #[test]
    fn verdicts_follow_the_intervals() {
        let of = |low, high| Some(Interval { low, high });
        assert_eq!(verdict(of(0.1, 0.2), of(1.001, 1.002)), Some(Verdict::Higher));
        assert_eq!(verdict(of(-0.2, -0.1), of(0.8, 0.9)), Some(Verdict::Lower));
        assert_eq!(verdict(of(-0.1, 0.1), of(0.995, 1.005)), Some(Verdict::NoDifference));
        assert_eq!(verdict(of(-0.1, 0.1), of(0.985, 1.005)), Some(Verdict::Undecided));
        assert_eq!(verdict(of(-0.1, 0.1), None), Some(Verdict::Undecided));
        assert_eq!(verdict(None, of(1.0, 1.0)), None);
    }

    #[test]
    fn intervals_of_ratios_hold_the_truth_as_often_as_they_say() {
        let mut random = Random::new(42);
        let (mut ratio, mut variance) = (0, 0);
        for seed in 0..120 {
            let runs = sample(30, 22.0, 0.4, &mut random);
            let baseline = sample(30, 20.0, 0.1, &mut random);
            let compared = compare(&runs, &baseline, &mut Random::new(seed)).unwrap();
            ratio += u32::from(compared.ratio_interval.unwrap().contains(1.1));
            variance += u32::from(compared.variance_ratio_interval.unwrap().contains(16.0));
        }
        assert!((109..=119).contains(&ratio), "ratio of means: {ratio} of 120");
        assert!((109..=120).contains(&variance), "ratio of variances: {variance} of 120");
    }

    #[test]
    fn numbers_at_or_below_zero_have_no_ratio() {
        let compared = compare(&[0.0; 6], &[1.0, 2.0, 3.0, 4.0, 5.0], &mut Random::new(1)).unwrap();
        assert_eq!((compared.ratio, compared.ratio_interval), (None, None));
        assert_eq!(compared.verdict, Some(Verdict::Lower));
        assert_eq!(compared.variance_ratio, Some(0.0));
        assert_eq!(compared.variance_ratio_interval, None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn sides_can_be_swapped(
            one in prop::collection::vec(1.0..9.0_f64, 1..30),
            other in prop::collection::vec(1.0..9.0_f64, 1..30),
        ) {
            let forth = compare(&one, &other, &mut Random::new(1)).unwrap();
            let back = compare(&other, &one, &mut Random::new(1)).unwrap();
            prop_assert!((forth.difference + back.difference).abs() < 1e-9);
            prop_assert!((forth.ratio.unwrap() * back.ratio.unwrap() - 1.0).abs() < 1e-9);
            prop_assert_eq!(forth.cliffs_delta, -back.cliffs_delta);
            prop_assert!((-1.0..=1.0).contains(&forth.cliffs_delta));
        }

        #[test]
        fn intervals_hold_their_estimate_and_scale_with_the_unit(
            runs in prop::collection::vec(1.0..9.0_f64, 6..20),
            baseline in prop::collection::vec(1.0..9.0_f64, 6..20),
        ) {
            let seconds = compare(&runs, &baseline, &mut Random::new(3)).unwrap();
            let milliseconds = |runs: &[f64]| runs.iter().map(|run| run * 1024.0).collect::<Vec<_>>();
            let [runs, baseline] = [milliseconds(&runs), milliseconds(&baseline)];
            let scaled = compare(&runs, &baseline, &mut Random::new(3)).unwrap();
            if let (Some(one), Some(other)) = (seconds.difference_interval, scaled.difference_interval) {
                prop_assert!((one.low * 1024.0 - other.low).abs() < 1e-6);
            }
            prop_assert!((seconds.ratio.unwrap() - scaled.ratio.unwrap()).abs() < 1e-12);
            if let Some(interval) = seconds.difference_interval {
                prop_assert!(interval.low <= interval.high);
            }
        }
    }
}
