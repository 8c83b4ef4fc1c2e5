//! Difference of each cell's mean from the baseline: the report's figure 7.

use super::{
    Figure, Words, finish,
    panels::Panels,
    rows::{self, Rows, class_of, series_of},
    svg::{Anchor, Shape, Svg},
};
use crate::{
    number,
    summary::Estimated,
    view::{Cell, Probe},
};

/// Differences with their intervals; nothing without a baseline to compare with.
pub fn draw(probe: &Probe) -> Option<Figure> {
    let values: Vec<Vec<f64>> = probe.cells.iter().map(|cell| values(cell.metric.difference)).collect();
    values.iter().find(|values| !values.is_empty())?;
    let mut svg = Svg::new();
    let rows = Rows::new(probe, 36.0, 24.0, 172.0);
    let panels = Panels::new(&rows, rows.plot, &values, 0.0);
    panels.draw(&mut svg, &format!("{} less the baseline's", probe.main.name), &probe.main.unit);
    rows.draw_names(&mut svg, probe);
    let scale = probe.scale(4, |metric| metric.difference.map(|difference| difference.value));
    let mut said = Vec::new();
    for (cell, y) in rows.cells(probe) {
        let Some(difference) = cell.metric.difference else {
            rows.draw_missing(&mut svg, y, &why_none(probe, cell));
            continue;
        };
        if let Some(interval) = difference.interval {
            panels.interval(&mut svg, (interval.low, interval.high), y);
        }
        let load = &cell.summary.cell.load;
        let shape = Shape::of_series(series_of(probe, load));
        panels.mark(&mut svg, shape, difference.value, y, &class_of(probe, load));
        let percent = cell.metric.ratio.map(|ratio| number::percent_change(ratio.value)).unwrap_or_default();
        let shown = format!("{}\u{a0}{}", scale.show_signed(difference.value), scale.unit);
        said.push(format!("{} {shown} {percent}", cell.summary.name));
        svg.text((rows.beside(), y + 4.0), Anchor::Start, "num", &shown);
        svg.text((rows.beside() + 150.0, y + 4.0), Anchor::End, "num", &percent);
    }
    let baseline = probe.summary.baseline.as_deref().unwrap_or("the baseline");
    let words = Words {
        kind: "difference",
        title: format!("{}: difference of {} from {baseline}", probe.name, probe.main.name),
        description: said.join("; "),
        caption: format!(
            "Each cell's mean less that of {}; the line is the 95 % interval. An interval that holds zero \
             leaves open which way the difference goes.",
            probe.comparison()
        ),
    };
    Some(finish(probe, words, svg, rows.span.1 + 40.0))
}

/// A number and the ends of its interval.
pub fn values(estimated: Option<Estimated>) -> Vec<f64> {
    let interval = estimated.and_then(|estimated| estimated.interval);
    let ends = interval.map(|interval| [interval.low, interval.high]);
    estimated.map(|estimated| estimated.value).into_iter().chain(ends.into_iter().flatten()).collect()
}

fn why_none(probe: &Probe, cell: &Cell) -> String {
    match &cell.summary.compared_with {
        None if cell.summary.is_baseline(probe.summary) => "baseline".into(),
        None => "nothing to compare with".into(),
        Some(_) if cell.runs.is_empty() => rows::missing(cell),
        Some(other) => format!("no completed trial of {other}"),
    }
}
