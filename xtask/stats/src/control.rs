//! A second arm of the same cell: how far apart two equal things are here, and whether the machine can be believed.

use crate::{
    family::{Question, compare_family},
    series::Run,
};

/// How often equal controls may be called different, as a probability.
pub const ERROR: f64 = 0.01;

/// What a control says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Control {
    /// ln(control / baseline).
    pub log_ratio: f64,
    /// The noise floor on the same scale: the end of its 95 % interval that is farther from 0. A difference no
    /// larger is not told from that of two equal things.
    pub noise_floor: f64,
    /// Whether the control itself differs from its baseline beyond chance: then no difference here can be believed.
    pub differs: bool,
}

/// Compares a control with the baseline that it is a second arm of; `None` without an interval.
pub fn control(control: &[Run], baseline: &[Run], seed: u64) -> Option<Control> {
    let question = Question { runs: control, baseline, margin: 0.0, noise_floor: 0.0, seed };
    let comparison = compare_family(&[question]).comparisons.pop()??;
    let effect = comparison.effects.log_ratio?;
    let interval = effect.interval?;
    Some(Control {
        log_ratio: effect.value,
        noise_floor: interval.low.abs().max(interval.high.abs()),
        differs: effect.p_value.is_some_and(|p_value| p_value < ERROR),
    })
}

#[cfg(test)]
mod tests {
    use meter::random::Random;

    use super::*;

    fn runs(level: f64, seed: u64) -> Vec<Run> {
        let mut random = Random::new(seed);
        (0..50).map(|block| Run { boot: 0, block, value: level + 0.01 * random.unit() }).collect()
    }

    #[test]
    fn equal_arms_make_a_narrow_floor_and_unequal_ones_are_told() {
        let baseline = runs(1.0, 1);
        let equal = control(&runs(1.0, 2), &baseline, 3).unwrap();
        assert!(!equal.differs && (0.0005..0.004).contains(&equal.noise_floor), "{equal:?}");
        let unequal = control(&runs(1.05, 2), &baseline, 3).unwrap();
        assert!(unequal.differs && (0.045..0.055).contains(&unequal.noise_floor), "{unequal:?}");
        assert_eq!(control(&runs(1.0, 2)[..4], &baseline, 3), None);
    }
}
