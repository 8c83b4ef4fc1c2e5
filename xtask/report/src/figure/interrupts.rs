//! Interrupts of each run by source, beside what one of them costs.

use super::{
    Figure, Words,
    axis::Axis,
    finish,
    panels::Panels,
    rows::Rows,
    svg::{Anchor, Shape, Svg, WIDTH, cut},
};
use crate::{
    input::interrupts_metric,
    number,
    summary::CostSummary,
    view::{Cell, Probe},
};

const ROW: f64 = 26.0;

/// Interrupts left, cost right; nothing when no run counted interrupts.
pub fn draw(probe: &Probe) -> Option<Figure> {
    let metric = interrupts_metric(probe.spec)?;
    let sources = sources(probe, metric);
    if sources.is_empty() {
        return None;
    }
    let mut svg = Svg::new();
    let top = 44.0 + 16.0 * sources.len() as f64;
    let rows = Rows::new(probe, top, ROW, 470.0);
    for (index, source) in sources.iter().enumerate() {
        let y = 40.0 + 16.0 * index as f64;
        svg.marks(Shape::of_series(index), &[(rows.plot.0 + 6.0, y)], 4.0, &format!("s{}", index % 8));
        svg.text((rows.plot.0 + 16.0, y + 4.0), Anchor::Start, "label", &cut(source, 90));
    }
    let counts = Axis::from_zero(
        probe.cells.iter().filter_map(|cell| cell.summary.metrics.get(metric)?.max),
        rows.plot,
    );
    let labels = counts.labels("1");
    counts.draw_below(&mut svg, rows.span, "interrupts per run", |tick| labels.show(tick));
    rows.draw_names(&mut svg, probe);
    for (cell, y) in rows.cells(probe) {
        draw_counts(&mut svg, probe, cell, metric, &sources, &counts, (y, rows.plot.1));
    }
    let costs = draw_costs(&mut svg, probe, &rows);
    let means: Vec<String> = probe
        .cells
        .iter()
        .filter_map(|cell| Some((&cell.summary.name, cell.summary.metrics.get(metric)?.mean?)))
        .map(|(name, mean)| format!("{name} {}", number::fixed(mean, 0)))
        .collect();
    let words = Words {
        kind: "interrupts",
        title: format!("{}: interrupts, and what one costs", probe.name),
        description: format!("Mean interrupts per run: {}. Cost: {}.", means.join("; "), costs.join("; ")),
        caption: "Left: interrupts of each run, machine-wide counts of the sources named; the number is \
                  the mean. Right: (elapsed − work × the baseline's elapsed per work) / interrupts, with \
                  its 95 % interval; hollow diamonds are published costs. A cost is withheld where \
                  interrupts are too near zero to divide by."
            .into(),
    };
    Some(finish(probe, words, svg, rows.span.1 + 40.0))
}

/// Sets of sources that runs counted, in the order of first appearance.
fn sources(probe: &Probe, metric: &str) -> Vec<String> {
    let mut sources: Vec<String> = Vec::new();
    for cell in &probe.cells {
        for trial in
            probe.input.completed(&cell.summary.cell).filter(|trial| trial.metrics.contains_key(metric))
        {
            let source = named(&trial.interrupt_sources);
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
    }
    sources
}

fn named(sources: &[String]) -> String {
    if sources.is_empty() { "source not named".into() } else { sources.join(" + ") }
}

fn draw_counts(
    svg: &mut Svg,
    probe: &Probe,
    cell: &Cell,
    metric: &str,
    sources: &[String],
    axis: &Axis,
    (y, right): (f64, f64),
) {
    for (index, source) in sources.iter().enumerate() {
        let of_source = probe
            .input
            .completed(&cell.summary.cell)
            .filter(|trial| named(&trial.interrupt_sources) == *source)
            .filter_map(|trial| trial.metrics.get(metric));
        let points: Vec<(f64, f64)> = of_source
            .enumerate()
            .map(|(run, count)| {
                (axis.at(*count), y + 6.0 * (2.0 * ((run as f64 + 0.5) * 0.618_034).fract() - 1.0))
            })
            .collect();
        svg.marks(Shape::of_series(index), &points, 2.3, &format!("s{}", index % 8));
    }
    let text = match cell.summary.metrics.get(metric).and_then(|interrupts| interrupts.mean) {
        Some(mean) => number::fixed(mean, 0),
        None => "–".into(),
    };
    svg.text((right + 52.0, y + 4.0), Anchor::End, "num", &text);
}

/// The costs with their intervals, right of the counts; in words, what they say.
fn draw_costs(svg: &mut Svg, probe: &Probe, rows: &Rows) -> Vec<String> {
    let place = (rows.plot.1 + 84.0, WIDTH - 84.0);
    let values: Vec<Vec<f64>> = probe.cells.iter().map(costs_of).collect();
    if values.iter().all(Vec::is_empty) {
        svg.text((place.0, rows.span.0 + 14.0), Anchor::Start, "small", "no cost can be derived");
        return vec!["none".into()];
    }
    let panels = Panels::new(rows, place, &values, 0.0);
    panels.draw(svg, "cost (µs)", "1");
    let mut said = Vec::new();
    for (cell, y) in rows.cells(probe) {
        let cost = cell.summary.cost_per_interrupt.as_ref();
        if let Some(us) = published(cell) {
            panels.mark(svg, Shape::Diamond, us, y, "hollow");
        }
        if let Some(interval) = cost.and_then(|cost| cost.interval) {
            panels.interval(svg, (interval.low, interval.high), y);
        }
        let text = match cost {
            Some(CostSummary { us: Some(us), .. }) => {
                panels.mark(svg, Shape::Circle, *us, y, "mean");
                said.push(format!("{} {} µs", cell.summary.name, number::fixed(*us, 2)));
                format!("{}\u{a0}µs", number::fixed(*us, 2))
            }
            Some(_) => "withheld".into(),
            None => String::new(),
        };
        svg.text((WIDTH, y + 4.0), Anchor::End, "num", &text);
    }
    said
}

/// A cell's cost, the ends of its interval, and the published cost.
fn costs_of(cell: &Cell) -> Vec<f64> {
    let cost = cell.summary.cost_per_interrupt.as_ref();
    let interval = cost.and_then(|cost| cost.interval).map(|interval| [interval.low, interval.high]);
    let known = cost.and_then(|cost| cost.us).into_iter().chain(interval.into_iter().flatten());
    known.chain(published(cell)).collect()
}

fn published(cell: &Cell) -> Option<f64> {
    cell.summary.published.as_ref()?.cost_us
}
