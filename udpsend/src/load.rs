//! The intended load: how many datagrams, when.

use std::{fmt, str::FromStr};

use meter::{
    Error, Result,
    pacer::{Arrivals, Schedule},
    rate::{BitRate, Rate},
    units,
};
use serde::Serialize;

use crate::sizes::Sizes;

/// An intended load as typed: `unlimited`, `50kpps` or `100Mbps` (bits of UDP payload).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypedLoad {
    /// As fast as it goes.
    Unlimited,
    /// Datagrams per second.
    Packets(Rate),
    /// Payload bits per second.
    Bits(BitRate),
}

impl FromStr for TypedLoad {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if text == "unlimited" {
            return Ok(Self::Unlimited);
        }
        let hint = |why: String| {
            format!("{why}; a load is `unlimited`, packets/s such as `50kpps`, or bits/s such as `100Mbps`")
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

/// A schedule of intended times, over all workers together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Pace {
    /// The rate of datagrams.
    pub rate: Rate,
    /// Datagrams that share one intended time; 1 for none.
    pub burst: u64,
    /// Whether gaps are exponential rather than equal.
    pub poisson: bool,
}

impl Pace {
    /// `datagrams` in every `per_ns` nanoseconds, one at a time, with equal gaps.
    ///
    /// # Errors
    /// When it is zero or can't be kept exactly (exit code 2).
    pub fn new(datagrams: u128, per_ns: u128) -> Result<Self> {
        let rate = Rate::new(datagrams, per_ns).map_err(Error::bad_arguments)?;
        Ok(Self { rate, burst: 1, poisson: false })
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
        self.rate.per_second()
    }

    /// The schedule of worker `index` of `workers`, and how long after the common start its first
    /// slot is, in nanoseconds: the workers' slots interleave evenly.
    #[must_use]
    pub fn schedule(&self, index: usize, workers: usize, seed: u64) -> (Schedule, u64) {
        let arrivals = if self.poisson { Arrivals::Poisson } else { Arrivals::Fixed };
        self.rate.schedule(index as u64, workers as u64, self.burst, arrivals, seed)
    }
}

impl TypedLoad {
    /// The load in datagrams of these sizes, before bursts and arrivals.
    ///
    /// # Errors
    /// When the rate is zero or out of range (exit code 2).
    pub fn resolve(self, sizes: &Sizes) -> Result<Load> {
        let rate = match self {
            Self::Unlimited => return Ok(Load::Unlimited),
            Self::Packets(rate) => rate,
            Self::Bits(BitRate(rate)) => {
                let (bytes, datagrams) = sizes.mean();
                rate.scaled(datagrams, bytes.saturating_mul(8)).map_err(Error::bad_arguments)?
            }
        };
        Ok(Load::Paced(Pace { rate, burst: 1, poisson: false }))
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
        for text in ["0pps", "fast", "", "10kps", "-1pps", "1GBps"] {
            assert!(text.parse::<TypedLoad>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_load_that_can_be_timed_or_refused(text in "[0-9.]{1,25}[kMGTx]?(pps|bps|bit/s|)|\\PC*") {
            let load = text.parse::<TypedLoad>().ok().map(|load| load.resolve(&Sizes::Fixed(64)));
            if let Some(Ok(Load::Paced(pace))) = load {
                prop_assert!(pace.pps() > 0.0 && pace.pps().is_finite());
                for workers in [1, 3] {
                    let (mut schedule, offset) = pace.schedule(workers - 1, workers, 1);
                    prop_assert_eq!(schedule.peek(), 0);
                    schedule.take();
                    let _ = schedule.peek().saturating_add(offset);
                }
            }
        }
    }
}
