//! All runs of each cell: the report's figure 6, with every run visible.

use super::{
    Figure, Words,
    axis::Axis,
    finish,
    rows::{Rows, class_of, missing, series_of},
    svg::{Anchor, Shape, Svg},
};
use crate::report::{number, view::Probe};

const ROW: f64 = 34.0;
/// How far a run may be moved up or down so that it does not hide another.
const SPREAD: f64 = 9.0;
/// 1 / φ: steps of this length fill an interval evenly at every count.
const GOLDEN: f64 = 0.618_033_988_749_895;

/// Points over a box, mean with its interval, smallest and largest, number of runs.
pub fn draw(probe: &Probe) -> Figure {
    let mut svg = Svg::new();
    let rows = Rows::new(probe, 36.0, ROW, 172.0);
    let axis = Axis::around(probe.cells.iter().flat_map(|cell| cell.runs.iter().copied()), rows.plot);
    let labels = axis.labels(&probe.main.unit);
    axis.draw_below(&mut svg, rows.span, &format!("{}{}", probe.main.name, labels.in_brackets()), |tick| {
        labels.show(tick)
    });
    rows.draw_names(&mut svg, probe);
    let scale = probe.scale(4, |metric| metric.max);
    svg.text((rows.plot.1 + 12.0, 26.0), Anchor::Start, "small", "N, smallest – largest");
    for (cell, y) in rows.cells(probe) {
        let (Some(min), Some(max), Some(mean)) = (cell.metric.min, cell.metric.max, cell.metric.mean) else {
            rows.draw_missing(&mut svg, y, &missing(cell));
            continue;
        };
        svg.line((axis.at(min), y), (axis.at(max), y), "whisker");
        if let (Some(Some(low)), Some(Some(high))) =
            (cell.metric.percentiles.get("p25"), cell.metric.percentiles.get("p75"))
        {
            let (left, right) = (axis.at(*low), axis.at(*high));
            svg.rect((left, y - SPREAD - 2.0), (right - left, 2.0 * SPREAD + 4.0), "box");
        }
        let points: Vec<(f64, f64)> = cell
            .runs
            .iter()
            .enumerate()
            .map(|(index, run)| {
                (axis.at(*run), y + SPREAD * (2.0 * ((index as f64 + 0.5) * GOLDEN).fract() - 1.0))
            })
            .collect();
        let load = &cell.summary.load;
        svg.marks(Shape::of_series(series_of(probe, load)), &points, 2.6, &class_of(probe, load));
        if let Some(interval) = cell.metric.mean_interval {
            svg.line((axis.at(interval.low), y), (axis.at(interval.high), y), "interval");
        }
        svg.marks(Shape::Diamond, &[(axis.at(mean), y)], 4.2, "mean");
        let text = format!("{} · {} – {}", cell.metric.n, scale.show(min), scale.with_unit(max));
        svg.text((rows.plot.1 + 12.0, y + 4.0), Anchor::Start, "num", &text);
    }
    let means: Vec<String> = probe
        .cells
        .iter()
        .filter_map(|cell| {
            Some(format!("{} {}", cell.summary.name, number::single(cell.metric.mean?, &probe.main.unit)))
        })
        .collect();
    let words = Words {
        kind: "runs",
        title: format!("All runs: {} of {}", probe.main.name, probe.name),
        description: format!("One point per run, {} cells. Means: {}.", probe.cells.len(), means.join("; ")),
        caption: "Every completed run is a point, moved up or down only to be seen. The box holds the middle half of \
                  the runs, the thin line reaches from the smallest to the largest, the diamond is the mean and the \
                  thick line its 95 % interval."
            .into(),
    };
    finish(probe, words, svg, rows.span.1 + 40.0)
}
