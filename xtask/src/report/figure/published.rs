//! Measured beside published, both as ratios to their own baseline: absolute times of another
//! machine's disk say little.

use super::{
    Figure, Words,
    axis::Axis,
    finish,
    rows::{Rows, class_of, series_of},
    svg::{Anchor, Shape, Svg},
};
use crate::report::{
    number,
    summary::Estimated,
    view::{Cell, Probe},
};

/// Ratios measured and published; nothing when no ratio was published.
pub fn draw(probe: &Probe) -> Option<Figure> {
    let published = |cell: &Cell| cell.summary.published.as_ref()?.ratio;
    probe.cells.iter().find_map(published)?;
    let ratios = probe.cells.iter().flat_map(|cell| {
        let measured = measured(cell);
        let interval = measured.and_then(|measured| measured.interval);
        [measured.map(|m| m.value), interval.map(|i| i.low), interval.map(|i| i.high), published(cell)]
    });
    let mut svg = Svg::new();
    let rows = Rows::new(probe, 58.0, 24.0, 172.0);
    let axis = Axis::around(ratios.flatten().chain([1.0]), rows.plot);
    let labels = axis.labels("1");
    axis.draw_below(&mut svg, rows.span, "ratio to the baseline", |tick| labels.show(tick));
    rows.draw_names(&mut svg, probe);
    svg.line((axis.at(1.0), rows.span.0), (axis.at(1.0), rows.span.1), "reference");
    svg.marks(Shape::Circle, &[(rows.plot.0 + 6.0, 40.0)], 4.5, "s0");
    svg.text((rows.plot.0 + 16.0, 44.0), Anchor::Start, "label", "measured, with its 95 % interval");
    svg.marks(Shape::Diamond, &[(rows.plot.0 + 236.0, 40.0)], 4.5, "hollow");
    svg.text((rows.plot.0 + 246.0, 44.0), Anchor::Start, "label", "published");
    svg.text((rows.plot.1 + 12.0, 44.0), Anchor::Start, "small", "measured / published");
    let mut said = Vec::new();
    for (cell, y) in rows.cells(probe) {
        let (measured, published) = (measured(cell), published(cell));
        if let Some(interval) = measured.and_then(|measured| measured.interval) {
            svg.line((axis.at(interval.low), y), (axis.at(interval.high), y), "interval");
        }
        let class = class_of(probe, &cell.summary.load);
        let shape = Shape::of_series(series_of(probe, &cell.summary.load));
        svg.marks(
            shape,
            &measured.map(|ratio| (axis.at(ratio.value), y)).into_iter().collect::<Vec<_>>(),
            4.5,
            &class,
        );
        svg.marks(
            Shape::Diamond,
            &published.map(|ratio| (axis.at(ratio), y)).into_iter().collect::<Vec<_>>(),
            4.5,
            "hollow",
        );
        let show = |ratio: Option<f64>| ratio.map_or("–".into(), |ratio| number::fixed(ratio, 3));
        let text = format!("{} / {}", show(measured.map(|measured| measured.value)), show(published));
        if cell.summary.is_baseline(probe.summary) {
            rows.draw_missing(&mut svg, y, "baseline");
        } else {
            said.push(format!("{} {text}", cell.summary.name));
            svg.text((rows.plot.1 + 12.0, y + 4.0), Anchor::Start, "num", &text);
        }
    }
    let words = Words {
        kind: "published",
        title: format!("Measured and published: {} as a ratio to the baseline", probe.name),
        description: format!("Measured / published ratio. {}", said.join("; ")),
        caption: format!(
            "Both as ratios to their own baseline. Published: {}. A dash was not published or not legible.",
            probe.summary.published_source.as_deref().unwrap_or("source not named")
        ),
    };
    Some(finish(probe, words, svg, rows.span.1 + 40.0))
}

/// The measured ratio in the metric that the published number is about.
pub fn measured(cell: &Cell) -> Option<Estimated> {
    let metric = cell.summary.published.as_ref().and_then(|published| published.metric.as_ref());
    match metric {
        Some(metric) => cell.summary.metrics.get(metric)?.ratio,
        None => cell.metric.ratio,
    }
}
