//! Difference of each cell's mean from the baseline: the report's figure 7.

use super::{
    Figure, Words,
    axis::Axis,
    finish,
    rows::{Rows, class_of, series_of},
    svg::{Anchor, Shape, Svg},
};
use crate::report::{number, view::Probe};

/// Differences with their intervals; nothing without a baseline to compare with.
pub fn draw(probe: &Probe) -> Option<Figure> {
    let ends = probe.cells.iter().filter_map(|cell| cell.metric.difference).flat_map(|difference| {
        let interval =
            difference.interval.map_or([difference.value; 2], |interval| [interval.low, interval.high]);
        [difference.value, interval[0], interval[1]]
    });
    let ends: Vec<f64> = ends.collect();
    if ends.is_empty() {
        return None;
    }
    let mut svg = Svg::new();
    let rows = Rows::new(probe, 36.0, 24.0, 172.0);
    let axis = Axis::around(ends.into_iter().chain([0.0]), rows.plot);
    let labels = axis.labels(&probe.main.unit);
    let label = format!("{} less the baseline's{}", probe.main.name, labels.in_brackets());
    axis.draw_below(&mut svg, rows.span, &label, |tick| labels.show_signed(tick));
    rows.draw_names(&mut svg, probe);
    svg.line((axis.at(0.0), rows.span.0), (axis.at(0.0), rows.span.1), "reference");
    let scale = probe.scale(4, |metric| metric.difference.map(|difference| difference.value));
    let mut said = Vec::new();
    for (cell, y) in rows.cells(probe) {
        let Some(difference) = cell.metric.difference else {
            let reason = match (&cell.summary.compared_with, cell.runs.is_empty()) {
                (None, _) if cell.summary.is_baseline(probe.summary) => "baseline".into(),
                (None, _) => "nothing to compare with".into(),
                (Some(_), true) => super::rows::missing(cell),
                (Some(other), false) => format!("no completed trial of {other}"),
            };
            rows.draw_missing(&mut svg, y, &reason);
            continue;
        };
        if let Some(interval) = difference.interval {
            svg.line((axis.at(interval.low), y), (axis.at(interval.high), y), "interval");
        }
        let load = &cell.summary.load;
        let shape = Shape::of_series(series_of(probe, load));
        svg.marks(shape, &[(axis.at(difference.value), y)], 4.5, &class_of(probe, load));
        let percent = cell.metric.ratio.map(|ratio| number::percent_change(ratio.value)).unwrap_or_default();
        let text = format!("{} {}  {percent}", scale.show_signed(difference.value), scale.unit);
        said.push(format!("{} {}", cell.summary.name, text.trim()));
        svg.text((rows.plot.1 + 12.0, y + 4.0), Anchor::Start, "num", text.trim());
    }
    let words = Words {
        kind: "difference",
        title: format!(
            "Difference from {}: {} of {}",
            probe.summary.baseline.as_deref().unwrap_or("the baseline"),
            probe.main.name,
            probe.name
        ),
        description: said.join("; "),
        caption: format!(
            "Each cell's mean less that of {}; the line is the 95 % interval. An interval that holds zero leaves open \
             which way the difference goes.",
            probe.comparison()
        ),
    };
    Some(finish(probe, words, svg, rows.span.1 + 40.0))
}
