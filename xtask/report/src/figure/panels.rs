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
    reference: f64,
    span: (f64, f64),
}

impl Panels {
    /// Plots from `left` to `right` that hold the values of each cell and the `reference`.
    pub fn new(rows: &Rows, (left, right): (f64, f64), cells: &[Vec<f64>], reference: f64) -> Self {
        let all = cells.iter().flatten().copied().chain([reference]);
        let axes = match close_together(cells, reference) {
            Some(close) => {
                let border = left + (right - left) * OVERVIEW;
                vec![
                    Axis::around(all, (left, border)),
                    Axis::around([close.0, close.1], (border + APART, right)),
                ]
            }
            None => vec![Axis::around(all, (left, right))],
        };
        Self { axes, reference, span: rows.span }
    }

    /// Draws axes for numbers in `unit`, and the line of reference: signed numbers where it is zero.
    pub fn draw(&self, svg: &mut Svg, label: &str, unit: &str) {
        for (index, axis) in self.axes.iter().enumerate() {
            let scale = axis.labels(unit);
            let label = if index == 0 { label } else { "enlarged" };
            let show = |tick| if self.reference == 0.0 { scale.show_signed(tick) } else { scale.show(tick) };
            axis.draw_below(svg, self.span, &format!("{label}{}", scale.in_brackets()), show);
            let x = axis.at(self.reference);
            svg.line((x, self.span.0), (x, self.span.1), "reference");
        }
    }

    /// Draws an interval, as far as it is inside.
    pub fn interval(&self, svg: &mut Svg, (low, high): (f64, f64), y: f64) {
        for axis in self.axes.iter().filter(|axis| axis.overlaps(low, high)) {
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
                let (anchor, arrow) =
                    if axis.is_below(value) { (Anchor::Start, "◂") } else { (Anchor::End, "▸") };
                svg.text((x, y + 4.0), anchor, "soft", arrow);
            }
        }
    }
}

/// The range of the cells that lie close together, where up to a third of the cells lie so far away
/// that the others could not be told apart.
fn close_together(cells: &[Vec<f64>], reference: f64) -> Option<(f64, f64)> {
    let end = |values: &Vec<f64>, pick: fn(f64, f64) -> f64| values.iter().copied().reduce(pick);
    let ends: Vec<(f64, f64)> =
        cells.iter().filter_map(|values| Some((end(values, f64::min)?, end(values, f64::max)?))).collect();
    let mut lows: Vec<usize> = (0..ends.len()).collect();
    let mut highs = lows.clone();
    lows.sort_by(|one, other| ends[*one].0.total_cmp(&ends[*other].0));
    highs.sort_by(|one, other| ends[*other].1.total_cmp(&ends[*one].1));
    let mut left_out = vec![false; ends.len()];
    let (mut lowest, mut highest) = (0, 0);
    // The outermost of the cells that are left, from where it was before, but for one.
    let first = |order: &[usize], from: usize, left_out: &[bool], but: Option<usize>| {
        (from..order.len()).find(|&place| !left_out[order[place]] && Some(order[place]) != but)
    };
    let range = |lowest: Option<usize>, highest: Option<usize>| {
        let low = lowest.map_or(reference, |place| ends[lows[place]].0.min(reference));
        let high = highest.map_or(reference, |place| ends[highs[place]].1.max(reference));
        (low, high)
    };
    let length = |(low, high): (f64, f64)| high - low;
    let mut accepted = range((!ends.is_empty()).then_some(0), (!ends.is_empty()).then_some(0));
    let mut close = None;
    for _ in 0..ends.len() / 3 {
        let without = |cell: usize| {
            let but = Some(cell);
            range(first(&lows, lowest, &left_out, but), first(&highs, highest, &left_out, but))
        };
        let outermost = [lows[lowest], highs[highest]];
        let drop = outermost
            .into_iter()
            .min_by(|one, other| length(without(*one)).total_cmp(&length(without(*other))))?;
        left_out[drop] = true;
        lowest = first(&lows, lowest, &left_out, None)?;
        highest = first(&highs, highest, &left_out, None)?;
        let rest = range(Some(lowest), Some(highest));
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
