//! Experiments that end when their intervals are narrow enough.

use stats::{power::Stopping, series::Run};

use crate::{
    shapes::{Experiment, Shape},
    trials::{against_the_first, count},
};

/// Cells: the baseline and four that are compared with it.
const CELLS: usize = 5;

/// How often the interval of the first comparison holds the truth at the end, and the sum of the blocks.
pub fn run(shape: Shape, rule: Stopping, times: u64, seed: u64) -> [u64; 2] {
    count(times, seed, |random| {
        let most = u32::try_from(rule.at_most).unwrap_or(u32::MAX);
        let all = Experiment::equal(shape, CELLS, most).run(random);
        let seed = random.next_u64();
        for blocks in rule.at_least..=rule.at_most {
            let until = |runs: &Vec<Run>| runs[..blocks as usize].to_vec();
            let family = against_the_first(&all.iter().map(until).collect::<Vec<_>>(), seed);
            let intervals: Vec<_> = family
                .comparisons
                .iter()
                .map(|comparison| comparison.as_ref()?.effects.log_ratio?.interval)
                .collect();
            let widths: Vec<Option<f64>> =
                intervals.iter().map(|interval| interval.map(|i| i.high.exp() - i.low.exp())).collect();
            if rule.stops(blocks, &widths) {
                let held = intervals[0].is_some_and(|interval| interval.contains(0.0));
                return [u64::from(held), blocks];
            }
        }
        unreachable!("the last number of blocks stops")
    })
}
