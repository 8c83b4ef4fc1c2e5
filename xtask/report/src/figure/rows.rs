//! One row per cell: attachment, load, then a plot. What most figures share.

use super::svg::{Anchor, Svg, WIDTH, cut};
use crate::view::{Cell, Probe};

/// Characters of a name that are shown.
const NAME: usize = 18;
/// Width of a character, about.
const CHARACTER: f64 = 7.6;
/// Room between groups of one attachment.
const GAP: f64 = 8.0;

/// Where the rows of a figure are.
pub struct Rows {
    loads_at: f64,
    centres: Vec<f64>,
    height: f64,
    /// Left and right end of the plot.
    pub plot: (f64, f64),
    /// Upper and lower end of the plot.
    pub span: (f64, f64),
}

impl Rows {
    /// Rows of `height` below `top`, with `right` units free beside the plot.
    pub fn new(probe: &Probe, top: f64, height: f64, right: f64) -> Self {
        let width = |names: Vec<&str>| {
            let longest = names.iter().map(|name| name.chars().count().min(NAME)).max().unwrap_or(0);
            longest as f64 * CHARACTER + 14.0
        };
        let loads_at = width(probe.attachments());
        let left = loads_at + width(probe.loads());
        let mut y = top;
        let mut centres = Vec::new();
        for index in 0..probe.cells.len() {
            if index > 0 && starts_group(probe, index) {
                y += GAP;
            }
            centres.push(y + height / 2.0);
            y += height;
        }
        Self { loads_at, centres, height, plot: (left, WIDTH - right), span: (top - 4.0, y + 4.0) }
    }

    /// The cells with the height of their row's middle.
    pub fn cells<'p, 'a>(&'p self, probe: &'p Probe<'a>) -> impl Iterator<Item = (&'p Cell<'a>, f64)> {
        probe.cells.iter().zip(self.centres.iter().copied())
    }

    /// Draws the names of attachments and loads.
    pub fn draw_names(&self, svg: &mut Svg, probe: &Probe) {
        for (index, (cell, y)) in self.cells(probe).enumerate() {
            if starts_group(probe, index) {
                if index > 0 {
                    let border = y - self.height / 2.0 - GAP / 2.0;
                    svg.line((0.0, border), (self.plot.1, border), "grid");
                }
                svg.text((0.0, y + 4.0), Anchor::Start, "strong", &cut(&cell.summary.cell.attachment, NAME));
            }
            svg.text((self.loads_at, y + 4.0), Anchor::Start, "soft", &cut(&cell.summary.cell.load, NAME));
        }
    }

    /// Left edge of the text beside the plot.
    pub fn beside(&self) -> f64 {
        self.plot.1 + 12.0
    }

    /// Says in a row why it has nothing to show.
    pub fn draw_missing(&self, svg: &mut Svg, y: f64, reason: &str) {
        svg.text((self.plot.0 + 10.0, y + 4.0), Anchor::Start, "small", reason);
    }
}

fn starts_group(probe: &Probe, index: usize) -> bool {
    index == 0 || probe.cells[index - 1].summary.cell.attachment != probe.cells[index].summary.cell.attachment
}

/// Why a cell has no runs.
pub fn missing(cell: &Cell) -> String {
    let lacks = cell.summary.lacks();
    if lacks.is_empty() { "no run has this number".into() } else { format!("no completed trial: {lacks}") }
}

/// The class that colours a cell by its load.
pub fn class_of(probe: &Probe, load: &str) -> String {
    format!("s{}", series_of(probe, load) % 8)
}

/// The number of a load among all loads of the report.
pub fn series_of(probe: &Probe, load: &str) -> usize {
    probe.series.get(load).copied().unwrap_or(0)
}
