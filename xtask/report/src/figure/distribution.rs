//! Distributions: the share of runs at most as large, and the share above it on a logarithmic axis.

use super::{
    Figure, Words,
    axis::Axis,
    finish,
    order::draw_legend,
    rows::{class_of, series_of},
    svg::{Anchor, Shape, Svg, WIDTH, cut, short},
};
use crate::view::{Cell, Probe};

const PANEL: f64 = 150.0;
const LEFT: f64 = 48.0;
const APART: f64 = 16.0;

/// Two panels per attachment: ECDF above, its complement on log axes below.
pub fn draw(probe: &Probe) -> Option<Figure> {
    let attachments: Vec<&str> = probe
        .attachments()
        .into_iter()
        .filter(|name| {
            probe.cells.iter().any(|cell| cell.summary.cell.attachment == *name && cell.runs.len() > 1)
        })
        .collect();
    if attachments.is_empty() {
        return None;
    }
    let most = probe.cells.iter().map(|cell| cell.runs.len()).max().unwrap_or(1) as f64;
    let mut svg = Svg::new();
    draw_legend(&mut svg, probe, LEFT, 40.0);
    let width = ((WIDTH - LEFT - 20.0) - APART * (attachments.len() - 1) as f64) / attachments.len() as f64;
    let (upper, lower) = ((78.0, 78.0 + PANEL), (78.0 + PANEL + 52.0, 78.0 + 2.0 * PANEL + 52.0));
    let share = Axis::exactly((0.0, 1.0), (upper.1, upper.0));
    let above = Axis::logarithmic([0.5 / most, 1.0], (lower.1, lower.0));
    for (column, attachment) in attachments.iter().enumerate() {
        let left = LEFT + column as f64 * (width + APART);
        let cells: Vec<&Cell> =
            probe.cells.iter().filter(|cell| cell.summary.cell.attachment == *attachment).collect();
        let axis =
            Axis::logarithmic(cells.iter().flat_map(|cell| cell.runs.iter().copied()), (left, left + width));
        svg.text((left, upper.0 - 10.0), Anchor::Start, "strong", &cut(attachment, (width / 7.0) as usize));
        let labels = axis.labels(&probe.main.unit);
        let name = format!("{}{}", probe.main.name, labels.in_brackets());
        for panel in [upper, lower] {
            axis.draw_below(&mut svg, panel, if panel == lower { &name } else { "" }, |tick| {
                labels.show(tick)
            });
        }
        let show = |text: String| if column == 0 { text } else { String::new() };
        share.draw_left(&mut svg, (left, left + width), |tick| show(format!("{} %", (tick * 100.0).round())));
        above.draw_left(&mut svg, (left, left + width), |tick| show(format!("{} %", short(tick * 100.0))));
        for cell in cells {
            let steps = stats::distribution(&cell.runs);
            draw_steps(&mut svg, probe, cell, &steps, &axis, &share, Some);
            let beyond = |share: f64| Some(1.0 - share).filter(|beyond| *beyond > 1e-9);
            draw_steps(&mut svg, probe, cell, &steps, &axis, &above, beyond);
        }
    }
    let words = Words {
        kind: "distribution",
        title: format!("{}: distribution of {}", probe.name, probe.main.name),
        description: "Empirical distribution of the runs of each cell, and its complement on log axes."
            .into(),
        caption: "Above: share of runs that are at most as large. Below: share of runs that are larger, \
                  both axes logarithmic; each line ends where one run is left, so nothing is drawn that \
                  the number of runs can't support. Each column has its own range."
            .into(),
    };
    Some(finish(probe, words, svg, lower.1 + 42.0))
}

fn draw_steps(
    svg: &mut Svg,
    probe: &Probe,
    cell: &Cell,
    steps: &[(f64, f64)],
    x: &Axis,
    y: &Axis,
    height: impl Fn(f64) -> Option<f64>,
) {
    let Some((first, _)) = steps.first().filter(|(first, _)| *first > 0.0) else { return };
    let mut d = format!("M{} {}", short(x.at(*first)), short(y.at(height(0.0).unwrap_or(1.0))));
    let mut ends = Vec::new();
    for (value, share) in steps {
        d.push_str(&format!("H{}", short(x.at(*value))));
        match height(*share) {
            Some(height) => {
                d.push_str(&format!("V{}", short(y.at(height))));
                ends = vec![(x.at(*value), y.at(height))];
            }
            None => ends = ends.last().map(|(_, y)| (x.at(*value), *y)).into_iter().collect(),
        }
    }
    let load = &cell.summary.cell.load;
    svg.path(&d, &format!("step {}", class_of(probe, load)));
    svg.marks(Shape::of_series(series_of(probe, load)), &ends, 3.2, &class_of(probe, load));
}
