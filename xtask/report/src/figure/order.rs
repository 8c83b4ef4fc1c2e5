//! Runs in the order of execution: whether the machine changed while the matrix ran.

use std::collections::BTreeMap;

use super::{
    Figure, Words,
    axis::Axis,
    finish,
    rows::{class_of, series_of},
    svg::{Anchor, Shape, Svg, WIDTH, short},
};
use crate::{analyse, number, summary::Drift, view::Probe};

/// Ratio of each run to its cell's median over the order of execution, coloured by load.
pub fn draw(probe: &Probe) -> Option<Figure> {
    let runs = analyse::ratios_to_median(probe.input, probe.name, probe.spec);
    let last = probe.input.trials.iter().map(|trial| trial.sequence).max()?;
    if runs.is_empty() {
        return None;
    }
    let mut svg = Svg::new();
    let (left, top, bottom) = (62.0, 60.0, 260.0);
    let across = Axis::exactly((-0.5, last as f64 + 0.5), (left, WIDTH - 8.0));
    let up = Axis::around(
        runs.iter().map(|(_, _, ratio)| (ratio - 1.0) * 100.0).chain([0.0]),
        (bottom - 10.0, top),
    );
    let labels = up.labels("1");
    up.draw_left(&mut svg, (left, WIDTH - 8.0), |tick| format!("{} %", labels.show_signed(tick)));
    across.draw_below(&mut svg, (top, bottom), "trial, in the order of execution", |tick| {
        number::fixed(tick, 0)
    });
    svg.line((left, up.at(0.0)), (WIDTH - 8.0, up.at(0.0)), "reference");
    let mut of_load: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for (at, cell, ratio) in &runs {
        let point = (across.at(*at as f64), up.at((ratio - 1.0) * 100.0));
        of_load.entry(&cell.load).or_default().push(point);
    }
    for load in probe.loads() {
        let points = of_load.remove(load).unwrap_or_default();
        svg.marks(Shape::of_series(series_of(probe, load)), &points, 2.8, &class_of(probe, load));
    }
    draw_legend(&mut svg, probe, left, 40.0);
    draw_incomplete(&mut svg, probe, &across, bottom);
    let drift = probe.summary.drift.get(probe.name);
    if let Some(at) = drift.and_then(|drift| drift.change_at.filter(|_| drift.change_p_value < Some(0.01))) {
        let x = across.at(at as f64 - 0.5);
        svg.line((x, top), (x, bottom), "reference");
        svg.text((x + 4.0, top + 8.0), Anchor::Start, "small", "change?");
    }
    let words = Words {
        kind: "order",
        title: format!("{}: {} in the order of execution", probe.name, probe.main.name),
        description: drift.map(in_words).unwrap_or_default(),
        caption: format!(
            "Each run as its difference from the median of its own cell, so that drift of the machine \
             shows across cells. Short lines at the foot are trials that did not complete. {}",
            drift.map(in_words).unwrap_or_default()
        ),
    };
    Some(finish(probe, words, svg, bottom + 40.0))
}

/// Which mark is which load.
pub fn draw_legend(svg: &mut Svg, probe: &Probe, left: f64, y: f64) {
    let mut x = left + 4.0;
    for load in probe.loads() {
        svg.marks(Shape::of_series(series_of(probe, load)), &[(x, y)], 4.0, &class_of(probe, load));
        svg.text((x + 9.0, y + 4.0), Anchor::Start, "label", load);
        x += 36.0 + load.chars().count() as f64 * 7.4;
    }
}

fn draw_incomplete(svg: &mut Svg, probe: &Probe, across: &Axis, bottom: f64) {
    let lines: String = probe
        .input
        .trials
        .iter()
        .filter(|trial| !trial.outcome.counts() && trial.cell.probe == probe.name)
        .map(|trial| format!("M{} {}v-7", short(across.at(trial.sequence as f64)), short(bottom)))
        .collect();
    if !lines.is_empty() {
        svg.path(&lines, "interval");
    }
}

/// What the tests for drift say, in words.
pub fn in_words(drift: &Drift) -> String {
    let (Some(tau), Some(p)) = (drift.tau, drift.tau_p_value) else {
        return "Too few runs to tell whether they drift.".into();
    };
    let trend = if p < 0.01 {
        let way = if tau > 0.0 { "rise" } else { "fall" };
        format!("The runs {way} over time (Kendall's τ = {}, p {}).", number::fixed(tau, 2), p_value(p))
    } else {
        format!("No steady drift shows (Kendall's τ = {}, p {}).", number::fixed(tau, 2), p_value(p))
    };
    let change = match (drift.change_at, drift.change_percent, drift.change_p_value) {
        (Some(at), Some(percent), Some(p)) if p < 0.01 => {
            format!(
                " The clearest sudden change is at trial {at}: {} % (Pettitt, p {}).",
                number::signed(percent, 2),
                p_value(p)
            )
        }
        (_, _, Some(p)) => format!(" No sudden change stands out (Pettitt, p {}).", p_value(p)),
        _ => String::new(),
    };
    trend + &change
}

fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".into() } else { format!("= {}", number::fixed(p, 3)) }
}
