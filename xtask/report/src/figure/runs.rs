//! All runs of each cell: the report's figure 6, with every run visible.

use super::{
    Figure, Words,
    axis::Axis,
    finish,
    rows::{Rows, class_of, missing, series_of},
    svg::{Anchor, Shape, Svg},
};
use crate::{
    number,
    view::{Cell, Probe},
};

const ROW: f64 = 34.0;
/// How far a run may be moved up or down so that it does not hide another.
const SPREAD: f64 = 9.0;
/// 1 / φ: steps of this length fill an interval evenly at every count.
const GOLDEN: f64 = 0.618_033_988_749_895;
/// Share of the width for the runs on one axis; the rest is for each cell about its own mean.
const COMMON: f64 = 0.42;
const APART: f64 = 34.0;

/// Points over a box, mean with its interval, smallest and largest, number of runs: left as measured,
/// right each cell about its own mean, where its spread shows however far away other cells are.
pub fn draw(probe: &Probe) -> Figure {
    let mut svg = Svg::new();
    let rows = Rows::new(probe, 40.0, ROW, 172.0);
    let border = rows.plot.0 + (rows.plot.1 - rows.plot.0) * COMMON;
    let common =
        Axis::around(probe.cells.iter().flat_map(|cell| cell.runs.iter().copied()), (rows.plot.0, border));
    let about_mean =
        probe.cells.iter().flat_map(|cell| cell.runs.iter().filter_map(|run| percent_of_mean(cell, *run)));
    let own = Axis::around(about_mean.chain([0.0]), (border + APART, rows.plot.1));
    let labels = common.labels(&probe.main.unit);
    let name = format!("{}{}", probe.main.name, labels.in_brackets());
    common.draw_below(&mut svg, rows.span, &name, |tick| labels.show(tick));
    let percents = own.labels("1");
    own.draw_below(&mut svg, rows.span, "about the cell's own mean (%)", |tick| percents.show_signed(tick));
    svg.line((own.at(0.0), rows.span.0), (own.at(0.0), rows.span.1), "reference");
    rows.draw_names(&mut svg, probe);
    let scale = probe.scale(4, |metric| metric.max);
    svg.text(
        (rows.beside(), 26.0),
        Anchor::Start,
        "small",
        &format!("N · smallest – largest{}", scale.in_brackets()),
    );
    for (cell, y) in rows.cells(probe) {
        let (Some(min), Some(max)) = (cell.metric.min, cell.metric.max) else {
            rows.draw_missing(&mut svg, y, &missing(cell));
            continue;
        };
        draw_cell(&mut svg, probe, cell, y, &common, Some);
        draw_cell(&mut svg, probe, cell, y, &own, |value| percent_of_mean(cell, value));
        let text = format!("{} · {} – {}", cell.metric.n, scale.show(min), scale.show(max));
        svg.text((rows.beside(), y + 4.0), Anchor::Start, "num", &text);
    }
    finish(probe, words(probe), svg, rows.span.1 + 40.0)
}

/// How far `value` is from the cell's mean, in percent of it; nothing without a mean above zero.
fn percent_of_mean(cell: &Cell, value: f64) -> Option<f64> {
    let mean = cell.metric.mean.filter(|mean| *mean > 0.0)?;
    Some((value / mean - 1.0) * 100.0)
}

/// One cell on one axis, which shows what `of` makes of a value.
fn draw_cell(
    svg: &mut Svg,
    probe: &Probe,
    cell: &Cell,
    y: f64,
    axis: &Axis,
    of: impl Fn(f64) -> Option<f64>,
) {
    let place = |value: Option<f64>| Some(axis.at(of(value?)?));
    let quartiles = (cell.metric.percentiles.p25, cell.metric.percentiles.p75);
    if let (Some(min), Some(max)) = (place(cell.metric.min), place(cell.metric.max)) {
        svg.line((min, y), (max, y), "whisker");
    }
    if let (Some(low), Some(high)) = (place(quartiles.0), place(quartiles.1)) {
        svg.rect((low, y - SPREAD - 3.0), (high - low, 2.0 * SPREAD + 6.0), "box");
    }
    let points: Vec<(f64, f64)> = cell
        .runs
        .iter()
        .enumerate()
        .filter_map(|(index, run)| {
            Some((place(Some(*run))?, y + SPREAD * (2.0 * ((index as f64 + 0.5) * GOLDEN).fract() - 1.0)))
        })
        .collect();
    let load = &cell.summary.cell.load;
    svg.marks(Shape::of_series(series_of(probe, load)), &points, 2.4, &class_of(probe, load));
    let ends =
        cell.metric.mean_interval.map(|interval| [interval.low, interval.high].map(|end| place(Some(end))));
    if let Some([Some(low), Some(high)]) = ends {
        svg.line((low, y), (high, y), "interval");
    }
    if let Some(mean) = place(cell.metric.mean) {
        svg.marks(Shape::Diamond, &[(mean, y)], 3.8, "mean");
    }
}

fn words(probe: &Probe) -> Words {
    let mean = |cell: &Cell| {
        Some(format!("{} {}", cell.summary.name, number::single(cell.metric.mean?, &probe.main.unit)))
    };
    let means: Vec<String> = probe.cells.iter().filter_map(mean).collect();
    Words {
        kind: "runs",
        title: format!("{}: {} of all runs", probe.name, probe.main.name),
        description: format!("One point per run, {} cells. Means: {}.", probe.cells.len(), means.join("; ")),
        caption: "Every completed run is a point, moved up or down only to be seen: left as measured, \
                  right each cell about its own mean. The box holds the middle half of the runs, the thin \
                  line reaches from the smallest to the largest, the diamond is the mean and the thick \
                  line its 95 % interval."
            .into(),
    }
}
