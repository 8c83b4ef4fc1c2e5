//! Effects that are differences of logarithms within blocks: a load within one attachment, and how much more it
//! does there than natively.

use meter::random::Random;

use crate::{
    effect::{Effect, effects},
    family::tails,
    series::{Pair, Run},
    verdict::{Rule, Verdict},
};

/// An effect on the scale of logarithms: 0 is none, 0.01 is about 1 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contrast {
    /// The effect.
    pub effect: Effect,
    /// Blocks that it is from.
    pub blocks: usize,
    /// What can be said, with all contrasts of the family counted.
    pub verdict: Option<Verdict>,
}

/// One contrast for each series of logarithms, such as from [`crate::series::load_effect`]; `None` for an empty one.
/// `margin` is a share: 0.01 for 1 %.
pub fn contrasts(family: &[Vec<Run>], margin: f64, seed: u64) -> Vec<Option<Contrast>> {
    let count = family.iter().filter(|series| !series.is_empty()).count();
    let tails = tails(count);
    let contrast = |(index, series): (u64, &Vec<Run>)| {
        let pair = |run: &Run| Pair { boot: run.boot, block: run.block, run: run.value, baseline: 0.0 };
        let pairs: Vec<Pair> = series.iter().map(pair).collect();
        if pairs.is_empty() {
            return None;
        }
        let effects = effects(&pairs, 0.0, tails, &mut Random::new(seed ^ (index << 32)))?;
        let tells_small = series.iter().any(|run| run.value != series[0].value);
        let rule = Rule { margin: margin.ln_1p(), noise_floor: 0.0, tells_small };
        let effect = effects.difference;
        let judge = |interval| rule.judge(effect.value, interval, effects.units, tails.of_means);
        Some(Contrast { effect, blocks: pairs.len(), verdict: effect.adjusted.map(judge) })
    };
    (0..).zip(family).map(contrast).collect()
}

/// The interaction: how much larger the effect of a load is in one place than in another, in the blocks that have
/// both.
pub fn interaction(effect: &[Run], other: &[Run]) -> Vec<Run> {
    let pairs = crate::series::pairs(effect, other);
    let less = |pair: Pair| Run { boot: pair.boot, block: pair.block, value: pair.run - pair.baseline };
    pairs.into_iter().map(less).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{series::load_effect, verdict::Direction};

    fn runs(level: f64, seed: u64) -> Vec<Run> {
        let mut random = Random::new(seed);
        (0..50).map(|block| Run { boot: 0, block, value: level * (1.0 + 0.01 * random.unit()) }).collect()
    }

    #[test]
    fn a_load_costs_more_in_one_place_than_in_another() {
        // A load that takes 10 % natively and 30 % in the guest.
        let native = load_effect(&runs(1.1, 1), &runs(1.0, 2));
        let guest = load_effect(&runs(2.6, 3), &runs(2.0, 4));
        let found = contrasts(&[guest.clone(), native.clone(), interaction(&guest, &native)], 0.01, 7);
        let truths = [1.3_f64.ln(), 1.1_f64.ln(), (1.3_f64 / 1.1).ln()];
        for (contrast, truth) in found.iter().zip(truths) {
            let contrast = contrast.unwrap();
            assert!(contrast.effect.interval.unwrap().contains(truth), "{contrast:?} {truth}");
            assert_eq!(contrast.verdict, Some(Verdict::Different(Direction::Higher)));
        }
    }

    #[test]
    fn without_blocks_there_is_nothing_to_say() {
        assert_eq!(contrasts(&[Vec::new()], 0.01, 1), [None]);
        let few = contrasts(&[runs(1.0, 1)[..4].to_vec()], 0.01, 1)[0].unwrap();
        assert_eq!((few.effect.interval, few.verdict), (None, None));
    }
}
