//! What can be said of an effect from its interval and the margin.

use crate::{Interval, distribution::normal_quantile};

/// Which way an effect goes, in the unit of the runs; whether that is better or worse depends on the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The runs are above the baseline's.
    Higher,
    /// The runs are below the baseline's.
    Lower,
}

/// What can be said of an effect, from the interval that is adjusted for the number of comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The whole interval lies beyond the margin.
    Different(Direction),
    /// The interval excludes equality and is not wholly beyond the margin: there is a difference, and whether it
    /// is larger than the margin is not known.
    Small(Direction),
    /// The whole interval lies within the margin (two one-sided tests).
    Equivalent,
    /// The interval holds equality and reaches beyond the margin.
    Undecided {
        /// Units (blocks, or boots where there are several) that would probably decide: nine times in ten, if
        /// there is no difference.
        units: u64,
    },
}

/// How an effect is judged. All numbers are on the scale of the effect, which is 0 at equality.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// How far from 0 an effect has no practical meaning; at least 0.
    pub margin: f64,
    /// How far from 0 two equal things were seen to be: an estimate no farther is never called a difference.
    pub noise_floor: f64,
    /// Whether an effect within the margin can be told from none: not where no run differs from another.
    pub tells_small: bool,
}

impl Rule {
    /// The verdict for an effect estimated as `value` in `units` units, with its adjusted `interval` that
    /// misses the truth with a probability of at most `tail` on either side.
    pub fn judge(&self, value: f64, interval: Interval, units: usize, tail: f64) -> Verdict {
        let heard = value.abs() > self.noise_floor;
        let direction = if interval.low > 0.0 { Direction::Higher } else { Direction::Lower };
        let excludes_equality = (interval.low > 0.0 || interval.high < 0.0) && heard;
        let beyond = interval.low > self.margin || interval.high < -self.margin;
        let within = interval.low > -self.margin && interval.high < self.margin;
        if excludes_equality && beyond {
            Verdict::Different(direction)
        } else if excludes_equality && self.tells_small {
            Verdict::Small(direction)
        } else if within {
            Verdict::Equivalent
        } else {
            let half = (interval.high - interval.low) / 2.0;
            Verdict::Undecided { units: units_to_decide(half, self.margin, units, tail) }
        }
    }
}

/// How many units decide between equality and a margin with a power of 90 %, from the half width of the interval
/// that `units` gave: (z + 1.28)²·s²/δ². Where that many did not, as many as make the interval narrower than the
/// margin, which always decides. `u64::MAX` without a margin: no number of runs shows that there is nothing.
fn units_to_decide(half: f64, margin: f64, units: usize, tail: f64) -> u64 {
    let z = -normal_quantile(tail.clamp(1e-300, 0.5));
    let error = half / z;
    let needed = |reach: f64| (units as f64 * (reach * error / margin).powi(2)).ceil().max(1.0) as u64;
    let probably = needed(z + normal_quantile(0.9));
    if probably > units as u64 { probably } else { needed(2.0 * z).max(units as u64 + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { margin: 0.01, noise_floor: 0.0, tells_small: true };

    fn judge(rule: Rule, low: f64, high: f64) -> Verdict {
        rule.judge(f64::midpoint(low, high), Interval { low, high }, 50, 0.025)
    }

    #[test]
    fn the_four_verdicts() {
        use Direction::{Higher, Lower};
        assert_eq!(judge(RULE, 0.011, 0.02), Verdict::Different(Higher));
        assert_eq!(judge(RULE, -0.02, -0.011), Verdict::Different(Lower));
        assert_eq!(judge(RULE, 0.009, 0.02), Verdict::Small(Higher));
        assert_eq!(judge(RULE, -0.003, -0.001), Verdict::Small(Lower));
        assert_eq!(judge(RULE, -0.003, 0.009), Verdict::Equivalent);
        assert!(matches!(judge(RULE, -0.003, 0.011), Verdict::Undecided { .. }));
        assert!(matches!(judge(RULE, -0.011, 0.0), Verdict::Undecided { .. }));
    }

    #[test]
    fn inside_the_noise_floor_nothing_is_a_difference() {
        let loud = Rule { noise_floor: 0.03, ..RULE };
        assert!(matches!(judge(loud, 0.011, 0.02), Verdict::Undecided { .. }));
        assert_eq!(judge(loud, 0.001, 0.002), Verdict::Equivalent);
        assert_eq!(judge(loud, 0.03, 0.04), Verdict::Different(Direction::Higher));
    }

    #[test]
    fn constants_show_no_difference_within_the_margin() {
        let constant = Rule { tells_small: false, ..RULE };
        assert_eq!(judge(constant, 0.001, 0.002), Verdict::Equivalent);
        assert_eq!(judge(constant, 0.02, 0.03), Verdict::Different(Direction::Higher));
    }

    #[test]
    fn the_number_that_would_decide() {
        // s = 5 % and δ = 1 %: (1.96 + 1.2816)²·25 = 262.7.
        let half = 1.959_963_985 * 0.05 / 50.0_f64.sqrt();
        assert_eq!(judge(RULE, -half, half), Verdict::Undecided { units: 263 });
        // An effect of about the margin can stay open with as many: then until the interval is narrower than δ.
        let Verdict::Undecided { units } = judge(RULE, -0.0001, 0.0101) else { panic!() };
        assert_eq!(units, 53);
        assert_eq!(judge(Rule { margin: 0.0, ..RULE }, -0.1, 0.1), Verdict::Undecided { units: u64::MAX });
    }
}
