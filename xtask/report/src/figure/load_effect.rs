//! What each load does within one attachment: loaded less unloaded.

use super::{
    Figure, Words,
    difference::values,
    finish,
    panels::Panels,
    rows::{self, Rows, class_of, series_of},
    svg::{Anchor, Shape, Svg},
};
use crate::{
    number::{self, Scale},
    view::Probe,
};

/// The effects of loads with their intervals; nothing where no cell has a load.
pub fn draw(probe: &Probe) -> Option<Figure> {
    let difference =
        |cell: &crate::view::Cell| cell.summary.load_effect.as_ref().and_then(|effect| effect.difference);
    let values: Vec<Vec<f64>> = probe.cells.iter().map(|cell| values(difference(cell))).collect();
    values.iter().find(|values| !values.is_empty())?;
    let mut svg = Svg::new();
    let rows = Rows::new(probe, 36.0, 24.0, 172.0);
    let panels = Panels::new(&rows, rows.plot, &values, 0.0);
    panels.draw(&mut svg, &format!("{} loaded less unloaded", probe.main.name), &probe.main.unit);
    rows.draw_names(&mut svg, probe);
    let largest = values.iter().flatten().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let scale = Scale::of(&probe.main.unit, largest, 4);
    let mut said = Vec::new();
    for (cell, y) in rows.cells(probe) {
        let Some(difference) = difference(cell) else {
            let why = match probe.input.unloaded(&cell.summary.cell) {
                None => "without load".into(),
                Some(_) if cell.runs.is_empty() => rows::missing(cell),
                Some(other) => format!("no block with {other}"),
            };
            rows.draw_missing(&mut svg, y, &why);
            continue;
        };
        if let Some(interval) = difference.interval {
            panels.interval(&mut svg, (interval.low, interval.high), y);
        }
        let load = &cell.summary.cell.load;
        panels.mark(
            &mut svg,
            Shape::of_series(series_of(probe, load)),
            difference.value,
            y,
            &class_of(probe, load),
        );
        let ratio = cell.summary.load_effect.as_ref().and_then(|effect| effect.ratio);
        let percent = ratio.map(|ratio| number::percent_change(ratio.value)).unwrap_or_default();
        let shown = format!("{}\u{a0}{}", scale.show_signed(difference.value), scale.unit);
        said.push(format!("{} {shown} {percent}", cell.summary.name));
        svg.text((rows.beside(), y + 4.0), Anchor::Start, "num", &shown);
        svg.text((rows.beside() + 150.0, y + 4.0), Anchor::End, "num", &percent);
    }
    let words = Words {
        kind: "load-effect",
        title: format!("{}: what each load does to {}", probe.name, probe.main.name),
        description: said.join("; "),
        caption:
            "Each loaded cell less the same attachment without load, block by block; the line is the 95 % \
                  interval."
                .into(),
    };
    Some(finish(probe, words, svg, rows.span.1 + 40.0))
}
