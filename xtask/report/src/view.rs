//! The summary seen probe by probe, as pages and figures need it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    input::Input,
    summary::{CellSummary, MetricSummary, Summary},
};
use crate::number::Scale;
use plan::{MetricSpec, ProbeSpec};

/// One probe, its cells grouped by attachment, and the metric that tables and figures show.
pub struct Probe<'a> {
    /// Where all of it comes from.
    pub input: &'a Input,
    /// The statistics.
    pub summary: &'a Summary,
    /// Its name.
    pub name: &'a str,
    /// Its part of the plan.
    pub spec: &'a ProbeSpec,
    /// The metric shown: the plan's first.
    pub main: &'a MetricSpec,
    /// The number of each load of the summary: what figures give colors and marks by.
    pub series: BTreeMap<&'a str, usize>,
    /// Its cells, those of one attachment together.
    pub cells: Vec<Cell<'a>>,
}

/// One cell and its runs in the metric shown.
pub struct Cell<'a> {
    /// Its statistics.
    pub summary: &'a CellSummary,
    /// Its statistics in the metric shown.
    pub metric: &'a MetricSummary,
    /// One number a completed trial.
    pub runs: Vec<f64>,
}

/// The probes of a summary, in the plan's order.
pub fn probes<'a>(input: &'a Input, summary: &'a Summary) -> Vec<Probe<'a>> {
    let mut probes: Vec<Probe<'a>> = Vec::new();
    let series: BTreeMap<&str, usize> = loads(summary).into_iter().zip(0..).collect();
    for cell in &summary.cells {
        let Some(spec) = input.plan.probes.get(&cell.cell.probe) else { continue };
        let Some(main) = spec.metrics.first() else { continue };
        let Some(metric) = cell.metrics.get(&main.name) else { continue };
        let view = Cell { summary: cell, metric, runs: input.runs(&cell.cell, &main.name) };
        match probes.iter_mut().find(|probe| probe.name == cell.cell.probe) {
            Some(probe) => probe.cells.push(view),
            None => {
                let (series, name) = (series.clone(), &cell.cell.probe);
                probes.push(Probe { input, summary, name, spec, main, series, cells: vec![view] });
            }
        }
    }
    for probe in &mut probes {
        let order = distinct(probe.cells.iter().map(|cell| cell.summary.cell.attachment.as_str()));
        let order: BTreeMap<&str, usize> = order.into_iter().zip(0..).collect();
        probe.cells.sort_by_key(|cell| order.get(cell.summary.cell.attachment.as_str()));
    }
    probes
}

/// The names of all loads, in the plan's order: what figures give colours to.
pub fn loads(summary: &Summary) -> Vec<&str> {
    distinct(summary.cells.iter().map(|cell| cell.cell.load.as_str()))
}

impl<'a> Probe<'a> {
    /// The names of its attachments, in the plan's order.
    pub fn attachments(&self) -> Vec<&'a str> {
        distinct(self.cells.iter().map(|cell| cell.summary.cell.attachment.as_str()))
    }

    /// The names of its loads, in the plan's order.
    pub fn loads(&self) -> Vec<&'a str> {
        let mut own = distinct(self.cells.iter().map(|cell| cell.summary.cell.load.as_str()));
        own.sort_by_key(|load| self.series.get(load));
        own
    }

    /// Whether any cell has a run to show.
    pub fn has_runs(&self) -> bool {
        self.cells.iter().any(|cell| !cell.runs.is_empty())
    }

    /// The scale of one number per cell of the metric shown, with `digits` significant ones.
    pub fn scale(&self, digits: i32, of: impl Fn(&MetricSummary) -> Option<f64>) -> Scale {
        Scale::of(&self.main.unit, self.largest(of), digits)
    }

    /// The largest absolute value of one number per cell of the metric shown; 0 where there is none.
    pub fn largest(&self, of: impl Fn(&MetricSummary) -> Option<f64>) -> f64 {
        self.cells
            .iter()
            .filter_map(|cell| of(cell.metric))
            .fold(0.0, |largest, value| value.abs().max(largest))
    }

    /// Which direction is good, in words; empty where neither is.
    pub fn direction(&self) -> &'static str {
        match self.main.better {
            plan::Better::Less => "less is better",
            plan::Better::More => "more is better",
            plan::Better::Neither => "",
        }
    }

    /// What its cells are compared with, in words.
    pub fn comparison(&self) -> String {
        match &self.summary.baseline {
            Some(baseline) => format!(
                "{baseline} under the same load if that is part of the plan, else {baseline} without load"
            ),
            None => "nothing: the plan names no baseline".into(),
        }
    }
}

/// Each word once, in the order of first appearance.
fn distinct<'a>(words: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    words.filter(|word| seen.insert(*word)).collect()
}
