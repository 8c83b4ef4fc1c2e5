//! Probabilities and quantiles of the normal distribution and of Student's t.

use std::f64::consts::{PI, SQRT_2};

/// Probability that a standard normal number is at most `z`.
pub fn normal_cdf(z: f64) -> f64 {
    0.5 * erfc(-z / SQRT_2)
}

/// The value that a standard normal number stays below with probability `p` (0 < p < 1).
pub fn normal_quantile(p: f64) -> f64 {
    bisect(p, -40.0, 40.0, normal_cdf)
}

/// Probability that Student's t with `df` degrees of freedom (> 0) is at most `t`.
pub fn student_cdf(t: f64, df: f64) -> f64 {
    let tail = 0.5 * incomplete_beta(df / (df + t * t), df / 2.0, 0.5);
    if t > 0.0 { 1.0 - tail } else { tail }
}

/// The value that Student's t with `df` degrees of freedom stays below with probability `p` (0 < p < 1).
pub fn student_quantile(p: f64, df: f64) -> f64 {
    // The lower tail keeps its digits; the upper one is its mirror image.
    if p > 0.5 {
        return -student_quantile(1.0 - p, df);
    }
    let mut low = -1.0;
    while student_cdf(low, df) > p && low > -1e150 {
        low *= 4.0;
    }
    bisect(p, low, 0.0, |t| student_cdf(t, df))
}

/// Where the rising `cdf` reaches `p` between `low` and `high`.
fn bisect(p: f64, mut low: f64, mut high: f64, cdf: impl Fn(f64) -> f64) -> f64 {
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            break;
        }
        if cdf(middle) < p { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// The complementary error function: by its series near zero, by its continued fraction beyond.
fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    if x > 27.0 {
        return 0.0;
    }
    if x < 2.5 {
        let (mut term, mut sum) = (x, x);
        for k in 1..200_u32 {
            term *= -x * x / f64::from(k);
            let part = term / f64::from(2 * k + 1);
            sum += part;
            if part.abs() < 1e-17 * sum.abs() {
                break;
            }
        }
        return 1.0 - 2.0 / PI.sqrt() * sum;
    }
    let mut fraction = x;
    for k in (1..=100_u32).rev() {
        fraction = x + f64::from(k) / 2.0 / fraction;
    }
    (-x * x).exp() / (PI.sqrt() * fraction)
}

/// The regularised incomplete beta function, by Lentz's evaluation of its continued fraction.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    let front = (log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(x, a, b) / a
    } else {
        1.0 - front * beta_fraction(1.0 - x, b, a) / b
    }
}

fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away = |value: f64| if value.abs() < TINY { TINY } else { value };
    let (mut c, mut d) = (1.0, 1.0 / away(1.0 - (a + b) * x / (a + 1.0)));
    let mut h = d;
    for m in 1..500_u32 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away(1.0 + even * d);
        c = away(1.0 + even / c);
        h *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away(1.0 + odd * d);
        c = away(1.0 + odd / c);
        h *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    h
}

/// The logarithm of the gamma function of a positive number: Stirling's series, shifted to where it is exact.
fn log_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 15.0 {
        shift += x.ln();
        x += 1.0;
    }
    let square = x * x;
    let series = (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / 1680.0 / square) / square) / square) / x;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * PI).ln() + series - shift
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1e-3), "{found} for {expected}");
    }

    #[test]
    fn normal_probabilities_are_those_of_scipy() {
        for (z, p) in NORMAL {
            near(normal_cdf(z), p);
        }
        near(normal_quantile(0.975), 1.959_963_984_540_054);
        near(normal_quantile(0.001), -3.090_232_306_167_813_5);
        near(normal_quantile(0.5) + 1.0, 1.0);
    }

    #[test]
    fn student_probabilities_are_those_of_scipy() {
        for (t, df, p) in STUDENT {
            near(student_cdf(t, df), p);
        }
        for (p, df, t) in STUDENT_QUANTILES {
            near(student_quantile(p, df), t);
        }
    }

    // scipy.stats.norm.cdf(z)
    const NORMAL: [(f64, f64); 7] = [
        (-6.0, 9.865876450376946e-10),
        (-3.0, 0.0013498980316300933),
        (-1.0, 0.15865525393145707),
        (0.0, 0.5),
        (0.5, 0.6914624612740131),
        (2.0, 0.9772498680518208),
        (4.0, 0.9999683287581669),
    ];
    // scipy.stats.t.cdf(t, df)
    const STUDENT: [(f64, f64, f64); 6] = [
        (-5.0, 1.0, 0.0628329581890012),
        (-2.0, 4.0, 0.05805826175840778),
        (0.3, 9.0, 0.6145046481292376),
        (1.0, 2.5, 0.7979694863608632),
        (2.5, 49.0, 0.9920921055764099),
        (3.0, 200.0, 0.9984784764430471),
    ];
    // scipy.stats.t.ppf(p, df)
    const STUDENT_QUANTILES: [(f64, f64, f64); 6] = [
        (0.975, 1.0, 12.706204736174694),
        (0.975, 4.0, 2.7764451051977934),
        (0.0005, 4.0, -8.610301581379275),
        (0.001, 49.0, -3.2650791729288593),
        (0.975, 19.0, 2.0930240544083087),
        (0.9, 7.0, 1.4149239276505086),
    ];
}
