//! How much the runs of a cell differ from each other: the report's figures 8 and 9.

use super::{
    Figure, Words,
    axis::Axis,
    finish,
    rows::{Rows, class_of, missing, series_of},
    svg::{Anchor, Shape, Svg},
};
use crate::{
    number::{self, Scale},
    view::{Cell, Probe},
};

/// Variances with their intervals, on a logarithmic axis.
pub fn variance(probe: &Probe) -> Option<Figure> {
    let ends = probe.cells.iter().flat_map(|cell| {
        let interval = cell.metric.variance_interval;
        [cell.metric.variance, interval.map(|interval| interval.low), interval.map(|interval| interval.high)]
    });
    let ends: Vec<f64> = ends.flatten().filter(|variance| *variance > 0.0).collect();
    if ends.is_empty() {
        return None;
    }
    let mut svg = Svg::new();
    let rows = Rows::new(probe, 36.0, 24.0, 172.0);
    let axis = Axis::logarithmic(ends, rows.plot);
    let scale = Scale::of_squares(&probe.main.unit, probe.largest(|metric| metric.variance), 3);
    let label = format!("variance of {}{}, logarithmic", probe.main.name, scale.in_brackets());
    axis.draw_below(&mut svg, rows.span, &label, |tick| scale.compact(tick));
    rows.draw_names(&mut svg, probe);
    svg.text((rows.beside(), 26.0), Anchor::Start, "small", "std deviation");
    svg.text((rows.beside() + 150.0, 26.0), Anchor::End, "small", "variance");
    let mut said = Vec::new();
    for (cell, y) in rows.cells(probe) {
        let Some(variance) = cell.metric.variance.filter(|variance| *variance > 0.0) else {
            rows.draw_missing(&mut svg, y, &why_no_spread(cell));
            continue;
        };
        if let Some(interval) = cell.metric.variance_interval {
            svg.line((axis.at(interval.low), y), (axis.at(interval.high), y), "interval");
        }
        let load = &cell.summary.cell.load;
        let shape = Shape::of_series(series_of(probe, load));
        svg.marks(shape, &[(axis.at(variance), y)], 4.5, &class_of(probe, load));
        let stdev = Scale::of(&probe.main.unit, variance.sqrt(), 3).with_unit(variance.sqrt());
        said.push(format!("{} standard deviation {stdev}", cell.summary.name));
        svg.text((rows.beside(), y + 4.0), Anchor::Start, "num", &stdev);
        if let Some(ratio) = cell.metric.variance_ratio {
            let ratio = format!("×\u{a0}{}", number::ratio(ratio.value));
            svg.text((rows.beside() + 150.0, y + 4.0), Anchor::End, "num", &ratio);
        }
    }
    let words = Words {
        kind: "variance",
        title: format!("{}: variance of {}", probe.name, probe.main.name),
        description: said.join("; "),
        caption:
            "Variance of the runs of each cell with its 95 % interval; beside it the standard deviation and, \
                  after ×, the variance as a multiple of the baseline's."
                .into(),
    };
    Some(finish(probe, words, svg, rows.span.1 + 40.0))
}

/// Largest less smallest run, as bars from zero.
pub fn range(probe: &Probe) -> Option<Figure> {
    let of = |cell: &Cell| Some(cell.metric.max? - cell.metric.min?).filter(|_| cell.metric.n > 1);
    let ranges: Vec<f64> = probe.cells.iter().filter_map(of).collect();
    if ranges.is_empty() {
        return None;
    }
    let mut svg = Svg::new();
    let rows = Rows::new(probe, 36.0, 24.0, 172.0);
    let largest = ranges.iter().copied().fold(0.0, f64::max);
    let axis = Axis::from_zero(ranges, rows.plot);
    let labels = axis.labels(&probe.main.unit);
    let scale = Scale::of(&probe.main.unit, largest, 4);
    let label = format!("largest less smallest {}{}", probe.main.name, labels.in_brackets());
    axis.draw_below(&mut svg, rows.span, &label, |tick| labels.show(tick));
    rows.draw_names(&mut svg, probe);
    let mut said = Vec::new();
    for (cell, y) in rows.cells(probe) {
        let Some(range) = of(cell) else {
            rows.draw_missing(&mut svg, y, &why_no_spread(cell));
            continue;
        };
        let class = format!("bar {}", class_of(probe, &cell.summary.cell.load));
        svg.rect((axis.at(0.0), y - 7.0), (axis.at(range) - axis.at(0.0), 14.0), &class);
        let text = format!("{} of {} runs", scale.with_unit(range), cell.metric.n);
        said.push(format!("{} {text}", cell.summary.name));
        svg.text((rows.plot.1 + 12.0, y + 4.0), Anchor::Start, "num", &text);
    }
    let words = Words {
        kind: "range",
        title: format!("{}: range of {}, largest less smallest", probe.name, probe.main.name),
        description: said.join("; "),
        caption: "The range grows with the number of runs, so compare only cells with the same N.".into(),
    };
    Some(finish(probe, words, svg, rows.span.1 + 40.0))
}

fn why_no_spread(cell: &Cell) -> String {
    match cell.metric.n {
        0 => missing(cell),
        1 => "one run has no spread".into(),
        _ => "all runs are equal".into(),
    }
}
