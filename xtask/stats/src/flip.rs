//! The sign-flip test of paired numbers, and the interval that is its inversion.
//!
//! If nothing but chance tells the two runs of a block apart, their difference is as likely to have the other
//! sign. Whether a value θ can be the truth is tested by flipping the signs of (d − θ) in every way; the values
//! that the test does not reject are the interval. It need not be searched: the sum with the signs of a set S
//! flipped exceeds the sum seen just where the mean over S is below θ, so the ends are order statistics of the
//! means of random subsets ("typical values", Hartigan, JASA 64, 1969). The level is exact for every symmetric
//! distribution of d, whatever its tails, and for ratios of sums of exchangeable pairs likewise.

use meter::random::Random;

use crate::{Interval, distribution::student_quantile};

/// Random subsets where there are too many for all. One less than a round number: what was seen is one more.
pub const DRAWS: usize = 9_999;
/// Units up to which all subsets are taken: 2¹³ is about as many as are drawn otherwise.
const ALL_UP_TO: usize = 13;
/// Units of which subsets are taken; longer series are cut into this many batches of neighboring blocks.
pub const MOST_UNITS: usize = 192;
/// Units whose sums are looked up at once.
const GROUP: usize = 8;

/// What subsets of the units say about one quantity: typical values in no order, and how many there would be
/// with the empty subset, which is the sample as seen.
pub struct Typical {
    values: Vec<f64>,
    total: usize,
}

/// For random subsets of `units`, each a row of numbers that add up: `K` functions of the sums.
///
/// With no more than [`ALL_UP_TO`] units all subsets are taken and `random` is not used.
pub fn typical<const A: usize, const K: usize>(
    units: &[[f64; A]],
    of: impl Fn(&[f64; A]) -> [f64; K],
    random: &mut Random,
) -> [Typical; K] {
    let groups: Vec<Vec<[f64; A]>> = units.chunks(GROUP).map(subset_sums).collect();
    let all = units.len() <= ALL_UP_TO;
    let subsets = if all { (1_usize << units.len()) - 1 } else { DRAWS };
    let mut values: [Vec<f64>; K] = std::array::from_fn(|_| Vec::with_capacity(subsets));
    let last = if units.len().is_multiple_of(GROUP) { 0xff } else { (1_u64 << (units.len() % GROUP)) - 1 };
    for subset in 1..=subsets {
        let (mut sums, mut bits) = ([0.0; A], subset as u64);
        for (index, group) in groups.iter().enumerate() {
            if !all && index % GROUP == 0 {
                bits = random.next_u64();
            }
            let mask = if index + 1 == groups.len() { bits & last } else { bits & 0xff };
            bits >>= GROUP;
            for (sum, part) in sums.iter_mut().zip(&group[mask as usize]) {
                *sum += part;
            }
        }
        for (values, value) in values.iter_mut().zip(of(&sums)) {
            if !value.is_nan() {
                values.push(value);
            }
        }
    }
    values.map(|values| Typical { values, total: subsets + 1 })
}

/// The sums of every subset of up to eight rows, by the subset's bits.
fn subset_sums<const A: usize>(rows: &[[f64; A]]) -> Vec<[f64; A]> {
    let mut sums = vec![[0.0; A]];
    for row in rows {
        for index in 0..sums.len() {
            let with = std::array::from_fn(|column| sums[index][column] + row[column]);
            sums.push(with);
        }
    }
    sums
}

impl Typical {
    /// The interval that misses the truth on either side with a probability of at most `tail`; `None` where all
    /// subsets are too few to tell. A tail that [`DRAWS`] draws don't resolve is that of Student's t with the
    /// error that the subsets show and `freedom` degrees of freedom, or the outermost draws where these are wider.
    pub fn interval(&mut self, tail: f64, freedom: f64) -> Option<Interval> {
        let rank = (tail * self.total as f64 + 1e-9).floor() as usize;
        let count = self.values.len();
        if 2 * rank.max(1) > count {
            return None;
        }
        if rank == 0 {
            return (self.total > DRAWS).then(|| self.beyond_the_draws(tail, freedom));
        }
        let (_, low, _) = self.values.select_nth_unstable_by(rank - 1, f64::total_cmp);
        let low = *low;
        let (_, high, _) = self.values.select_nth_unstable_by(count - rank, f64::total_cmp);
        Some(Interval { low, high: *high })
    }

    fn beyond_the_draws(&self, tail: f64, freedom: f64) -> Interval {
        let finite = || self.values.iter().copied().filter(|value| value.is_finite());
        let count = finite().count().max(2) as f64;
        let mean = finite().sum::<f64>() / count;
        let squares: f64 = finite().map(|value| (value - mean).powi(2)).sum();
        let reach = -student_quantile(tail, freedom) * (squares / (count - 1.0)).sqrt();
        let start = Interval { low: mean - reach, high: mean + reach };
        self.values
            .iter()
            .fold(start, |ends, value| Interval { low: ends.low.min(*value), high: ends.high.max(*value) })
    }

    /// The two-sided p-value of the truth being `value`. It is never below two out of all subsets.
    pub fn p_value(&self, value: f64) -> f64 {
        let below = self.values.iter().filter(|typical| **typical <= value).count();
        let above = self.values.iter().filter(|typical| **typical >= value).count();
        (2.0 * (below.min(above) + 1) as f64 / self.total as f64).min(1.0)
    }
}

/// The smallest number of units with which an interval with this `tail` on either side can be given.
pub fn least_units(tail: f64) -> usize {
    (1..=ALL_UP_TO).find(|&units| tail * (1_u64 << units) as f64 >= 1.0 - 1e-9).unwrap_or(ALL_UP_TO + 1)
}

/// `rows` as at most [`MOST_UNITS`] sums of neighboring rows.
pub fn batches<const A: usize>(rows: Vec<[f64; A]>) -> Vec<[f64; A]> {
    if rows.len() <= MOST_UNITS {
        return rows;
    }
    let bound = |batch: usize| batch * rows.len() / MOST_UNITS;
    (0..MOST_UNITS)
        .map(|batch| {
            let rows = &rows[bound(batch)..bound(batch + 1)];
            std::array::from_fn(|column| rows.iter().map(|row| row[column]).sum())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(d: &[f64]) -> Typical {
        let units: Vec<[f64; 2]> = d.iter().map(|&d| [1.0, d]).collect();
        let [typical] = typical(&units, |[count, sum]| [sum / count], &mut Random::new(1));
        typical
    }

    #[test]
    fn all_subsets_of_six_are_taken() {
        // 63 subsets and the sample itself: a tail of 1/64 ends at the smallest and the largest number.
        let mut six = of(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(six.values.len(), 63);
        assert_eq!(six.interval(0.025, 5.0), Some(Interval { low: 1.0, high: 6.0 }));
        assert_eq!(six.interval(2.0 / 64.0, 5.0), Some(Interval { low: 1.5, high: 5.5 }));
        assert_eq!(six.interval(0.9 / 64.0, 5.0), None);
        assert_eq!(six.p_value(0.0), 2.0 / 64.0);
        assert_eq!((least_units(0.025), least_units(0.025 / 12.0), least_units(1e-9)), (6, 9, 14));
    }

    #[test]
    fn the_p_value_is_that_of_scipys_permutation_test() {
        // scipy.stats.permutation_test((d,), numpy.mean, permutation_type="samples", alternative=...), exact:
        // twice the smaller of both sides.
        for (d, p) in SIGN_FLIPS {
            assert!((of(&d).p_value(0.0) - p).abs() < 1e-12, "{d:?}");
        }
    }

    #[test]
    fn drawn_subsets_give_the_same_as_all_of_them() {
        let d: Vec<f64> = (0..20).map(|k| f64::from((k * 7) % 20) / 10.0 - 0.6).collect();
        let mut drawn = of(&d);
        assert_eq!(drawn.values.len(), DRAWS);
        // All 2^20 subsets, by their bits.
        let mut means: Vec<f64> = (1_u32..1 << 20)
            .map(|bits| {
                let chosen = (0..20).filter(|index| bits >> index & 1 == 1);
                chosen.map(|index| d[index]).sum::<f64>() / f64::from(bits.count_ones())
            })
            .collect();
        means.sort_unstable_by(f64::total_cmp);
        let rank = (means.len() as f64 * 0.025) as usize;
        let interval = drawn.interval(0.025, 5.0).unwrap();
        assert!((interval.low - means[rank - 1]).abs() < 0.02, "{interval:?} {}", means[rank - 1]);
        assert!((interval.high - means[means.len() - rank]).abs() < 0.02, "{interval:?}");
    }

    #[test]
    fn batches_keep_the_sums_and_a_long_series_stays_short() {
        let rows: Vec<[f64; 1]> = (0..1000).map(|row| [f64::from(row)]).collect();
        let batched = batches(rows.clone());
        assert_eq!(batched.len(), MOST_UNITS);
        assert_eq!(batched.iter().map(|row| row[0]).sum::<f64>(), 499_500.0);
        assert_eq!(batches(rows[..50].to_vec()).len(), 50);
    }

    const SIGN_FLIPS: [([f64; 8], f64); 3] = [
        ([-0.007, 1.046, 0.742, 0.724, 1.619, -1.206, -0.627, -1.321], 0.78125),
        ([0.392, 1.499, 0.478, 0.996, -1.411, 0.647, -0.407, 2.275], 0.1953125),
        ([2.387, 2.449, 1.442, 2.113, 2.158, 1.156, 1.003, 1.385], 0.0078125),
    ];
}
