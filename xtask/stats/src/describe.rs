//! What a set of runs looks like.

/// Location and spread of the runs of one cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Description {
    /// Number of runs.
    pub n: usize,
    /// Arithmetic mean.
    pub mean: f64,
    /// Middle run, or the mean of the two middle ones.
    pub median: f64,
    /// Smallest run.
    pub min: f64,
    /// Largest run.
    pub max: f64,
    /// Variance with n − 1; missing for a single run.
    pub variance: Option<f64>,
    /// Square root of the variance, in the unit of the runs.
    pub stdev: Option<f64>,
}

/// Describes `runs`, in any order; `None` where there are none, or their sum is beyond all bounds.
pub fn describe(runs: &[f64]) -> Option<Description> {
    let sorted = sorted(runs);
    let (min, max) = (*sorted.first()?, *sorted.last()?);
    let variance = variance(runs);
    Some(Description {
        n: runs.len(),
        mean: mean(runs)?,
        median: quantile(&sorted, 0.5),
        min,
        max,
        variance,
        stdev: variance.map(f64::sqrt),
    })
}

/// The `percent` percentile of `runs` (0 to 100), interpolated between neighbours (Hyndman and Fan's
/// type 7). It is `None` when fewer than one run is expected beyond it: no 99th percentile of 50 runs.
pub fn percentile(runs: &[f64], percent: f64) -> Option<f64> {
    let outside = percent.min(100.0 - percent) / 100.0;
    // 5 % of 20 runs is one run, whatever the binary fraction says.
    (runs.len() as f64 * outside >= 1.0 - 1e-9).then(|| quantile(&sorted(runs), percent / 100.0))
}

/// For each distinct value in rising order, the share of runs that are at most as large.
pub fn distribution(runs: &[f64]) -> Vec<(f64, f64)> {
    let sorted = sorted(runs);
    let mut steps: Vec<(f64, f64)> = Vec::new();
    for (index, &value) in sorted.iter().enumerate() {
        let share = (index + 1) as f64 / sorted.len() as f64;
        match steps.last_mut() {
            Some(last) if last.0 == value => last.1 = share,
            _ => steps.push((value, share)),
        }
    }
    steps
}

/// Arithmetic mean.
pub(crate) fn mean(runs: &[f64]) -> Option<f64> {
    (!runs.is_empty()).then(|| runs.iter().sum::<f64>() / runs.len() as f64).filter(|mean| mean.is_finite())
}

/// Variance with n − 1, in two passes so that a small spread on a large mean is not lost.
pub(crate) fn variance(runs: &[f64]) -> Option<f64> {
    let mean = mean(runs)?;
    let squares: f64 = runs.iter().map(|run| (run - mean).powi(2)).sum();
    (runs.len() > 1 && squares.is_finite()).then(|| squares / (runs.len() - 1) as f64)
}

pub(crate) fn sorted(runs: &[f64]) -> Vec<f64> {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Cliff's delta (Psychological Bulletin 114, 1993), by counting in the sorted baseline.
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

/// The quantile at `share` (0 to 1) of sorted, non-empty runs.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let position = share * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_of_a_textbook_sample() {
        // 2, 4, 4, 4, 5, 5, 7, 9: mean 5, sum of squares about it 32.
        let described = describe(&[9.0, 4.0, 2.0, 5.0, 4.0, 7.0, 4.0, 5.0]).unwrap();
        assert_eq!((described.n, described.mean, described.median), (8, 5.0, 4.5));
        assert_eq!((described.min, described.max), (2.0, 9.0));
        assert_eq!(described.variance, Some(32.0 / 7.0));
    }

    #[test]
    fn ties_count_for_neither_side() {
        assert_eq!(cliffs_delta(&[1.0, 2.0], &[1.0, 2.0]), 0.0);
        assert_eq!(cliffs_delta(&[5.0, 6.0], &[1.0, 2.0]), 1.0);
        assert_eq!(cliffs_delta(&[0.0], &[1.0, 2.0]), -1.0);
        // Of nine pairs the first is larger in 6 and smaller in 3.
        assert!((cliffs_delta(&[3.0, 5.0, 7.0], &[2.0, 4.0, 6.0]) - 3.0 / 9.0).abs() < 1e-12);
    }

    #[test]
    fn what_the_runs_can_not_say_is_missing() {
        assert_eq!(describe(&[]), None);
        let single = describe(&[3.0]).unwrap();
        assert_eq!((single.mean, single.variance, single.stdev), (3.0, None, None));
    }

    #[test]
    fn a_small_spread_on_a_large_mean_survives() {
        // NIST's StRD "NumAcc4": 1 001 values 10 000 000.1 to .3, standard deviation exactly 0.1.
        let mut runs = vec![10_000_000.2];
        for _ in 0..500 {
            runs.extend([10_000_000.1, 10_000_000.3]);
        }
        assert!((describe(&runs).unwrap().stdev.unwrap() - 0.1).abs() < 1e-8);
    }

    #[test]
    fn percentiles_beyond_the_runs_are_not_given() {
        let runs: Vec<f64> = (1..=50).map(f64::from).collect();
        assert_eq!(percentile(&runs, 50.0), Some(25.5));
        assert_eq!(percentile(&runs, 98.0).map(f64::round), Some(49.0));
        assert_eq!(percentile(&runs, 99.0), None);
        assert_eq!(percentile(&runs, 1.0), None);
        assert!(percentile(&runs[..20], 95.0).is_some());
        assert_eq!(percentile(&runs[..19], 95.0), None);
        assert_eq!(percentile(&[], 50.0), None);
    }

    #[test]
    fn equal_runs_are_one_step() {
        assert_eq!(distribution(&[2.0, 1.0, 2.0, 4.0]), [(1.0, 0.25), (2.0, 0.75), (4.0, 1.0)]);
    }

    proptest! {
        #[test]
        fn a_description_does_not_depend_on_the_order(
            mut runs in prop::collection::vec(-1e6..1e6_f64, 1..60),
        ) {
            let before = describe(&runs).unwrap();
            runs.reverse();
            let after = describe(&runs).unwrap();
            prop_assert!((before.mean - after.mean).abs() <= 1e-6);
            prop_assert_eq!((before.median, before.min, before.max), (after.median, after.min, after.max));
            prop_assert!(before.min <= before.median && before.median <= before.max);
            prop_assert!(before.min - 1e-6 <= before.mean && before.mean <= before.max + 1e-6);
        }

        #[test]
        fn a_shift_moves_the_mean_and_leaves_the_variance(
            runs in prop::collection::vec(-1e3..1e3_f64, 2..60),
            shift in -1e3..1e3_f64,
        ) {
            let moved: Vec<f64> = runs.iter().map(|run| run + shift).collect();
            let (before, after) = (describe(&runs).unwrap(), describe(&moved).unwrap());
            prop_assert!((after.mean - before.mean - shift).abs() < 1e-8);
            prop_assert!((after.variance.unwrap() - before.variance.unwrap()).abs() < 1e-5);
        }
    }
}
