//! Runs with their place in the experiment, and what pairs of them say.
//!
//! The experiment has boots, a boot has blocks, and a block has one run of each cell. What a block or a boot
//! does to all of its runs alike (warmth, drift, a neighbor, the layout that memory got at boot) cancels in
//! the difference of two runs of the same block, so cells are compared block by block.

use std::collections::BTreeMap;

/// One completed run: its boot, its block within the whole experiment, and its number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// The boot that it ran in.
    pub boot: u32,
    /// The block that it ran in, counted over all boots.
    pub block: u32,
    /// What was measured.
    pub value: f64,
}

/// Runs of two cells in one block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The boot.
    pub boot: u32,
    /// The block.
    pub block: u32,
    /// The cell's run.
    pub run: f64,
    /// The baseline's run.
    pub baseline: f64,
}

/// The pairs of the blocks in which both cells have a run, by boot and block. Of several runs of a cell in
/// one block the last one counts: it is the repetition of an invalid one.
pub fn pairs(runs: &[Run], baseline: &[Run]) -> Vec<Pair> {
    let baseline = by_block(baseline);
    by_block(runs)
        .into_iter()
        .filter_map(|((boot, block), run)| {
            baseline.get(&(boot, block)).map(|&baseline| Pair { boot, block, run, baseline })
        })
        .collect()
}

/// The effect of a load within one attachment, block by block: ln(loaded / unloaded) where both are above zero.
pub fn load_effect(loaded: &[Run], unloaded: &[Run]) -> Vec<Run> {
    let positive = pairs(loaded, unloaded).into_iter().filter(|pair| pair.run > 0.0 && pair.baseline > 0.0);
    positive
        .map(|pair| Run { boot: pair.boot, block: pair.block, value: pair.run.ln() - pair.baseline.ln() })
        .collect()
}

fn by_block(runs: &[Run]) -> BTreeMap<(u32, u32), f64> {
    runs.iter().filter(|run| run.value.is_finite()).map(|run| ((run.boot, run.block), run.value)).collect()
}

/// The smallest step between two different numbers: what a clock, a counter or the digits of a record resolve,
/// as far as `values` show it. Zero when they are all equal.
pub fn resolution<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let steps = sorted.windows(2).map(|pair| pair[1] - pair[0]).filter(|step| *step > 0.0);
    steps.min_by(f64::total_cmp).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(boot: u32, block: u32, value: f64) -> Run {
        Run { boot, block, value }
    }

    #[test]
    fn only_blocks_with_both_runs_pair() {
        let runs = [run(0, 0, 2.0), run(0, 1, 3.0), run(1, 2, 4.0), run(1, 3, f64::NAN)];
        let baseline = [run(1, 2, 1.0), run(0, 0, 1.0), run(1, 3, 1.0), run(0, 2, 9.0)];
        let found: Vec<(u32, f64, f64)> =
            pairs(&runs, &baseline).iter().map(|pair| (pair.block, pair.run, pair.baseline)).collect();
        assert_eq!(found, [(0, 2.0, 1.0), (2, 4.0, 1.0)]);
    }

    #[test]
    fn a_repeated_trial_takes_the_place_of_the_first() {
        let found = pairs(&[run(0, 0, 2.0), run(0, 0, 3.0)], &[run(0, 0, 1.0)]);
        assert_eq!((found.len(), found[0].run), (1, 3.0));
    }

    #[test]
    fn a_load_effect_is_a_logarithm() {
        let effect = load_effect(&[run(0, 0, 2.0), run(0, 1, 0.0)], &[run(0, 0, 1.0), run(0, 1, 1.0)]);
        assert_eq!(effect, [run(0, 0, 2.0_f64.ln())]);
    }

    #[test]
    fn the_resolution_is_the_smallest_step() {
        assert_eq!(resolution(&[3.0, 1.0, 1.0, 1.5]), 0.5);
        assert_eq!(resolution(&[1.0, 1.0]), 0.0);
        assert_eq!(resolution(&[]), 0.0);
    }
}
