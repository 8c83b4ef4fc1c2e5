//! The intervals of the mean and of the variance of one cell's runs.

use meter::random::Random;

use crate::{
    CONFIDENCE_PERCENT, Interval,
    bootstrap::{Estimate, intervals},
    distribution::normal_quantile,
};

/// Runs beyond which the distribution of an estimate is normal whatever that of the runs is.
const NORMAL_FROM: usize = 400;

/// The intervals of the mean and of the variance of `runs`: by the bootstrap, or, of very many runs, by the normal
/// distribution.
pub fn spread_intervals(runs: &[f64], random: &mut Random) -> [Option<Interval>; 2] {
    if runs.len() > NORMAL_FROM {
        let z = normal_quantile(0.5 + CONFIDENCE_PERCENT / 200.0);
        let around = |estimate: Estimate| Interval {
            low: estimate.value - z * estimate.error,
            high: estimate.value + z * estimate.error,
        };
        let runs = moments(runs);
        return [mean_of(&runs).map(around), log_variance(&runs).map(around).map(|i| i.map(f64::exp))];
    }
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

/// The logarithm of the variance; its error follows from the kurtosis (as in Bonett,
/// Computational Statistics & Data Analysis 50, 2006).
fn log_variance(runs: &Moments) -> Option<Estimate> {
    (runs.n > 3.0 && runs.second > 0.0).then(|| {
        let kurtosis = runs.fourth / (runs.second * runs.second);
        let error = ((kurtosis - (runs.n - 3.0) / (runs.n - 1.0)) / runs.n).max(0.0).sqrt();
        Estimate { value: (runs.second * runs.n / (runs.n - 1.0)).ln(), error }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        let mut random = Random::new(42);
        let (mut mean, mut variance) = (0, 0);
        for seed in 0..200 {
            // Twelve uniform numbers less their mean: a variance of 1.
            let runs: Vec<f64> =
                (0..30).map(|_| 20.0 + (0..12).map(|_| random.unit() - 0.5).sum::<f64>()).collect();
            let [of_mean, of_variance] = spread_intervals(&runs, &mut Random::new(seed));
            mean += u32::from(of_mean.unwrap().contains(20.0));
            variance += u32::from(of_variance.unwrap().contains(1.0));
        }
        // At 95 % of 200 the outcome is from 179 to 199, but for once in a thousand times.
        assert!((179..=199).contains(&mean), "mean: {mean} of 200");
        assert!((176..=199).contains(&variance), "variance: {variance} of 200");
        // Many runs have nearly the same interval either way.
        let many: Vec<f64> = (0..=NORMAL_FROM).map(|_| random.unit()).collect();
        let [normal, normal_variance] = spread_intervals(&many, &mut random).map(Option::unwrap);
        let [drawn, drawn_variance] = spread_intervals(&many[1..], &mut random).map(Option::unwrap);
        assert!((normal.low - drawn.low).abs() < 0.005 && (normal.high - drawn.high).abs() < 0.005);
        assert!(
            (normal_variance.low - drawn_variance.low).abs() < 0.003,
            "{normal_variance:?} {drawn_variance:?}"
        );
        assert_eq!(spread_intervals(&[1.0; 4], &mut random), [None, None]);
    }
}
