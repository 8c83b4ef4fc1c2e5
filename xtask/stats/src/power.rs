//! What an experiment can find: power, the smallest effect, and when to stop.

use crate::{
    distribution::{normal_cdf, normal_quantile, student_quantile},
    family::tails,
};

/// Probability that a comparison of means in a family of `cells` excludes equality, for a true ratio of
/// 1 + `effect`, a coefficient of variation of `cv` in both cells (both as shares) and `blocks` blocks of one
/// boot. For about normal runs.
pub fn power(effect: f64, cv: f64, blocks: usize, cells: usize) -> f64 {
    if blocks < 2 {
        return 0.0;
    }
    let freedom = blocks as f64 - 1.0;
    let shift = effect.ln_1p().abs() / (cv * (2.0 / blocks as f64).sqrt());
    let critical = -student_quantile(tails(cells).of_means, freedom);
    // The noncentral t distribution by its normal approximation (Johnson and Kotz).
    normal_cdf(
        (shift - critical * (1.0 - 0.25 / freedom)) / (1.0 + critical * critical / 2.0 / freedom).sqrt(),
    )
}

/// The smallest relative difference that is found with probability `wanted` (0 to 1), as a share; the other
/// arguments are those of [`power`]. `None` where no difference up to a factor of a million is.
pub fn smallest_effect(wanted: f64, cv: f64, blocks: usize, cells: usize) -> Option<f64> {
    let (mut low, mut high) = (0.0, 1e6);
    if power(high, cv, blocks, cells) < wanted {
        return None;
    }
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if power(middle, cv, blocks, cells) < wanted { low = middle } else { high = middle }
    }
    Some(high)
}

/// Blocks that decide between equality and a margin of `margin` with a power of 90 %: about
/// 2·CV²·(z + 1.28)²/δ², where z is that of the family.
pub fn blocks_to_decide(cv: f64, margin: f64, cells: usize) -> u64 {
    let reach = normal_quantile(0.9) - normal_quantile(tails(cells).of_means);
    (2.0 * (cv * reach / margin.ln_1p()).powi(2)).ceil() as u64
}

/// Whole blocks are added until every interval is narrow enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stopping {
    /// Full width of the interval of a ratio, as a share: 0.02 for 2 %.
    pub width: f64,
    /// Blocks before which it never stops.
    pub at_least: u64,
    /// Blocks after which it always stops.
    pub at_most: u64,
}

impl Stopping {
    /// Whether to stop after `blocks` blocks, given the widths of all cells' intervals; `None` for one that has
    /// none yet. Looks at widths only, never at the effects.
    pub fn stops(&self, blocks: u64, widths: &[Option<f64>]) -> bool {
        let narrow = widths.iter().all(|width| width.is_some_and(|width| width <= self.width));
        blocks >= self.at_most || (blocks >= self.at_least && narrow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_rises_with_effect_and_blocks_and_falls_with_noise_and_cells() {
        let base = power(0.02, 0.03, 50, 12);
        assert!((0.4..0.7).contains(&base), "{base}");
        assert!(power(0.03, 0.03, 50, 12) > base && power(0.02, 0.03, 80, 12) > base);
        assert!(power(0.02, 0.05, 50, 12) < base && power(0.02, 0.03, 50, 100) < base);
        assert_eq!(power(0.02, 0.03, 1, 12), 0.0);
    }

    #[test]
    fn power_is_that_of_the_noncentral_t() {
        // 1 − scipy.stats.nct.cdf(t, n − 1, δ) with t = scipy.stats.t.isf(0.02/cells, n − 1).
        for (effect, cv, blocks, cells, expected) in POWERS {
            let found = power(effect, cv, blocks, cells);
            assert!((found - expected).abs() < 0.01, "{found} for {expected}");
        }
    }

    #[test]
    fn the_smallest_effect_has_the_power_asked_for() {
        let effect = smallest_effect(0.9, 0.01, 50, 12).unwrap();
        assert!((power(effect, 0.01, 50, 12) - 0.9).abs() < 1e-6);
        assert!((0.005..0.015).contains(&effect), "{effect}");
        assert_eq!(smallest_effect(0.9, 0.01, 1, 12), None);
    }

    #[test]
    fn the_rule_of_thumb_is_near() {
        // One cell: z is 2.054 for 4 %. 2·0.03²·(2.054 + 1.282)²/0.00995² = 202.
        assert_eq!(blocks_to_decide(0.03, 0.01, 1), 203);
    }

    #[test]
    fn it_stops_when_all_are_narrow_and_within_its_bounds() {
        let rule = Stopping { width: 0.02, at_least: 10, at_most: 100 };
        let narrow = [Some(0.01), Some(0.02)];
        assert!(!rule.stops(9, &narrow) && rule.stops(10, &narrow));
        assert!(!rule.stops(50, &[Some(0.01), Some(0.03)]) && !rule.stops(50, &[Some(0.01), None]));
        assert!(rule.stops(100, &[None]));
    }

    const POWERS: [(f64, f64, usize, usize, f64); 4] = [
        (0.02, 0.03, 50, 12, 0.587158),
        (0.01, 0.01, 50, 12, 0.965468),
        (0.01, 0.01, 20, 1, 0.819864),
        (0.05, 0.05, 10, 3, 0.257663),
    ];
}
