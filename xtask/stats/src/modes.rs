//! Whether runs gather around two levels instead of one: the dip test (Hartigan and Hartigan, Annals of Statistics
//! 13, 1985). A mean lies where no run is then, and the reader must know.

use crate::describe::sorted;

/// Runs from which two levels can be told from one.
pub const LEAST: usize = 10;
/// Runs that are looked at; more are thinned to their quantiles.
const MOST: usize = 400;
/// √n times the dip that runs of one level exceed with a probability of 0.1 % at most: those of the uniform
/// distribution, which is the worst case, from 40 000 samples for each n.
const CRITICAL: [(f64, f64); 6] =
    [(10.0, 0.574), (20.0, 0.632), (50.0, 0.663), (100.0, 0.692), (200.0, 0.699), (400.0, 0.710)];

/// Whether `runs` have two or more levels, at a false-alarm rate of 0.1 % or less. `None` for fewer than ten runs.
///
/// Ties are spread over the step of the numbers first: that a clock has few different readings makes no levels.
/// Two levels without any run between or beside them can't be told from such a clock.
pub fn has_several(runs: &[f64]) -> Option<bool> {
    if runs.len() < LEAST {
        return None;
    }
    let runs = sorted(runs);
    if runs[0] == runs[runs.len() - 1] {
        return Some(false);
    }
    let runs = thinned(&untied(&runs));
    let n = runs.len() as f64;
    Some(n.sqrt() * dip(&runs) > critical(n))
}

/// The dip of sorted runs: the largest distance of their distribution function from the nearest unimodal one.
/// From 1/(2n), for runs of one level, to 1/4.
pub fn dip(sorted: &[f64]) -> f64 {
    let n = sorted.len();
    let mirrored: Vec<f64> = sorted.iter().rev().map(|run| -run).collect();
    let gap = |mode: usize| convex_gap(&sorted[..=mode], n).max(convex_gap(&mirrored[..n - mode], n));
    (0..n).map(gap).min_by(f64::total_cmp).unwrap_or(0.0).max(1.0 / n as f64) / 2.0
}

/// How far the distribution function of the first runs of `n` lies above its greatest convex minorant, up to the
/// last of them, where it may jump.
fn convex_gap(sorted: &[f64], n: usize) -> f64 {
    let height = |index: usize| index as f64 / n as f64;
    let mut hull: Vec<usize> = Vec::with_capacity(sorted.len());
    for index in 0..sorted.len() {
        let lies_above = |hull: &[usize]| {
            let [.., before, last] = hull else { return false };
            let rise = |from: usize, to: usize| (height(to) - height(from), sorted[to] - sorted[from]);
            let ((up, across), (up_all, across_all)) = (rise(*before, *last), rise(*before, index));
            up * across_all >= up_all * across
        };
        while lies_above(&hull) {
            hull.pop();
        }
        hull.push(index);
    }
    let mut gap = 0.0_f64;
    for ends in hull.windows(2) {
        let (from, to) = (ends[0], ends[1]);
        let across = sorted[to] - sorted[from];
        for index in from..to {
            let share = if across > 0.0 { (sorted[index] - sorted[from]) / across } else { 0.0 };
            gap = gap.max(height(index + 1) - height(from) - share * (height(to) - height(from)));
        }
    }
    gap
}

/// Sorted runs with each group of equal ones spread evenly over the smallest step.
fn untied(sorted: &[f64]) -> Vec<f64> {
    let step = crate::series::resolution(sorted);
    let groups = sorted.chunk_by(|one, other| one == other);
    groups
        .flat_map(|group| {
            let size = group.len() as f64;
            let place = move |index: usize| if size > 1.0 { (index as f64 + 0.5) / size - 0.5 } else { 0.0 };
            group.iter().enumerate().map(move |(index, run)| run + step * place(index))
        })
        .collect()
}

fn thinned(sorted: &[f64]) -> Vec<f64> {
    if sorted.len() <= MOST {
        return sorted.to_vec();
    }
    (0..MOST).map(|index| sorted[(index * 2 + 1) * sorted.len() / (2 * MOST)]).collect()
}

/// The critical value for `n` runs, between those of the table on the scale of ln n.
fn critical(n: f64) -> f64 {
    let above = CRITICAL.iter().position(|(runs, _)| *runs >= n).unwrap_or(CRITICAL.len() - 1).max(1);
    let ((from, low), (to, high)) = (CRITICAL[above - 1], CRITICAL[above]);
    let share = ((n.ln() - from.ln()) / (to.ln() - from.ln())).clamp(0.0, 1.0);
    low + share * (high - low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_levels_are_told_from_one() {
        let mut random = meter::random::Random::new(3);
        let mut alarms = [0; 3];
        for _ in 0..200 {
            let runs: Vec<f64> = (0..50).map(|_| random.unit()).collect();
            let coarse: Vec<f64> = runs.iter().map(|run| (run * 5.0).round()).collect();
            let two: Vec<f64> = runs.iter().enumerate().map(|(k, run)| run + [0.0, 3.0][k % 2]).collect();
            for (alarms, runs) in alarms.iter_mut().zip([runs, coarse, two]) {
                *alarms += u32::from(has_several(&runs).unwrap());
            }
        }
        assert!(alarms[0] <= 3 && alarms[1] <= 3 && alarms[2] == 200, "{alarms:?}");
        assert_eq!(has_several(&[1.0; 9]), None);
        assert_eq!(has_several(&[1.0; 30]), Some(false));
    }

    #[test]
    fn the_dip_is_that_of_the_reference() {
        // diptest.dipstat (Python, after the authors' program).
        for (runs, expected) in DIPS {
            let found = dip(&sorted(&runs));
            assert!((found - expected).abs() < 1e-9, "{found} for {expected}: {runs:?}");
        }
    }

    const DIPS: [([f64; 12], f64); 5] = [
        ([-0.8, -1.32, -0.25, 0.42, 1.14, 0.11, -0.55, -0.78, 0.75, 1.63, 0.27, -1.23], 0.07173539518900346),
        (
            [-0.96, 1.6, 0.2, -1.73, -0.08, -1.16, -0.63, -0.49, -0.71, 0.55, -0.06, -0.59],
            0.07945736434108527,
        ),
        ([5.41, 5.83, 3.36, 4.74, 4.02, -0.17, -1.29, 0.02, -0.04, -0.3, -1.05, -0.4], 0.11976477337923119),
        ([3.91, 3.64, 5.22, 3.89, 6.17, 5.72, -2.0, 0.27, -1.1, 0.03, 0.04, -1.99], 0.14279661016949152),
        ([2.7, 1.9, 0.9, 2.6, 0.4, 2.8, 2.5, 1.5, 3.2, 0.8, 1.6, 3.2], 0.08333333333333333),
    ];
}
