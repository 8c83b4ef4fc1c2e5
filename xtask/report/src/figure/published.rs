//! Measured beside published, both as ratios to their own baseline: absolute times of another
//! machine's disk say little.

use super::{
    Figure, Words,
    difference::values,
    finish,
    panels::Panels,
    rows::{Rows, class_of, series_of},
    svg::{Anchor, Shape, Svg},
};
use crate::{
    number,
    summary::Estimated,
    view::{Cell, Probe},
};

/// Ratios measured and published; nothing when no ratio was published.
pub fn draw(probe: &Probe) -> Option<Figure> {
    probe.cells.iter().find_map(published)?;
    let ratios: Vec<Vec<f64>> = probe
        .cells
        .iter()
        .map(|cell| values(measured(cell)).into_iter().chain(published(cell)).collect())
        .collect();
    let mut svg = Svg::new();
    let rows = Rows::new(probe, 60.0, 24.0, 172.0);
    let panels = Panels::new(&rows, rows.plot, &ratios, 1.0);
    panels.draw(&mut svg, "ratio to the baseline", "1");
    rows.draw_names(&mut svg, probe);
    draw_legend(&mut svg, &rows);
    let mut said = Vec::new();
    for (cell, y) in rows.cells(probe) {
        if cell.summary.is_baseline(probe.summary) {
            rows.draw_missing(&mut svg, y, "baseline");
            continue;
        }
        let (measured, published) = (measured(cell), published(cell));
        if let Some(interval) = measured.and_then(|measured| measured.interval) {
            panels.interval(&mut svg, (interval.low, interval.high), y);
        }
        if let Some(ratio) = published {
            panels.mark(&mut svg, Shape::Diamond, ratio, y, "hollow");
        }
        if let Some(ratio) = measured {
            let load = &cell.summary.cell.load;
            panels.mark(
                &mut svg,
                Shape::of_series(series_of(probe, load)),
                ratio.value,
                y,
                &class_of(probe, load),
            );
        }
        let show = |ratio: Option<f64>| ratio.map_or("–".into(), |ratio| number::fixed(ratio, 3));
        let text = format!("{} / {}", show(measured.map(|measured| measured.value)), show(published));
        said.push(format!("{} {text}", cell.summary.name));
        svg.text((rows.beside(), y + 4.0), Anchor::Start, "num", &text);
    }
    let source = probe.summary.published_source.as_deref().unwrap_or("source not named");
    let words = Words {
        kind: "published",
        title: format!("{}: measured and published, as ratios to the baseline", probe.name),
        description: format!("Measured / published ratio. {}", said.join("; ")),
        caption: format!(
            "Both as ratios to their own baseline, under the same load if that was measured there, else \
             without load. Published: {source}. A dash was not measured, not published or not legible."
        ),
    };
    Some(finish(probe, words, svg, rows.span.1 + 40.0))
}

fn draw_legend(svg: &mut Svg, rows: &Rows) {
    let left = rows.plot.0;
    svg.marks(Shape::Circle, &[(left + 6.0, 40.0)], 4.5, "s0");
    svg.text((left + 16.0, 44.0), Anchor::Start, "label", "measured, with its 95 % interval");
    svg.marks(Shape::Diamond, &[(left + 236.0, 40.0)], 4.5, "hollow");
    svg.text((left + 246.0, 44.0), Anchor::Start, "label", "published");
    svg.text((rows.beside(), 44.0), Anchor::Start, "small", "measured / published");
}

fn published(cell: &Cell) -> Option<f64> {
    cell.summary.published.as_ref()?.ratio
}

/// The measured ratio in the metric that the published number is about.
fn measured(cell: &Cell) -> Option<Estimated> {
    let metric = cell.summary.published.as_ref().and_then(|published| published.metric.as_ref());
    match metric {
        Some(metric) => cell.summary.metrics.get(metric)?.ratio,
        None => cell.metric.ratio,
    }
}
