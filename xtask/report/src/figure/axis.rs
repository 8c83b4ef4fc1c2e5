//! Axes: from numbers to places, with ticks at round numbers.

use super::svg::{Anchor, Svg};
use crate::number;

/// The largest number on an axis; its inverse is the smallest on a logarithmic one. Beyond, differences
/// and quotients of two numbers are no longer numbers.
const FARTHEST: f64 = 1e150;

/// An axis from one place to another, in user units.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    logarithmic: bool,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// A linear axis that holds all `values`, with a little room on both sides.
    pub fn around(values: impl IntoIterator<Item = f64>, (from, to): (f64, f64)) -> Self {
        let (low, high) = ends(values).unwrap_or((0.0, 1.0));
        let room = if high > low { (high - low) * 0.04 } else { high.abs().max(1.0) * 0.01 };
        Self { logarithmic: false, low: low - room, high: high + room, from, to }
    }

    /// A linear axis from zero to the largest of `values`, for bars.
    pub fn from_zero(values: impl IntoIterator<Item = f64>, (from, to): (f64, f64)) -> Self {
        let high = ends(values).map_or(0.0, |(_, high)| high);
        Self { logarithmic: false, low: 0.0, high: if high > 0.0 { high * 1.04 } else { 1.0 }, from, to }
    }

    /// A logarithmic axis that holds the `values` above zero.
    pub fn logarithmic(values: impl IntoIterator<Item = f64>, (from, to): (f64, f64)) -> Self {
        let (low, high) = ends(values.into_iter().filter(|value| *value > 0.0)).unwrap_or((0.1, 1.0));
        let room = (high / low).powf(0.04).max(1.002);
        let [low, high] = [low / room, high * room].map(|end| end.clamp(1.0 / FARTHEST, FARTHEST));
        Self { logarithmic: true, low, high: high.max(low * 1.002), from, to }
    }

    /// A linear axis with exactly these ends.
    pub fn exactly((low, high): (f64, f64), (from, to): (f64, f64)) -> Self {
        Self { logarithmic: false, low, high, from, to }
    }

    /// Where `value` is; what lies beyond an end is at the end.
    pub fn at(&self, value: f64) -> f64 {
        let value = if value.is_nan() { self.low } else { value.clamp(-FARTHEST, FARTHEST) };
        let share = if self.logarithmic {
            (value.max(f64::MIN_POSITIVE) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Whether `value` is between the ends.
    pub fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Whether `value` is beyond the lower end.
    pub fn is_below(&self, value: f64) -> bool {
        value < self.low
    }

    /// Whether any of `low` to `high` is between the ends.
    pub fn overlaps(&self, low: f64, high: f64) -> bool {
        low <= self.high && high >= self.low
    }

    /// Round numbers on the axis, rising: one for about 60 units across or 40 upwards.
    pub fn ticks(&self) -> Vec<f64> {
        let upwards = self.to < self.from;
        let wanted = ((self.to - self.from).abs() / if upwards { 40.0 } else { 62.0 }).clamp(2.0, 8.0);
        let decades = if self.logarithmic { (self.high / self.low).log10() } else { 0.0 };
        if decades < 0.9 {
            return steps(self.low, self.high, step(self.high - self.low, wanted));
        }
        let factors: &[f64] = if decades < wanted / 3.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let every = ((decades / wanted).ceil() as i32).max(1);
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let exponents = (first..=last).filter(|exponent| exponent.rem_euclid(every) == 0);
        exponents
            .flat_map(|exponent| factors.iter().map(move |factor| factor * 10_f64.powi(exponent)))
            .filter(|tick| (self.low..=self.high).contains(tick))
            .collect()
    }

    /// Draws it below a plot that begins at `top`: grid lines, ticks' `labels`, and what it is.
    pub fn draw_below(
        &self,
        svg: &mut Svg,
        (top, bottom): (f64, f64),
        label: &str,
        show: impl Fn(f64) -> String,
    ) {
        for tick in self.ticks() {
            let x = self.at(tick);
            svg.line((x, top), (x, bottom), "grid");
            svg.text((x, bottom + 16.0), Anchor::Middle, "num", &show(tick));
        }
        svg.line((self.from, bottom), (self.to, bottom), "axis");
        svg.text(((self.from + self.to) / 2.0, bottom + 34.0), Anchor::Middle, "label", label);
    }

    /// Draws it left of a plot that spans `left` to `right`.
    pub fn draw_left(&self, svg: &mut Svg, (left, right): (f64, f64), show: impl Fn(f64) -> String) {
        for tick in self.ticks() {
            let y = self.at(tick);
            svg.line((left, y), (right, y), "grid");
            svg.text((left - 6.0, y + 4.0), Anchor::End, "num", &show(tick));
        }
    }

    /// Labels for its ticks: all in the prefix and with the decimals that fit `unit`.
    pub fn labels(&self, unit: &str) -> number::Scale {
        let ticks = self.ticks();
        let largest = ticks.iter().fold(0.0, |largest: f64, tick| largest.max(tick.abs()));
        let apart = ticks.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
        number::Scale::of(unit, largest, 3).for_steps(if apart.is_finite() { apart } else { largest })
    }
}

fn ends(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let values =
        values.into_iter().filter(|value| value.is_finite()).map(|value| value.clamp(-FARTHEST, FARTHEST));
    values.fold(None, |ends, value| {
        let (low, high) = ends.unwrap_or((value, value));
        Some((value.min(low), value.max(high)))
    })
}

/// A step of 1, 2 or 5 times a power of ten that divides `length` into about `wanted` parts.
fn step(length: f64, wanted: f64) -> f64 {
    let raw = length / wanted;
    let power = 10_f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= raw * 0.75).unwrap_or(10.0);
    factor * power
}

/// Multiples of `step` from `low` to `high`.
fn steps(low: f64, high: f64, step: f64) -> Vec<f64> {
    let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    // Numbers that differ only in their last digits have no round ones in between.
    (first..=last.min(first.saturating_add(20))).map(|multiple| multiple as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ticks_are_round() {
        let axis = Axis::exactly((0.0, 10.0), (0.0, 500.0));
        assert_eq!(axis.ticks(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]);
        let axis = Axis::exactly((0.0, 10.0), (0.0, 200.0));
        assert_eq!(axis.ticks(), [0.0, 5.0, 10.0]);
        let axis = Axis::logarithmic([0.011, 90.0], (0.0, 500.0));
        assert_eq!(axis.ticks(), [0.01, 0.1, 1.0, 10.0, 100.0]);
    }

    #[test]
    fn a_log_axis_over_less_than_a_decade_has_even_steps() {
        let ticks = Axis::logarithmic([19.0, 22.0], (0.0, 500.0)).ticks();
        assert!(ticks.len() >= 3, "{ticks:?}");
    }

    proptest! {
        #[test]
        fn every_value_and_tick_is_on_the_axis(values in prop::collection::vec(-1e6..1e6_f64, 0..20)) {
            let axis = Axis::around(values.clone(), (10.0, 300.0));
            for value in values.into_iter().chain(axis.ticks()) {
                prop_assert!((10.0..=300.0).contains(&axis.at(value)));
            }
            prop_assert!((1..=12).contains(&axis.ticks().len()));
        }

        #[test]
        fn log_axes_rise(one in 1e-9..1e9_f64, factor in 1.001..1e3_f64) {
            let axis = Axis::logarithmic([one, one * factor], (0.0, 100.0));
            prop_assert!(axis.at(one) < axis.at(one * factor));
            prop_assert!(!axis.ticks().is_empty());
        }
    }
}
