//! One or two plots on the same rows: all values, and, where a few cells lie far from the rest, the
//! rest enlarged. A value beyond the enlarged part is an arrow at its edge.

use super::{
    axis::Axis,
    rows::Rows,
    svg::{Anchor, Shape, Svg},
};

/// Share of the width that the plot of all values keeps beside an enlarged one.
const OVERVIEW: f64 = 0.36;
const APART: f64 = 34.0;
/// How much narrower the range must get for a cell to be left out of the enlarged part.
const WORTHWHILE: f64 = 3.0;

/// The plots of one figure.
pub struct Panels {
    axes: Vec<Axis>,
    span: (f64, f64),
}

impl Panels {
    /// Plots that hold the values of each cell and the `reference`, beside the rows' names.
    pub fn new(rows: &Rows, cells: &[Vec<f64>], reference: f64) -> Self {
        let all = cells.iter().flatten().copied().chain([reference]);
        let axes = match close_together(cells, reference) {
            Some(close) => {
                let (left, right) = rows.plot;
                let border = left + (right - left) * OVERVIEW;
                vec![
                    Axis::around(all, (left, border)),
                    Axis::around([close.0, close.1], (border + APART, right)),
                ]
            }
            None => vec![Axis::around(all, rows.plot)],
        };
        Self { axes, span: rows.span }
    }

    /// Draws axes and the line of reference.
    pub fn draw(&self, svg: &mut Svg, label: &str, reference: f64, show: impl Fn(&Axis, f64) -> String) {
        for (index, axis) in self.axes.iter().enumerate() {
            let label = if index == 0 { label } else { "enlarged" };
            axis.draw_below(svg, self.span, label, |tick| show(axis, tick));
            svg.line((axis.at(reference), self.span.0), (axis.at(reference), self.span.1), "reference");
        }
    }

    /// The unit of the first plot, in brackets.
    pub fn unit(&self, unit: &str) -> String {
        self.axes[0].labels(unit).in_brackets()
    }

    /// Draws an interval, as far as it is inside.
    pub fn interval(&self, svg: &mut Svg, (low, high): (f64, f64), y: f64) {
        for axis in self.axes.iter().filter(|axis| axis.holds(low) || axis.holds(high)) {
            svg.line((axis.at(low), y), (axis.at(high), y), "interval");
        }
    }

    /// Draws a mark, or an arrow towards it.
    pub fn mark(&self, svg: &mut Svg, shape: Shape, value: f64, y: f64, class: &str) {
        for axis in &self.axes {
            let x = axis.at(value);
            if axis.holds(value) {
                svg.marks(shape, &[(x, y)], 4.5, class);
            } else {
                let (anchor, arrow) = if axis.is_below(value) { (Anchor::Start, "◂") } else { (Anchor::End, "▸") };
                svg.text((x, y + 4.0), anchor, "soft", arrow);
            }
        }
    }

    /// Left end of the plots.
    pub fn left(&self) -> f64 {
        self.axes[0].ends().0
    }
}

/// The range of the cells that lie close together, where up to a third of the cells lie so far away
/// that the others could not be told apart.
fn close_together(cells: &[Vec<f64>], reference: f64) -> Option<(f64, f64)> {
    let mut near: Vec<&Vec<f64>> = cells.iter().filter(|values| !values.is_empty()).collect();
    let range = |cells: &[&Vec<f64>]| {
        let values = cells.iter().flat_map(|values| values.iter().copied()).chain([reference]);
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (value.min(low), value.max(high)))
    };
    let length = |(low, high): (f64, f64)| high - low;
    let mut accepted = range(&near);
    let mut close = None;
    for _ in 0..near.len() / 3 {
        let without = |index: usize| {
            let rest: Vec<&Vec<f64>> = near.iter().enumerate().filter(|(i, _)| *i != index).map(|(_, v)| *v).collect();
            range(&rest)
        };
        let drop = (0..near.len()).min_by(|one, other| length(without(*one)).total_cmp(&length(without(*other))))?;
        near.remove(drop);
        let rest = range(&near);
        if length(rest) > 0.0 && length(rest) * WORTHWHILE <= length(accepted) {
            (accepted, close) = (rest, Some(rest));
        }
    }
    close
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_far_away_are_left_out_of_the_enlarged_part() {
        let cells = |values: &[f64]| values.iter().map(|value| vec![*value]).collect::<Vec<_>>();
        let disk = cells(&[-7.9, 0.1, 0.33, 0.34, 0.34, 0.35, 2.8]);
        assert_eq!(close_together(&disk, 0.0), Some((0.0, 0.35)));
        assert_eq!(close_together(&cells(&[1.0, 2.0, 3.0, 4.0]), 0.0), None);
        assert_eq!(close_together(&cells(&[0.0, 0.0, 0.0, 9.0]), 0.0), None);
        assert_eq!(close_together(&[], 0.0), None);
    }
}
