//! The schedule of intended times: pure, exact, and blind to what really happened.
//!
//! The intended time of an operation is fixed by rate, burst, arrivals and seed alone. Whoever asks
//! late gets the slot that was due, so a stall appears as response time and never as missing load.

use crate::random::Random;

/// How operations arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// One gap after the other, all equal.
    Fixed,
    /// Exponential gaps with the same mean: independent arrivals.
    Poisson,
}

/// Intended times as nanoseconds after the start, ascending, without end.
///
/// The gap is the fraction `per_ns / operations`, kept exactly: after any number of slots the
/// schedule is off by less than a nanosecond.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Whole nanoseconds and remainder of the next slot's time, in units of 1/`operations`.
    whole_ns: u64,
    remainder: u64,
    step_whole_ns: u64,
    step_remainder: u64,
    operations: u64,
    burst: u64,
    left_in_burst: u64,
    poisson: Option<Poisson>,
}

#[derive(Clone, Debug)]
struct Poisson {
    random: Random,
    mean_ns: f64,
    at_ns: f64,
}

impl Schedule {
    /// `operations` every `per_ns` nanoseconds, evenly. 50 000 packets/s is `fixed(50_000, 1_000_000_000)`;
    /// a gap of 3 µs is `fixed(1, 3_000)`.
    ///
    /// # Panics
    /// When `operations` is 0: a load of nothing has no schedule.
    #[must_use]
    pub fn fixed(operations: u64, per_ns: u64) -> Self {
        Self::bursts(operations, per_ns, 1)
    }

    /// The same mean rate in bursts: `burst` operations share one intended time, then a gap of `burst`
    /// times the mean follows.
    ///
    /// # Panics
    /// When `operations` or `burst` is 0.
    #[must_use]
    pub fn bursts(operations: u64, per_ns: u64, burst: u64) -> Self {
        Self::spaced(u128::from(per_ns) * u128::from(burst), operations, burst)
    }

    /// `burst` operations at every multiple of the fraction `step_ns / operations`.
    ///
    /// # Panics
    /// When `operations` or `burst` is 0.
    #[must_use]
    pub fn spaced(step_ns: u128, operations: u64, burst: u64) -> Self {
        assert!(operations > 0 && burst > 0, "a schedule needs a rate and a burst above zero");
        Self {
            whole_ns: 0,
            remainder: 0,
            step_whole_ns: u64::try_from(step_ns / u128::from(operations)).unwrap_or(u64::MAX),
            step_remainder: (step_ns % u128::from(operations)) as u64,
            operations,
            burst,
            left_in_burst: burst,
            poisson: None,
        }
    }

    /// The same mean rate with arrivals of its own kind, bursts included; `seed` matters for Poisson only.
    #[must_use]
    pub fn with_arrivals(mut self, arrivals: Arrivals, seed: u64) -> Self {
        self.poisson = match arrivals {
            Arrivals::Fixed => None,
            Arrivals::Poisson => {
                let mean_ns = self.step_whole_ns as f64 + self.step_remainder as f64 / self.operations as f64;
                Some(Poisson { random: Random::new(seed), mean_ns, at_ns: 0.0 })
            }
        };
        self
    }

    /// Intended time of the next slot, in nanoseconds after the start, without taking it.
    #[must_use]
    #[inline]
    pub fn peek(&self) -> u64 {
        self.whole_ns
    }

    /// Takes the next slot and gives its intended time in nanoseconds after the start. The first is 0.
    #[inline]
    pub fn take(&mut self) -> u64 {
        let slot = self.whole_ns;
        self.left_in_burst -= 1;
        if self.left_in_burst == 0 {
            self.left_in_burst = self.burst;
            self.advance();
        }
        slot
    }

    /// Takes every slot due before `until_ns`, at most `limit` of them, and gives their number. With equal gaps
    /// that takes the same time however many they are.
    #[inline]
    pub fn skip_until(&mut self, until_ns: u64, limit: u64) -> u64 {
        let mut taken = 0;
        if self.poisson.is_none()
            && let Some((slots, advanced)) = self.jump(until_ns).filter(|(slots, _)| *slots <= limit)
        {
            (taken, *self) = (slots, advanced);
        }
        while taken < limit && self.peek() < until_ns {
            self.take();
            taken += 1;
        }
        taken
    }

    /// How many slots of equal gaps are due before `until_ns`, and the schedule behind them.
    fn jump(&self, until_ns: u64) -> Option<(u64, Self)> {
        let operations = u128::from(self.operations);
        let exact = |whole: u64, remainder: u64| u128::from(whole) * operations + u128::from(remainder);
        let (now, step) =
            (exact(self.whole_ns, self.remainder), exact(self.step_whole_ns, self.step_remainder));
        let bursts = exact(until_ns, 0).checked_sub(now)?.div_ceil(step.max(1));
        let slots = bursts.checked_sub(1)?.checked_mul(self.burst.into())? + u128::from(self.left_in_burst);
        let then = now.checked_add(bursts.checked_mul(step)?)?;
        let whole_ns = u64::try_from(then / operations).ok()?;
        let remainder = (then % operations) as u64;
        let advanced = Self { whole_ns, remainder, left_in_burst: self.burst, ..self.clone() };
        Some((u64::try_from(slots).ok()?, advanced))
    }

    #[inline]
    fn advance(&mut self) {
        if let Some(poisson) = &mut self.poisson {
            poisson.at_ns += poisson.mean_ns * poisson.random.exponential();
            self.whole_ns = poisson.at_ns as u64;
            return;
        }
        self.whole_ns = self.whole_ns.saturating_add(self.step_whole_ns);
        self.remainder += self.step_remainder;
        if self.remainder >= self.operations {
            self.remainder -= self.operations;
            self.whole_ns += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn slot_k_is_due_at_exactly_k_gaps(operations in 1_u64..10_000_000, per_ns in 1_u64..10_000_000_000, k in 0_usize..2000) {
            let mut schedule = Schedule::fixed(operations, per_ns);
            for _ in 0..k {
                schedule.take();
            }
            let exact = k as u128 * u128::from(per_ns) / u128::from(operations);
            prop_assert_eq!(u128::from(schedule.take()), exact);
        }

        #[test]
        fn a_stalled_consumer_loses_no_slot(rate in 1_u64..2_000_000, stall_ns in 0_u64..1_000_000) {
            let due = Schedule::fixed(rate, 1_000_000_000).skip_until(stall_ns, u64::MAX);
            let expected = (u128::from(stall_ns) * u128::from(rate)).div_ceil(1_000_000_000);
            prop_assert_eq!(u128::from(due), expected);
        }

        #[test]
        fn a_jump_is_the_same_as_single_steps(
            operations in 1_u64..1_000_000, per_ns in 1_u64..1_000_000_000, burst in 1_u64..9, taken in 0_usize..20,
            until_ns in 0_u64..3_000_000
        ) {
            let mut jumping = Schedule::bursts(operations, per_ns, burst);
            for _ in 0..taken {
                jumping.take();
            }
            let mut stepping = jumping.clone();
            let mut steps = 0;
            while steps < 5000 && stepping.peek() < until_ns {
                stepping.take();
                steps += 1;
            }
            if steps < 5000 {
                prop_assert_eq!(jumping.skip_until(until_ns, u64::MAX), steps);
                for _ in 0..20 {
                    prop_assert_eq!(jumping.take(), stepping.take());
                }
            }
        }

        #[test]
        fn bursts_keep_the_mean_rate(burst in 1_u64..64) {
            let in_one_second = Schedule::bursts(64_000, 1_000_000_000, burst).skip_until(1_000_000_000, u64::MAX);
            prop_assert_eq!(in_one_second, 64_000_u64.div_ceil(burst) * burst);
        }
    }

    #[test]
    fn a_load_beyond_all_reason_is_skipped_at_once() {
        let mut schedule = Schedule::fixed(1_000_000_000_000_000_000, 1);
        assert_eq!(schedule.skip_until(10, u64::MAX), 10_000_000_000_000_000_000);
        assert_eq!(schedule.peek(), 10);
        assert_eq!(schedule.skip_until(u64::MAX, 5), 5, "no more than the limit");
    }

    #[test]
    fn poisson_gaps_are_exponential_and_repeat_with_the_seed() {
        let take = |seed| {
            let mut schedule = Schedule::fixed(1, 1_000).with_arrivals(Arrivals::Poisson, seed);
            (0..100_000).map(|_| schedule.take()).collect::<Vec<_>>()
        };
        let slots = take(42);
        assert_eq!(slots, take(42));
        assert_ne!(slots, take(43));
        let gaps: Vec<f64> = slots.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 1000.0).abs() < 20.0, "mean gap {mean}");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.03, "an exponential's deviation is its mean");
    }
}
