//! Rates, exactly: how many operations in how many nanoseconds, as a fraction that is never rounded.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    clock::SECOND_NS,
    pacer::{Arrivals, Schedule},
    units::{self, Decimal},
};

/// The slowest rate: one in a day, in nanoseconds.
const DAY_NS: u64 = 86_400 * SECOND_NS;
/// Largest numerator and denominator that are kept.
const MOST: u64 = 1_000_000_000_000_000_000;

/// `operations` in every `per_ns` nanoseconds, in lowest terms: at least one in a day, both numbers 1 to 10^18.
///
/// Typed as `50000`, `1.5/s`, `50k`, `50kpps`, `1.5Mpps`, `2/min`, `10/h` or `1/d`; a bare number is per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "Fraction")]
pub struct Rate {
    operations: u64,
    per_ns: u64,
}

/// A rate as a record has it, not yet checked.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Fraction {
    operations: u64,
    per_ns: u64,
}

impl TryFrom<Fraction> for Rate {
    type Error = String;

    fn try_from(fraction: Fraction) -> Result<Self, String> {
        Self::new(fraction.operations.into(), fraction.per_ns.into())
    }
}

impl Rate {
    /// `operations` in every `per_ns` nanoseconds.
    ///
    /// # Errors
    /// Says why that can't be kept: nothing at all, less than one in a day, or more digits than the fraction has
    /// room for.
    pub fn new(operations: u128, per_ns: u128) -> Result<Self, String> {
        if operations == 0 || per_ns == 0 {
            return Err("an intended load must be above 0".into());
        }
        if operations.checked_mul(DAY_NS.into()).is_some_and(|in_a_day| in_a_day < per_ns) {
            return Err("an intended load must be at least one in a day".into());
        }
        let divisor = greatest_common_divisor(operations, per_ns);
        let reduced = |value: u128| u64::try_from(value / divisor).ok().filter(|value| *value <= MOST);
        reduced(operations)
            .zip(reduced(per_ns))
            .map(|(operations, per_ns)| Self { operations, per_ns })
            .ok_or_else(|| {
                "an intended load of so many digits can't be kept exactly; use fewer, or a unit such as `/min`, `/h` or `/d`"
                    .into()
            })
    }

    /// Numerator: operations, 1 to 10^18.
    #[must_use]
    pub fn operations(self) -> u64 {
        self.operations
    }

    /// Denominator, in nanoseconds, 1 to 10^18.
    #[must_use]
    pub fn per_ns(self) -> u64 {
        self.per_ns
    }

    /// Operations per second, rounded to a float.
    #[must_use]
    pub fn per_second(self) -> f64 {
        self.operations as f64 * SECOND_NS as f64 / self.per_ns as f64
    }

    /// The rate of `count` of these operations at a time, such as bits of datagrams or bytes of blocks:
    /// this rate divided by `count`, times `of`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn scaled(self, of: u64, count: u64) -> Result<Self, String> {
        Self::new(u128::from(self.operations) * u128::from(of), u128::from(self.per_ns) * u128::from(count))
    }

    /// The schedule of worker `index` of `workers`, and how long after the common start its first slot is, in
    /// nanoseconds: the workers' slots interleave evenly. `burst` operations share one intended time. With
    /// Poisson arrivals each worker has a stream of its own from `seed`, and all begin at once.
    #[must_use]
    pub fn schedule(
        self,
        index: u64,
        workers: u64,
        burst: u64,
        arrivals: Arrivals,
        seed: u64,
    ) -> (Schedule, u64) {
        let step = u128::from(self.per_ns).saturating_mul(u128::from(burst));
        let schedule = Schedule::spaced(step.saturating_mul(workers.into()), self.operations, burst)
            .with_arrivals(arrivals, seed.wrapping_add(index));
        let offset = step.saturating_mul(index.into()) / u128::from(self.operations);
        let offset_ns = u64::try_from(offset).unwrap_or(u64::MAX);
        (schedule, if arrivals == Arrivals::Poisson { 0 } else { offset_ns })
    }
}

impl fmt::Display for Rate {
    /// With four significant digits, per second or, below one a second, per the shortest unit that has one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.per_second();
        match [(1.0, "s"), (60.0, "min"), (3600.0, "h")].iter().find(|(seconds, _)| rate * seconds >= 1.0) {
            Some((seconds, unit)) => f.write_str(&units::si(rate * seconds, &format!("/{unit}"))),
            None => f.write_str(&units::si(rate * 86_400.0, "/d")),
        }
    }
}

/// Units of operations: how many, in how many nanoseconds.
const UNITS: &[(&str, u64, u64)] = &[
    ("", 1, SECOND_NS),
    ("/s", 1, SECOND_NS),
    ("pps", 1, SECOND_NS),
    ("k", 1000, SECOND_NS),
    ("k/s", 1000, SECOND_NS),
    ("kpps", 1000, SECOND_NS),
    ("M", 1_000_000, SECOND_NS),
    ("M/s", 1_000_000, SECOND_NS),
    ("Mpps", 1_000_000, SECOND_NS),
    ("/min", 1, 60 * SECOND_NS),
    ("/h", 1, 3600 * SECOND_NS),
    ("/d", 1, DAY_NS),
];

/// Units of bits, always powers of 1000.
const BIT_UNITS: &[(&str, u64, u64)] = &[
    ("", 1, SECOND_NS),
    ("bps", 1, SECOND_NS),
    ("kbps", 1000, SECOND_NS),
    ("Mbps", 1_000_000, SECOND_NS),
    ("Gbps", 1_000_000_000, SECOND_NS),
    ("bit/s", 1, SECOND_NS),
    ("kbit/s", 1000, SECOND_NS),
    ("Mbit/s", 1_000_000, SECOND_NS),
    ("Gbit/s", 1_000_000_000, SECOND_NS),
];

fn parse(text: &str, units: &[(&str, u64, u64)], example: &str) -> Result<Rate, String> {
    let (number, unit) = Decimal::split(text, example)?;
    let Some(&(_, count, per_ns)) = units.iter().find(|(name, ..)| *name == unit) else {
        return Err(units::unknown_unit(unit, units.iter().map(|(name, ..)| *name), example));
    };
    let operations =
        number.digits.checked_mul(count.into()).ok_or_else(|| format!("`{text}` is too large"))?;
    Rate::new(operations, number.scale * u128::from(per_ns)).map_err(|why| format!("`{text}`: {why}"))
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, UNITS, "50kpps")
    }
}

/// A rate of bits, exactly; typed as `100Mbps`, `2.5Gbps` or `9600bps`, always powers of 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitRate(pub Rate);

impl FromStr for BitRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, BIT_UNITS, "100Mbps").map(Self)
    }
}

/// A rate of bytes, exactly; typed as `200MB/s`, `64MiB/s` or `1.5kB/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRate(pub Rate);

impl FromStr for ByteRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXAMPLE: &str = "200MB/s";
        let bytes = text.trim().strip_suffix("/s").filter(|bytes| bytes.ends_with('B'));
        let bytes = bytes.ok_or_else(|| format!("`{text}` is not a rate of bytes, such as `{EXAMPLE}`"))?;
        let units: Vec<_> = units::BYTE_UNITS.iter().map(|&(name, size)| (name, size, SECOND_NS)).collect();
        parse(bytes, &units, EXAMPLE).map(Self)
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

    fn rate(operations: u128, per_ns: u128) -> Rate {
        Rate::new(operations, per_ns).unwrap()
    }

    #[test]
    fn fractions_are_kept() {
        for (text, operations, per_ns) in [
            ("1.5/s", 3, 2_000_000_000),
            ("0.5/s", 1, 2_000_000_000),
            ("2.9pps", 29, 10_000_000_000),
            ("1.5Mpps", 3, 2_000),
            ("1/d", 1, 86_400_000_000_000),
            ("0.5/h", 1, 7_200_000_000_000),
            ("50k", 1, 20_000),
            ("3", 3, 1_000_000_000),
        ] {
            assert_eq!(text.parse(), Ok(rate(operations, per_ns)), "{text}");
        }
        assert_eq!("2.5bps".parse(), Ok(BitRate(rate(5, 2_000_000_000))));
        assert_eq!("2.5Gbps".parse(), Ok(BitRate(rate(5, 2))));
        assert_eq!("1.5B/s".parse(), Ok(ByteRate(rate(3, 2_000_000_000))));
        assert_eq!("64MiB/s".parse(), Ok(ByteRate(rate(64 << 20, 1_000_000_000))));
    }

    #[test]
    fn what_can_not_be_kept_is_refused() {
        for (text, why) in [
            ("0/s", "above 0"),
            ("0.9/d", "one in a day"),
            ("0.00000001/s", "one in a day"),
            ("0.123456789012345678/s", "exactly"),
            ("10kps", "unknown unit"),
            ("", "not a number"),
            ("-1/s", "not a number"),
            ("1e3/s", "unknown unit"),
            ("9999999999999999999999/s", "exactly"),
        ] {
            let error = text.parse::<Rate>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(serde_json::from_str::<Rate>(r#"{"operations":0,"per_ns":1}"#).is_err());
    }

    #[test]
    fn a_record_of_a_rate_is_read_back() {
        let three_halves: Rate = "1.5/s".parse().unwrap();
        let text = serde_json::to_string(&three_halves).unwrap();
        assert_eq!(text, r#"{"operations":3,"per_ns":2000000000}"#);
        assert_eq!(serde_json::from_str::<Rate>(&text).unwrap(), three_halves);
    }

    #[test]
    fn slow_rates_are_shown_in_a_unit_that_fits() {
        for (text, shown) in
            [("1.5/s", "1.5 /s"), ("0.5/s", "30 /min"), ("1/d", "1 /d"), ("50kpps", "50 k/s")]
        {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), shown);
        }
    }

    proptest! {
        #[test]
        fn the_count_up_to_any_time_is_exact(tenths in 1_u64..1_000_000, seconds in 1_u64..1000) {
            let rate: Rate = format!("{}.{}/s", tenths / 10, tenths % 10).parse().unwrap();
            let due = rate.schedule(0, 1, 1, Arrivals::Fixed, 0).0.skip_until(seconds * SECOND_NS, u64::MAX);
            prop_assert_eq!(due, (tenths * seconds).div_ceil(10));
        }

        #[test]
        fn the_workers_together_do_what_one_would(
            operations in 1_u64..1_000_000, per_ns in 1_u64..1_000_000_000_000, workers in 1_u64..9, burst in 1_u64..5
        ) {
            let rate = Rate::new(operations.into(), per_ns.into());
            prop_assume!(rate.is_ok());
            let (rate, until) = (rate.unwrap(), 100_000_000);
            let together: u64 = (0..workers)
                .map(|index| {
                    let (mut schedule, offset) = rate.schedule(index, workers, burst, Arrivals::Fixed, 1);
                    schedule.skip_until(until - offset.min(until), u64::MAX)
                })
                .sum();
            let alone = rate.schedule(0, 1, burst, Arrivals::Fixed, 1).0.skip_until(until, u64::MAX);
            prop_assert!(together.abs_diff(alone) <= burst, "{} and {}", together, alone);
        }

        #[test]
        fn any_text_is_a_rate_or_refused_without_panic(text in "[0-9.]{1,25}[kM]?(pps|/s|/min|/d|)|\\PC*") {
            let _ = text.parse::<Rate>();
            let _ = text.parse::<BitRate>();
            let _ = format!("{text}B/s").parse::<ByteRate>();
        }
    }
}
