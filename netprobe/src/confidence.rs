//! How sure a mean is: the confidence interval of Student's t-distribution.
//!
//! The repetitions are taken as independent draws of one distribution that is near enough to normal
//! for its mean. A drift over the repetitions breaks that; the samples show it.

use std::fmt;

use serde::Serialize;

/// What repetitions say of one figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Confidence {
    /// Key of the figure in the samples.
    pub metric: &'static str,
    /// How many repetitions there were.
    pub repetitions: u64,
    /// Mean of the figure, in its unit.
    pub mean: f64,
    /// Standard deviation, in its unit; `null` for fewer than two repetitions.
    pub stdev: Option<f64>,
    /// Confidence that the true mean lies within `half_width` of `mean`, in percent.
    pub confidence_percent: f64,
    /// Half the width of the confidence interval, in the figure's unit; `null` for fewer than two.
    pub half_width: Option<f64>,
    /// The same relative to the mean, in percent.
    pub half_width_percent: Option<f64>,
}

impl Confidence {
    /// From the figure's values.
    #[must_use]
    pub fn of(metric: &'static str, values: &[f64], confidence_percent: f64) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count.max(1.0);
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let stdev = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        let half_width =
            stdev.map(|stdev| t_quantile(count - 1.0, confidence_percent) * stdev / count.sqrt());
        Self {
            metric,
            repetitions: values.len() as u64,
            mean,
            stdev,
            confidence_percent,
            half_width,
            half_width_percent: half_width.filter(|_| mean != 0.0).map(|width| 100.0 * width / mean.abs()),
        }
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { metric, repetitions, mean, confidence_percent, .. } = self;
        write!(f, "{repetitions} repetitions: mean {metric} {mean:.6e}")?;
        match self.half_width_percent {
            Some(percent) => write!(f, " ± {percent:.2} % ({confidence_percent} % confidence)"),
            None => Ok(()),
        }
    }
}

/// The t of Student's distribution with `freedom` degrees of freedom between whose negative and positive
/// value `confidence_percent` of all draws lie.
#[must_use]
pub fn t_quantile(freedom: f64, confidence_percent: f64) -> f64 {
    let outside = 1.0 - confidence_percent / 100.0;
    let (mut low, mut high) = (0.0, 1.0);
    // The probability to lie outside falls with t.
    while outside_of(high, freedom) > outside && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if outside_of(middle, freedom) > outside {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// Probability of a draw beyond `t` on either side: the regularized incomplete beta function
/// I_x(freedom / 2, 1 / 2) at x = freedom / (freedom + t²) (Abramowitz and Stegun, 26.7.1).
fn outside_of(t: f64, freedom: f64) -> f64 {
    incomplete_beta(freedom / 2.0, 0.5, freedom / (freedom + t * t))
}

/// Regularized incomplete beta function I_x(a, b), by its continued fraction (Abramowitz and Stegun,
/// 26.5.8), on the side where that converges fast.
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(a, b, x) / a
    } else {
        1.0 - front * beta_fraction(b, a, 1.0 - x) / b
    }
}

/// The continued fraction of [`incomplete_beta`], by Lentz's method.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let floor = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / floor(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for step in 1..500 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        for term in [even, odd] {
            d = 1.0 / floor(1.0 + term * d);
            c = floor(1.0 + term / c);
            fraction *= c * d;
        }
        if (c * d - 1.0).abs() < 1e-15 {
            break;
        }
    }
    fraction
}

/// Logarithm of the gamma function for positive `x`: Stirling's series (Abramowitz and Stegun, 6.1.41)
/// after shifting `x` to where it is exact to double precision.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 10.0 {
        shift += x.ln();
        x += 1.0;
    }
    let series = 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3)) + 1.0 / (1260.0 * x.powi(5))
        - 1.0 / (1680.0 * x.powi(7));
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        // Two-sided, as printed in every textbook.
        for (freedom, percent, expected) in [
            (1.0, 95.0, 12.7062),
            (2.0, 95.0, 4.3027),
            (4.0, 95.0, 2.7764),
            (9.0, 95.0, 2.2622),
            (29.0, 95.0, 2.0452),
            (1000.0, 95.0, 1.9623),
            (9.0, 99.0, 3.2498),
            (4.0, 90.0, 2.1318),
        ] {
            let found = t_quantile(freedom, percent);
            assert!((found / expected - 1.0).abs() < 1e-4, "{freedom} {percent}: {found}, not {expected}");
        }
    }

    #[test]
    fn an_interval_by_hand() {
        // Mean 10, deviation 1, five values: 2.7764 / √5 on each side.
        let values = [9.0, 9.5, 10.0, 10.5, 11.0];
        let confidence = Confidence::of("x", &values, 95.0);
        assert!((confidence.mean - 10.0).abs() < 1e-12);
        let expected = 2.7764 * 0.625_f64.sqrt() / 5_f64.sqrt();
        assert!((confidence.half_width.unwrap() - expected).abs() < 1e-3);
    }

    #[test]
    fn a_single_value_has_no_interval() {
        assert_eq!(Confidence::of("x", &[3.0], 95.0).half_width, None);
    }
}
