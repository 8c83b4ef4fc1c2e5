//! Steady state by SNIA's rule (Solid State Storage Performance Test Specification 2.0.1, definition
//! 2.1.24): over the last five rounds the figure's range is at most 20 % of their mean, and the line
//! fitted through them rises or falls by at most 10 % of it.

use serde::Serialize;

/// Rounds in the window.
pub const WINDOW: usize = 5;
/// Largest range, in percent of the mean.
pub const RANGE_PERCENT: f64 = 20.0;
/// Largest rise or fall of the fitted line over the window, in percent of the mean.
pub const SLOPE_PERCENT: f64 = 10.0;

/// What the last five rounds say.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SteadyState {
    /// Whether the rule holds.
    pub reached: bool,
    /// Rounds so far.
    pub rounds: u32,
    /// Mean of the window, in bytes per second; `null` before there are five rounds.
    pub mean_bytes_per_s: Option<f64>,
    /// Largest minus smallest of the window, in percent of the mean.
    pub range_percent: Option<f64>,
    /// Rise or fall of the fitted line over the window, in percent of the mean.
    pub slope_percent: Option<f64>,
}

/// Applies the rule to the bytes per second of the rounds so far.
#[must_use]
pub fn judge(rounds: &[f64]) -> SteadyState {
    let number = rounds.len() as u32;
    let Some(window) = rounds.last_chunk::<WINDOW>() else {
        return SteadyState {
            reached: false,
            rounds: number,
            mean_bytes_per_s: None,
            range_percent: None,
            slope_percent: None,
        };
    };
    let mean = window.iter().sum::<f64>() / WINDOW as f64;
    let largest = window.iter().copied().fold(f64::MIN, f64::max);
    let smallest = window.iter().copied().fold(f64::MAX, f64::min);
    // Least squares with x = -2, -1, 0, 1, 2, whose squares sum to 10.
    let slope = window.iter().zip(-2_i8..).map(|(y, x)| f64::from(x) * y).sum::<f64>() / 10.0;
    let percent = |amount: f64| 100.0 * amount / mean;
    let range_percent = percent(largest - smallest);
    let slope_percent = percent(slope * (WINDOW - 1) as f64);
    SteadyState {
        reached: mean > 0.0 && range_percent <= RANGE_PERCENT && slope_percent.abs() <= SLOPE_PERCENT,
        rounds: number,
        mean_bytes_per_s: Some(mean),
        range_percent: Some(range_percent).filter(|percent| percent.is_finite()),
        slope_percent: Some(slope_percent).filter(|percent| percent.is_finite()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_even_rounds_are_steady() {
        assert!(!judge(&[100.0; 4]).reached);
        assert!(judge(&[500.0, 100.0, 105.0, 95.0, 100.0, 100.0]).reached, "only the last five count");
    }

    #[test]
    fn a_wide_range_is_not_steady() {
        let state = judge(&[100.0, 100.0, 121.0, 100.0, 100.0]);
        assert!(!state.reached);
        assert!(state.range_percent > Some(20.0));
    }

    #[test]
    fn a_steady_fall_is_not_steady() {
        // 4 % a round: a range of 16 % would pass, a fall of 16 % over the window does not.
        let state = judge(&[108.0, 104.0, 100.0, 96.0, 92.0]);
        assert!(!state.reached);
        assert_eq!(state.slope_percent, Some(-16.0));
    }

    #[test]
    fn nothing_done_is_not_steady() {
        assert!(!judge(&[0.0; 5]).reached);
    }
}
