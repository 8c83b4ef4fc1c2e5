//! Whether results moved while the matrix ran: a trend and sudden changes. Both look
//! only at ranks, so that a few slow runs can't make them.

use meter::random::Random;

use crate::{
    describe::{describe, sorted},
    distribution::normal_cdf,
};

/// A steady rise or fall over the order of execution (Mann and Kendall).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Kendall's τ against the order: −1 falls always, 0 neither, 1 rises always.
    pub tau: f64,
    /// How likely a τ at least as far from 0 is by chance (normal approximation, ties corrected).
    pub p_value: f64,
}

/// The place where runs before and after differ most (Pettitt, Applied Statistics 28, 1979).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChangePoint {
    /// Index of the first run after the change.
    pub index: usize,
    /// Median after less median before, of the runs up to the neighboring changes.
    pub shift: f64,
    /// How likely a difference at least as clear is by chance.
    pub p_value: f64,
}

/// Runs from which a trend or a change can be told.
const LEAST: usize = 10;
/// Permutations of which Pettitt's p-value is made.
const PERMUTATIONS: usize = 9_999;
/// Permutations at least as clear as what was seen after which no more are needed (Besag and Clifford,
/// Biometrika 78, 1991): the p-value is known well enough to be large.
const ENOUGH: usize = 20;
/// Runs beyond which Pettitt's approximation takes the place of permutations.
const PERMUTED_UP_TO: usize = 400;

/// The trend of `runs` in their order of execution; `None` for fewer than ten, and when all are equal.
pub fn trend(runs: &[f64]) -> Option<Trend> {
    if runs.len() < LEAST {
        return None;
    }
    let n = runs.len() as f64;
    let pairs = n * (n - 1.0) / 2.0;
    let tied: f64 = ties(runs).iter().map(|t| t * (t - 1.0) / 2.0).sum();
    let untied = pairs - tied;
    let score = untied - 2.0 * inversions(&mut runs.to_vec()) as f64;
    let correction: f64 = ties(runs).iter().map(|t| t * (t - 1.0) * (2.0 * t + 5.0)).sum();
    let variance = (n * (n - 1.0) * (2.0 * n + 5.0) - correction) / 18.0;
    if untied <= 0.0 || variance <= 0.0 {
        return None;
    }
    let z = (score.abs() - 1.0).max(0.0) / variance.sqrt();
    Some(Trend { tau: score / (pairs * untied).sqrt(), p_value: 2.0 * normal_cdf(-z) })
}

/// Pairs of which the earlier is larger, by merge sort.
fn inversions(runs: &mut [f64]) -> u64 {
    if runs.len() < 2 {
        return 0;
    }
    let (left, right) = runs.split_at_mut(runs.len() / 2);
    let mut count = inversions(left) + inversions(right);
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut l, mut r) = (0, 0);
    while l < left.len() && r < right.len() {
        if right[r] < left[l] {
            count += (left.len() - l) as u64;
            merged.push(right[r]);
            r += 1;
        } else {
            merged.push(left[l]);
            l += 1;
        }
    }
    merged.extend_from_slice(&left[l..]);
    merged.extend_from_slice(&right[r..]);
    runs.copy_from_slice(&merged);
    count
}

/// The most likely sudden change in `runs`; `None` for fewer than ten, and when all are equal.
pub fn change_point(runs: &[f64], random: &mut Random) -> Option<ChangePoint> {
    if runs.len() < LEAST {
        return None;
    }
    let mut ranks = centered_ranks(runs);
    let (score, index) = clearest(&ranks);
    if score == 0 {
        return None;
    }
    let median = |runs: &[f64]| describe(runs).map(|described| described.median);
    let shift = median(&runs[index..])? - median(&runs[..index])?;
    let p_value = if runs.len() > PERMUTED_UP_TO {
        let n = runs.len() as f64;
        (2.0 * (-6.0 * (score as f64).powi(2) / (n.powi(3) + n.powi(2))).exp()).min(1.0)
    } else {
        permuted(&mut ranks, score, random)
    };
    Some(ChangePoint { index, shift, p_value })
}

/// How often ranks in random order have a change as clear as `score`.
fn permuted(ranks: &mut [i64], score: i64, random: &mut Random) -> f64 {
    let mut clearer = 0;
    for permutation in 1..=PERMUTATIONS {
        random.shuffle(ranks);
        clearer += usize::from(clearest(ranks).0 >= score);
        if clearer == ENOUGH {
            return ENOUGH as f64 / permutation as f64;
        }
    }
    (clearer + 1) as f64 / (PERMUTATIONS + 1) as f64
}

/// All sudden changes whose p-value is below `level`, in order. The runs are cut at the clearest change, the parts
/// again, each with as much of the level as its share of the runs; then each change is looked for once more
/// between its neighbors, where it moves to its place or turns out to be none.
pub fn change_points(runs: &[f64], level: f64, random: &mut Random) -> Vec<ChangePoint> {
    let mut bounds = Vec::new();
    cut(runs, 0, level, random, &mut bounds);
    let mut found = Vec::new();
    for _ in 0..10 {
        let before = bounds.clone();
        found.clear();
        let mut next = 0;
        while next < bounds.len() {
            let from = if next > 0 { bounds[next - 1] } else { 0 };
            let to = bounds.get(next + 1).copied().unwrap_or(runs.len());
            let change = change_point(&runs[from..to], random).filter(|change| change.p_value < level);
            if let Some(change) = change {
                bounds[next] = from + change.index;
                found.push(ChangePoint { index: bounds[next], ..change });
                next += 1;
            } else {
                bounds.remove(next);
            }
        }
        if bounds == before {
            break;
        }
    }
    found
}

/// Puts the places of changes in `runs`, which begin at `start`, into `bounds`, in order.
fn cut(runs: &[f64], start: usize, level: f64, random: &mut Random, bounds: &mut Vec<usize>) {
    let Some(change) = change_point(runs, random).filter(|change| change.p_value < level) else { return };
    let (before, after) = runs.split_at(change.index);
    let share = |part: &[f64]| level * part.len() as f64 / runs.len() as f64;
    cut(before, start, share(before), random, bounds);
    bounds.push(start + change.index);
    cut(after, start + change.index, share(after), random, bounds);
}

/// Twice the rank of each run, ties at their middle, less the mean of that: sums of them are Pettitt's statistic.
fn centered_ranks(runs: &[f64]) -> Vec<i64> {
    let sorted = sorted(runs);
    let rank = |run: &f64| {
        let below = sorted.partition_point(|other| other < run);
        let not_above = sorted.partition_point(|other| other <= run);
        (below + not_above) as i64 - runs.len() as i64
    };
    runs.iter().map(rank).collect()
}

/// The largest absolute sum of ranks from the start, and the index behind it.
fn clearest(ranks: &[i64]) -> (i64, usize) {
    let (mut sum, mut clearest) = (0_i64, (0, 0));
    for (index, rank) in ranks.iter().enumerate() {
        sum += rank;
        if sum.abs() > clearest.0 {
            clearest = (sum.abs(), index + 1);
        }
    }
    clearest
}

/// Sizes of the groups of equal runs.
fn ties(runs: &[f64]) -> Vec<f64> {
    sorted(runs).chunk_by(|one, other| one == other).map(|group| group.len() as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize, seed: u64) -> Vec<f64> {
        let mut random = Random::new(seed);
        (0..n).map(|_| random.unit()).collect()
    }

    #[test]
    fn ten_rising_runs_have_a_tau_of_one() {
        // S = 45, var = 10·9·25/18 = 125, z = 44/√125 = 3.935.
        let rising: Vec<f64> = (0..10).map(f64::from).collect();
        let found = trend(&rising).unwrap();
        assert_eq!(found.tau, 1.0);
        assert!((found.p_value - 8.3e-5).abs() < 1e-6, "{found:?}");
        assert_eq!(trend(&rising[..9]), None);
        assert_eq!(trend(&[1.0; 20]), None);
    }

    #[test]
    fn tau_is_scipys() {
        // scipy.stats.kendalltau(range(12), runs).statistic
        for (runs, tau) in TAUS {
            assert!((trend(&runs).unwrap().tau - tau).abs() < 1e-12, "{runs:?}");
        }
    }

    #[test]
    fn a_jump_is_found_where_it_is() {
        let mut runs = noise(60, 4);
        for run in &mut runs[40..] {
            *run += 1.0;
        }
        let found = change_point(&runs, &mut Random::new(1)).unwrap();
        assert_eq!(found.index, 40);
        assert!((0.7..1.3).contains(&found.shift), "{found:?}");
        assert_eq!(found.p_value, 1.0 / 10_000.0);
    }

    #[test]
    fn several_jumps_are_all_found() {
        let mut runs = noise(90, 8);
        for (index, run) in runs.iter_mut().enumerate() {
            *run += [0.0, 2.0, 5.0][index / 30];
        }
        let found = change_points(&runs, 0.01, &mut Random::new(1));
        assert_eq!(found.iter().map(|change| change.index).collect::<Vec<_>>(), [30, 60]);
        assert!((found[0].shift - 2.0).abs() < 0.4 && (found[1].shift - 3.0).abs() < 0.4, "{found:?}");
        assert_eq!(change_points(&noise(90, 8), 0.01, &mut Random::new(1)), []);
    }

    #[test]
    fn the_permuted_p_value_is_near_the_approximation_where_both_hold() {
        let mut runs = noise(400, 3);
        for run in &mut runs[200..] {
            *run += 0.065;
        }
        let permuted = change_point(&runs, &mut Random::new(1)).unwrap().p_value;
        runs.push(runs[399]);
        let approximated = change_point(&runs, &mut Random::new(1)).unwrap().p_value;
        assert!((0.3..3.0).contains(&(permuted / approximated)), "{permuted} {approximated}");
    }

    #[test]
    fn noise_is_seldom_called_drift() {
        let false_alarms = |p: fn(&[f64]) -> f64| (0..200).filter(|&seed| p(&noise(50, seed)) < 0.05).count();
        let trends = false_alarms(|runs| trend(runs).unwrap().p_value);
        let changes = false_alarms(|runs| change_point(runs, &mut Random::new(9)).unwrap().p_value);
        assert!(trends <= 18, "{trends} of 200");
        assert!((3..=18).contains(&changes), "{changes} of 200");
    }

    const TAUS: [([f64; 12], f64); 3] = [
        ([-0.8, -1.3, -0.2, 0.4, 1.1, 0.1, -0.6, -0.8, 0.7, 1.6, 0.3, -1.2], 0.1679438245519263),
        ([-1.0, 1.7, 0.4, -1.4, 0.3, -0.7, 0.0, 0.2, 0.1, 1.5, 0.9, 0.5], 0.2424242424242424),
        ([0.0, 1.0, -1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 2.0, 1.0, 1.0, 2.0], 0.580288457473997),
    ];
}
