//! The intended load: how many datagrams, when.

use std::{fmt, str::FromStr};

use meter::{
    Error, Result,
    pacer::{Arrivals, Schedule},
    units::{self, BitRate, PacketRate},
};
use serde::Serialize;

use crate::sizes::Sizes;

/// An intended load as typed: `unlimited`, `50kpps` or `100Mbps` (bits of UDP payload).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypedLoad {
    /// As fast as it goes.
    Unlimited,
    /// Datagrams per second.
    Packets(PacketRate),
    /// Payload bits per second.
    Bits(BitRate),
}

impl FromStr for TypedLoad {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if text == "unlimited" {
            return Ok(Self::Unlimited);
        }
        let hint = |_| {
            format!(
                "`{text}` is not a load; use `unlimited`, packets/s such as `50kpps`, or bits/s such as `100Mbps`"
            )
        };
        if text.ends_with("bps") || text.ends_with("bit/s") {
            return text.parse().map(Self::Bits).map_err(hint);
        }
        text.parse().map(Self::Packets).map_err(hint)
    }
}

/// The resolved load.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Load {
    /// As fast as it goes.
    Unlimited,
    /// By a schedule.
    Paced(Pace),
}

/// Most datagrams per second that can be timed: clocks count nanoseconds, and a random gap takes ten to draw.
const FASTEST: (f64, f64) = (1e9, 1e8);

/// A schedule of intended times: `datagrams` in every `per_ns`, exactly, over all workers together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Pace {
    /// Numerator of the rate, in datagrams.
    pub datagrams: u64,
    /// Denominator of the rate, in nanoseconds.
    pub per_ns: u64,
    /// Datagrams that share one intended time; 1 for none.
    pub burst: u64,
    /// Whether gaps are exponential rather than equal.
    pub poisson: bool,
}

impl Pace {
    /// The rate as a fraction in lowest terms.
    ///
    /// # Errors
    /// When it is zero, or beyond 10^18 of either unit (exit code 2).
    pub fn new(datagrams: u128, per_ns: u128) -> Result<Self> {
        let divisor = greatest_common_divisor(datagrams, per_ns);
        let reduced = |value: u128| {
            u64::try_from(value / divisor.max(1)).ok().filter(|value| (1..=10_u64.pow(18)).contains(value))
        };
        let (Some(datagrams), Some(per_ns)) = (reduced(datagrams), reduced(per_ns)) else {
            return Err(Error::bad_arguments(
                "the intended load must be above 0 and of a size that can be timed",
            ));
        };
        Ok(Self { datagrams, per_ns, burst: 1, poisson: false })
    }

    /// Refuses what no clock can time.
    ///
    /// # Errors
    /// Above 10^9 datagrams per second, or 10^8 with Poisson arrivals (exit code 2).
    pub fn check(self) -> Result<Self> {
        let fastest = if self.poisson { FASTEST.1 } else { FASTEST.0 };
        if self.pps() <= fastest {
            return Ok(self);
        }
        Err(Error::bad_arguments(format!(
            "an intended load of {} can't be timed, {} is the most; pass --load unlimited",
            units::si(self.pps(), "packets/s"),
            units::si(fastest, "packets/s")
        )))
    }

    /// Datagrams per second.
    #[must_use]
    pub fn pps(&self) -> f64 {
        self.datagrams as f64 * 1e9 / self.per_ns as f64
    }

    /// The schedule of worker `index` of `workers`, and how long after the common start its first
    /// slot is, in nanoseconds: the workers' slots interleave evenly.
    #[must_use]
    pub fn schedule(&self, index: usize, workers: usize, seed: u64) -> (Schedule, u64) {
        let arrivals = if self.poisson { Arrivals::Poisson } else { Arrivals::Fixed };
        let per_ns = self.per_ns.saturating_mul(workers as u64);
        let schedule = Schedule::bursts(self.datagrams, per_ns, self.burst)
            .with_arrivals(arrivals, seed.wrapping_add(index as u64));
        let step = u128::from(self.per_ns) * u128::from(self.burst) * index as u128;
        let offset = u64::try_from(step / u128::from(self.datagrams)).unwrap_or(u64::MAX);
        (schedule, if self.poisson { 0 } else { offset })
    }
}

impl TypedLoad {
    /// The load in datagrams of these sizes, before bursts and arrivals.
    ///
    /// # Errors
    /// When the rate is zero or out of range (exit code 2).
    pub fn resolve(self, sizes: &Sizes) -> Result<Load> {
        const SECOND_NS: u128 = 1_000_000_000;
        match self {
            Self::Unlimited => Ok(Load::Unlimited),
            Self::Packets(PacketRate(rate)) => Pace::new(rate.into(), SECOND_NS).map(Load::Paced),
            Self::Bits(BitRate(rate)) => {
                let (bytes, datagrams) = sizes.mean();
                let per_ns = u128::from(bytes) * 8 * SECOND_NS;
                Pace::new(u128::from(rate) * u128::from(datagrams), per_ns).map(Load::Paced)
            }
        }
    }
}

impl Load {
    /// Datagrams per second; `None` when unlimited.
    #[must_use]
    pub fn pps(&self) -> Option<f64> {
        match self {
            Self::Unlimited => None,
            Self::Paced(pace) => Some(pace.pps()),
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Paced(pace) = self else {
            return f.write_str("unlimited");
        };
        f.write_str(&units::si(pace.pps(), "packets/s"))?;
        if pace.burst > 1 {
            write!(f, " in bursts of {}", pace.burst)?;
        }
        f.write_str(if pace.poisson { ", Poisson arrivals" } else { "" })
    }
}

fn greatest_common_divisor(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pace(load: &str, sizes: &str) -> Pace {
        match load.parse::<TypedLoad>().unwrap().resolve(&sizes.parse().unwrap()).unwrap() {
            Load::Paced(pace) => pace,
            Load::Unlimited => panic!("{load} is unlimited"),
        }
    }

    #[test]
    fn a_bit_rate_is_that_of_the_payload() {
        assert!((pace("100Mbps", "1250").pps() - 10_000.0).abs() < 1e-9);
        assert!((pace("100Mbps", "1000-1500").pps() - 10_000.0).abs() < 1e-9);
    }

    #[test]
    fn a_load_of_nothing_is_refused() {
        assert!("0pps".parse::<TypedLoad>().unwrap().resolve(&Sizes::Fixed(64)).is_err());
        for text in ["fast", "", "10kps", "-1pps", "1GBps"] {
            assert!(text.parse::<TypedLoad>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_load_that_can_be_timed_or_refused(text in "[0-9.]{1,25}[kMGTx]?(pps|bps|bit/s|)|\\PC*") {
            let load = text.parse::<TypedLoad>().ok().map(|load| load.resolve(&Sizes::Fixed(64)));
            if let Some(Ok(Load::Paced(pace))) = load {
                prop_assert!(pace.datagrams > 0 && pace.per_ns > 0 && pace.pps().is_finite());
                for workers in [1, 3] {
                    let (mut schedule, offset) = pace.schedule(workers - 1, workers, 1);
                    prop_assert_eq!(schedule.peek(), 0);
                    schedule.take();
                    let _ = schedule.peek().saturating_add(offset);
                }
            }
        }

        #[test]
        fn the_workers_together_send_what_one_would(rate in 1_u64..1_000_000, workers in 1_usize..9) {
            let pace = Pace::new(rate.into(), 1_000_000_000).unwrap();
            let until = 100_000_000;
            let together: u64 = (0..workers)
                .map(|index| {
                    let (mut schedule, offset) = pace.schedule(index, workers, 1);
                    schedule.skip_until(until - offset.min(until), u64::MAX)
                })
                .sum();
            let alone = pace.schedule(0, 1, 1).0.skip_until(until, u64::MAX);
            prop_assert!(together.abs_diff(alone) <= 1, "{} and {}", together, alone);
        }
    }
}
