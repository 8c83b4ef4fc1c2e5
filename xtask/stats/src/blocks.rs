//! What blocks do to the runs in them: first blocks unlike the others, and runs that resemble those of their cell in
//! the block before.

use std::collections::BTreeMap;

use crate::{
    describe::describe,
    distribution::{normal_cdf, student_cdf},
    series::Run,
};

/// Blocks from which something can be told.
const LEAST: usize = 10;

/// The first blocks of the boots against the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WarmUp {
    /// How much the runs of first blocks are above those of the others, as a share: 0.05 for 5 %.
    pub excess: f64,
    /// How likely an excess at least as far from 0 is by chance (Student's t over blocks).
    pub p_value: f64,
}

/// How much runs resemble those of the same cell in the block before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dependence {
    /// Correlation of a run with its cell's in the block before, after what the blocks do to all cells alike is taken
    /// off; the mean over cells. 0 for independent runs.
    pub correlation: f64,
    /// How likely one at least as large is by chance (normal approximation).
    pub p_value: f64,
}

/// Relative distances of runs from their cell's median, cell by cell, with boot and block.
fn distances(cells: &[Vec<Run>]) -> Vec<Vec<Run>> {
    let distance = |cell: &Vec<Run>| {
        let values: Vec<f64> = cell.iter().map(|run| run.value).collect();
        let median = describe(&values).map(|described| described.median).filter(|median| *median > 0.0)?;
        Some(cell.iter().map(|run| Run { value: run.value / median - 1.0, ..*run }).collect())
    };
    cells.iter().filter_map(distance).collect()
}

/// For each block, the median over cells of the distances in it.
fn levels(distances: &[Vec<Run>]) -> BTreeMap<(u32, u32), f64> {
    let mut blocks: BTreeMap<(u32, u32), Vec<f64>> = BTreeMap::new();
    for run in distances.iter().flatten() {
        blocks.entry((run.boot, run.block)).or_default().push(run.value);
    }
    let median = |values: &Vec<f64>| describe(values).map_or(f64::NAN, |described| described.median);
    blocks.iter().map(|(block, values)| (*block, median(values))).collect()
}

/// Whether the first block of a boot is unlike the others. In each block, the median over `cells` of the relative
/// distance from the cell's median. `None` with fewer than ten blocks.
pub fn warm_up(cells: &[Vec<Run>]) -> Option<WarmUp> {
    let levels = levels(&distances(cells));
    if levels.len() < LEAST {
        return None;
    }
    let levels: Vec<(u32, f64)> = levels.into_iter().map(|((boot, _), level)| (boot, level)).collect();
    let (mut excess, mut squares, mut freedom, mut factor, mut boots) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for boot in levels.chunk_by(|one, next| one.0 == next.0).filter(|boot| boot.len() >= 3) {
        let rest = boot.len() as f64 - 1.0;
        let mean = boot[1..].iter().map(|(_, level)| level).sum::<f64>() / rest;
        excess += boot[0].1 - mean;
        squares += boot[1..].iter().map(|(_, level)| (level - mean).powi(2)).sum::<f64>();
        freedom += rest - 1.0;
        factor += 1.0 + 1.0 / rest;
        boots += 1.0;
    }
    let error = (squares / freedom * factor).sqrt();
    (error > 0.0).then(|| WarmUp {
        excess: excess / boots,
        p_value: 2.0 * student_cdf(-(excess / error).abs(), freedom),
    })
}

/// Whether runs resemble those of the same cell in the block before, so that blocks are not independent and intervals
/// too narrow. `None` with fewer than four cells, from which the level of a block could not be told, or ten blocks.
pub fn dependence(cells: &[Vec<Run>]) -> Option<Dependence> {
    let distances = distances(cells);
    let levels = levels(&distances);
    if distances.len() < 4 || levels.len() < LEAST {
        return None;
    }
    let (mut sum, mut variance, mut counted) = (0.0, 0.0, 0.0);
    for cell in &distances {
        let mut left: Vec<Run> = cell.clone();
        left.iter_mut().for_each(|run| run.value -= levels[&(run.boot, run.block)]);
        left.sort_by_key(|run| (run.boot, run.block));
        // A boot of its own has a level of its own.
        let values: Vec<f64> = left
            .chunk_by(|one, next| one.boot == next.boot)
            .flat_map(|boot| {
                let mean = boot.iter().map(|run| run.value).sum::<f64>() / boot.len() as f64;
                boot.iter().map(move |run| run.value - mean)
            })
            .collect();
        let squares: f64 = values.iter().map(|value| value * value).sum();
        let next = |pair: &[Run]| pair[0].boot == pair[1].boot && pair[0].block + 1 == pair[1].block;
        let places = left.windows(2).enumerate().filter(|(_, pair)| next(pair)).map(|(place, _)| place);
        let products: Vec<f64> = places.map(|place| values[place] * values[place + 1]).collect();
        if squares <= 0.0 || products.len() < LEAST - 1 {
            continue;
        }
        let n = values.len() as f64;
        let boots = left.chunk_by(|one, next| one.boot == next.boot).count() as f64;
        // Taking the mean off makes neighbors differ a little: by 1/n for one boot.
        sum += products.iter().sum::<f64>() / squares + boots * products.len() as f64 / (n * n);
        variance += products.len() as f64 / (n * n);
        counted += 1.0;
    }
    (counted > 0.0).then(|| Dependence {
        correlation: sum / counted,
        p_value: 2.0 * normal_cdf(-(sum / variance.sqrt()).abs()),
    })
}

#[cfg(test)]
mod tests {
    use meter::random::Random;

    use super::*;

    fn noise(n: usize, seed: u64) -> Vec<f64> {
        let mut random = Random::new(seed);
        (0..n).map(|_| random.unit()).collect()
    }

    #[test]
    fn a_slow_first_block_is_found_in_every_boot_and_a_trend_is_not_one() {
        let cells = |first: f64, slope: f64| -> Vec<Vec<Run>> {
            let run = |cell: u32, block: u32, noise: f64| {
                let excess = if block.is_multiple_of(10) { first } else { 0.0 };
                let value = f64::from(cell + 1) * (1.0 + noise / 100.0 + excess + slope * f64::from(block));
                Run { boot: block / 10, block, value }
            };
            let series =
                |cell| noise(20, u64::from(cell)).into_iter().zip(0..).map(move |(n, b)| run(cell, b, n));
            (0..6).map(|cell| series(cell).collect()).collect()
        };
        let found = warm_up(&cells(0.05, 0.0)).unwrap();
        assert!((found.excess - 0.05).abs() < 0.01 && found.p_value < 1e-6, "{found:?}");
        assert!(warm_up(&cells(0.0, 0.0)).unwrap().p_value > 0.01);
        assert!(warm_up(&cells(0.0, 0.005)).unwrap().p_value > 0.01);
        assert_eq!(warm_up(&[]), None);
    }

    /// Cells of which each run is `share` of the one before it and for the rest its own.
    fn chained(share: f64, common: f64) -> Vec<Vec<Run>> {
        let machine = noise(30, 99);
        let series = |cell: u64| {
            let mut value = 0.5;
            let own = noise(30, cell).into_iter().zip(&machine).zip(0..);
            own.map(|((own, machine), block)| {
                value = share * value + (1.0 - share) * own;
                Run { boot: block / 15, block, value: 10.0 + value + common * machine }
            })
            .collect()
        };
        (0..8).map(series).collect()
    }

    #[test]
    fn runs_that_resemble_those_before_are_told_from_a_machine_that_does_the_same_to_all() {
        let found = dependence(&chained(0.6, 0.0)).unwrap();
        assert!(found.correlation > 0.3 && found.p_value < 1e-4, "{found:?}");
        assert!(dependence(&chained(0.0, 0.0)).unwrap().p_value > 0.01);
        assert!(dependence(&chained(0.0, 5.0)).unwrap().p_value > 0.01);
        assert_eq!(dependence(&chained(0.6, 0.0)[..3]), None);
    }
}
