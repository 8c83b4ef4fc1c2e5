//! Attachment × load: how many times the baseline each cell is.

use std::collections::BTreeMap;

use super::{
    Figure, Words, finish,
    svg::{Anchor, Svg, WIDTH, cut},
};
use crate::{
    number,
    summary::CellSummary,
    view::{Cell, Probe},
};
use plan::Better;

const HEIGHT: f64 = 46.0;
/// A difference that gets half of the full colour at least, however small all differences are.
const LEAST_STRONG: f64 = 0.05;
/// The strongest colour: text stays readable on it.
const STRONGEST: f64 = 0.62;

/// The heat map; nothing without a ratio to show.
pub fn draw(probe: &Probe) -> Option<Figure> {
    let strongest = probe.largest(|metric| metric.ratio.map(|ratio| ratio.value.ln())).max(LEAST_STRONG);
    probe.cells.iter().find_map(|cell| cell.metric.ratio)?;
    let (attachments, loads) = (probe.attachments(), probe.loads());
    let mut svg = Svg::new();
    let (left, top) = (130.0, 52.0);
    let width = ((WIDTH - left) / loads.len() as f64).min(190.0);
    for (column, load) in loads.iter().enumerate() {
        let x = left + (column as f64 + 0.5) * width;
        svg.text((x, top - 10.0), Anchor::Middle, "label", &cut(load, (width / 6.5) as usize));
    }
    let cells = probe.cells.iter();
    let places: BTreeMap<(&str, &str), &Cell> = cells
        .map(|cell| ((cell.summary.cell.attachment.as_str(), cell.summary.cell.load.as_str()), cell))
        .collect();
    let mut said = Vec::new();
    for (row, attachment) in attachments.iter().enumerate() {
        let y = top + row as f64 * HEIGHT;
        svg.text((0.0, y + HEIGHT / 2.0 + 4.0), Anchor::Start, "strong", &cut(attachment, 18));
        for (column, load) in loads.iter().enumerate() {
            let corner = (left + column as f64 * width + 1.5, y + 1.5);
            let Some(cell) = places.get(&(*attachment, *load)) else { continue };
            draw_cell(&mut svg, probe, cell.summary, strongest, corner, (width - 3.0, HEIGHT - 3.0));
            if let Some(ratio) = cell.metric.ratio {
                said.push(format!("{attachment} under {load}: {} times", number::ratio(ratio.value)));
            }
        }
    }
    let baseline = probe.summary.baseline.as_deref().unwrap_or("the baseline");
    let words = Words {
        kind: "heat",
        title: format!("{}: {} as a ratio to {baseline}", probe.name, probe.main.name),
        description: said.join("; "),
        caption: format!(
            "Ratio of means, and the change in percent with its 95 % interval; compared with {}. {} “?” \
             marks undecided cells; combinations left blank are not part \
             of the plan.",
            probe.comparison(),
            match probe.main.better {
                Better::Neither => "Orange is more than the baseline, green less.",
                _ => "Orange is worse than the baseline, green better.",
            }
        ),
    };
    Some(finish(probe, words, svg, top + attachments.len() as f64 * HEIGHT + 8.0))
}

fn draw_cell(
    svg: &mut Svg,
    probe: &Probe,
    cell: &CellSummary,
    strongest: f64,
    (x, y): (f64, f64),
    (width, height): (f64, f64),
) {
    let middle = x + width / 2.0;
    let metric = &cell.metrics[&probe.main.name];
    let Some(ratio) = metric.ratio else {
        svg.tint((x, y), (width, height), "blank", 0.6);
        let text = match (cell.n, cell.is_baseline(probe.summary)) {
            (0, _) => "no run",
            (_, true) => "baseline",
            (_, false) => "no ratio",
        };
        svg.text((middle, y + height / 2.0 + 4.0), Anchor::Middle, "small", text);
        return;
    };
    let change = ratio.value.ln();
    let worse = match probe.main.better {
        Better::More => change < 0.0,
        Better::Less | Better::Neither => change > 0.0,
    };
    svg.tint((x, y), (width, height), "blank", 0.6);
    let strength = STRONGEST * (change.abs() / strongest).sqrt().min(1.0);
    svg.tint((x, y), (width, height), if worse { "worse" } else { "better" }, strength);
    let doubt =
        if metric.verdict.is_some_and(|verdict| verdict.word == "undecided") { "\u{a0}?" } else { "" };
    svg.text((middle, y + 19.0), Anchor::Middle, "strong", &format!("{}{doubt}", number::ratio(ratio.value)));
    let percent = match ratio.interval {
        Some(interval) if width > 120.0 => {
            let [low, high] = [interval.low, interval.high].map(number::percent_change);
            format!("{} to {high}", low.trim_end_matches("\u{a0}%"))
        }
        _ => number::percent_change(ratio.value),
    };
    svg.text((middle, y + 35.0), Anchor::Middle, "number", &percent);
}
