//! What a reader must know of the runs of a family before its means: cells that moved, cells with several levels,
//! first blocks unlike the others, runs that depend on each other.

use meter::random::Random;

use crate::{
    blocks::{Dependence, WarmUp, dependence, warm_up},
    drift::{ChangePoint, Trend, change_points, trend},
    modes,
    series::Run,
};

/// How likely a family is flagged for a trend or a change, how likely for its first blocks, and how likely for
/// runs that depend on each other, when there is nothing.
pub const ERROR: f64 = 0.01;

/// What is said of one cell.
#[derive(Clone, Debug, PartialEq)]
pub struct CellFlags {
    /// Its trend over the order of execution.
    pub trend: Option<Trend>,
    /// Whether the trend is beyond chance, with all cells of the family counted.
    pub drifts: bool,
    /// Its sudden changes that are beyond chance, likewise.
    pub changes: Vec<ChangePoint>,
    /// Whether its runs gather around several levels.
    pub several_levels: bool,
}

/// What is said of a family.
#[derive(Clone, Debug, PartialEq)]
pub struct Flags {
    /// For each cell, in the order given.
    pub cells: Vec<CellFlags>,
    /// How the first blocks differ, where they do beyond chance.
    pub warm_up: Option<WarmUp>,
    /// How much runs resemble those of their cell in the block before, where they do beyond chance.
    pub dependence: Option<Dependence>,
}

impl CellFlags {
    /// Whether the cell's runs moved, steadily or suddenly.
    pub fn moved(&self) -> bool {
        self.drifts || !self.changes.is_empty()
    }
}

/// Looks at the runs of a family's cells, each in the order of execution. Half of [`ERROR`] is for trends, half for
/// changes, each divided by the number of cells (Bonferroni).
pub fn flags(cells: &[Vec<Run>], seed: u64) -> Flags {
    let level = ERROR / 2.0 / cells.len().max(1) as f64;
    let of_cell = |(index, runs): (usize, &Vec<Run>)| {
        let values: Vec<f64> = runs.iter().map(|run| run.value).collect();
        let trend = trend(&values);
        CellFlags {
            trend,
            drifts: trend.is_some_and(|trend| trend.p_value < level),
            changes: change_points(&values, level, &mut Random::new(seed ^ (index as u64) << 32)),
            several_levels: modes::has_several(&values) == Some(true),
        }
    };
    Flags {
        cells: cells.iter().enumerate().map(of_cell).collect(),
        warm_up: warm_up(cells).filter(|warm_up| warm_up.p_value < ERROR),
        dependence: dependence(cells)
            .filter(|dependence| dependence.p_value < ERROR && dependence.correlation > 0.0),
    }
}
