//! Confidence intervals: the studentised bootstrap (bootstrap-t).
//!
//! Runs are drawn with replacement within each group; each draw gives the estimate and its standard
//! error; the quantiles of (drawn − seen) / (drawn error) replace those of Student's t. It keeps its
//! coverage with few and with skewed runs, where the plain percentile bootstrap is too narrow (Efron
//! and Tibshirani, An Introduction to the Bootstrap, 1993, §12.5; Davison and Hinkley, Bootstrap
//! Methods and their Application, 1997, §5.2).

use meter::random::Random;

/// How sure an interval is, in percent.
pub const CONFIDENCE_PERCENT: f64 = 95.0;
/// Runs that each group must have for an interval: fewer give too few different draws.
pub const LEAST_RUNS: usize = 5;
/// Draws. One less than a round number, so that the quantiles are draws.
const DRAWS: usize = 1999;

/// Both ends of a confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Whether `value` is inside.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// Both ends through a rising function, such as from a logarithm back.
    pub fn map(self, rising: impl Fn(f64) -> f64) -> Self {
        Self { low: rising(self.low), high: rising(self.high) }
    }
}

/// An estimate from runs, and its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    pub value: f64,
    pub error: f64,
}

/// Intervals of `K` estimates, all from the same draws of `G` groups.
///
/// `None` for an estimate that the runs seen don't give, for groups below [`LEAST_RUNS`], and when a
/// twentieth of the draws give no estimate.
pub(crate) fn intervals<const G: usize, const K: usize, T: Copy>(
    groups: [&[T]; G],
    estimate: impl Fn([&[T]; G]) -> [Option<Estimate>; K],
    random: &mut Random,
) -> [Option<Interval>; K] {
    let seen = estimate(groups);
    if groups.iter().any(|group| group.len() < LEAST_RUNS) {
        return [None; K];
    }
    let mut drawn = groups.map(<[T]>::to_vec);
    let mut deviations: [Vec<f64>; K] = std::array::from_fn(|_| Vec::with_capacity(DRAWS));
    for _ in 0..DRAWS {
        for (draw, group) in drawn.iter_mut().zip(groups) {
            draw.fill_with(|| group[random.below(group.len() as u64) as usize]);
        }
        let estimates = estimate(std::array::from_fn(|group| drawn[group].as_slice()));
        for ((deviations, drawn), seen) in deviations.iter_mut().zip(estimates).zip(seen) {
            if let (Some(drawn), Some(seen)) = (drawn, seen) {
                deviations.extend(deviation(drawn, seen));
            }
        }
    }
    let mut deviations = deviations.into_iter();
    seen.map(|seen| interval(seen?, deviations.next().unwrap_or_default()))
}

/// How many of its own standard errors a draw is away. A draw of equal runs has no error of its own.
fn deviation(drawn: Estimate, seen: Estimate) -> Option<f64> {
    if seen.error == 0.0 {
        return Some(0.0);
    }
    let deviation = (drawn.value - seen.value) / drawn.error;
    deviation.is_finite().then_some(deviation)
}

fn interval(seen: Estimate, mut deviations: Vec<f64>) -> Option<Interval> {
    if deviations.len() < DRAWS - DRAWS / 20 {
        return None;
    }
    deviations.sort_by(f64::total_cmp);
    let tail = (1.0 - CONFIDENCE_PERCENT / 100.0) / 2.0;
    let rank = (((deviations.len() + 1) as f64 * tail).round() as usize).max(1);
    let (lowest, highest) = (deviations[rank - 1], deviations[deviations.len() - rank]);
    Some(Interval { low: seen.value - highest * seen.error, high: seen.value - lowest * seen.error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::describe;

    fn normal(random: &mut Random) -> f64 {
        (-2.0 * random.unit().ln()).sqrt() * (std::f64::consts::TAU * random.unit()).cos()
    }

    fn of_mean(runs: &[f64]) -> Option<Estimate> {
        let described = describe(runs)?;
        Some(Estimate { value: described.mean, error: described.stdev? / (described.n as f64).sqrt() })
    }

    fn mean_interval(runs: &[f64], seed: u64) -> Option<Interval> {
        intervals([runs], |[runs]| [of_mean(runs)], &mut Random::new(seed))[0]
    }

    /// How often the interval of the mean holds the true mean, in percent of 200 samples.
    fn coverage(n: usize, draw: impl Fn(&mut Random) -> f64, truth: f64) -> u32 {
        let mut random = Random::new(2010);
        let held = (0..200).filter(|&sample| {
            let runs: Vec<f64> = (0..n).map(|_| draw(&mut random)).collect();
            mean_interval(&runs, sample).is_some_and(|interval| interval.contains(truth))
        });
        held.count() as u32 / 2
    }

    #[test]
    fn the_interval_of_a_mean_holds_it_as_often_as_it_says() {
        for n in [LEAST_RUNS, 20] {
            let held = coverage(n, normal, 0.0);
            assert!((92..=99).contains(&held), "{n} normal runs: {held} %");
        }
    }

    #[test]
    fn skewed_runs_keep_most_of_the_coverage() {
        // Exponential: skewness 2, worse than times of I/O usually are.
        let held = coverage(20, |random| -random.unit().ln(), 1.0);
        assert!((91..=99).contains(&held), "{held} %");
    }

    #[test]
    fn the_interval_of_a_normal_sample_is_about_students() {
        // 1 to 10: mean 5.5, standard error 0.9574, t(9, 0.975) = 2.262, so 3.33 to 7.67.
        let runs: Vec<f64> = (1..=10).map(f64::from).collect();
        let interval = mean_interval(&runs, 1).unwrap();
        assert!((interval.low - 3.33).abs() < 0.25, "{interval:?}");
        assert!((interval.high - 7.67).abs() < 0.25, "{interval:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_interval_and_few_runs_none() {
        let runs = [5.0, 6.0, 7.5, 5.5, 9.0, 6.2, 8.1, 7.7, 6.9];
        assert_eq!(mean_interval(&runs, 7), mean_interval(&runs, 7));
        assert_ne!(mean_interval(&runs, 7), mean_interval(&runs, 8));
        assert_eq!(mean_interval(&runs[..4], 7), None);
        assert_eq!(mean_interval(&[], 7), None);
    }

    #[test]
    fn equal_runs_have_an_interval_without_width() {
        assert_eq!(mean_interval(&[4.0; 8], 3), Some(Interval { low: 4.0, high: 4.0 }));
    }
}
