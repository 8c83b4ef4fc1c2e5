//! Quantities as people type and read them. SI and IEC never mix: 1 kB = 1000 bytes, 1 KiB = 1024.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// A size in bytes, typed as `131072`, `128KiB`, `4GiB` or `1GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// A length of time, typed as `10s`, `500ms`, `20us`, `100ns`, `2min` or `8h`; a bare number is seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Nanoseconds(pub u64);

impl Nanoseconds {
    /// As the standard library's type.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

pub(crate) const BYTE_UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];
const TIME_UNITS: &[(&str, u64)] = &[
    ("", 1_000_000_000),
    ("ns", 1),
    ("us", 1000),
    ("µs", 1000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A typed number, exactly: `digits` / `scale`.
pub(crate) struct Decimal {
    /// The number without its point.
    pub digits: u128,
    /// 10 to the number of decimals.
    pub scale: u128,
}

impl Decimal {
    /// The number at the begin of `text`, and what follows it: the unit.
    pub fn split<'a>(text: &'a str, example: &str) -> Result<(Self, &'a str), String> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
        let number = text[..end].replace('_', "");
        let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
        let invalid = || format!("`{text}` is not a number with a unit, such as `{example}`");
        let fraction = fraction.trim_end_matches('0');
        if !number.bytes().any(|byte| byte.is_ascii_digit()) || fraction.contains('.') {
            return Err(invalid());
        }
        if fraction.len() > 18 {
            return Err(format!("`{text}` has more than 18 decimals"));
        }
        let digits = format!("0{whole}{fraction}").parse().map_err(|_| format!("`{text}` is too large"))?;
        Ok((Self { digits, scale: 10_u128.pow(fraction.len() as u32) }, text[end..].trim()))
    }
}

pub(crate) fn unknown_unit<'a>(unit: &str, known: impl Iterator<Item = &'a str>, example: &str) -> String {
    let known: Vec<&str> = known.filter(|name| !name.is_empty()).collect();
    format!("unknown unit `{unit}`; use one of {}, as in `{example}`", known.join(", "))
}

/// A number and its unit, exactly: 0.1 GB is 100 000 000 bytes, and half a byte is refused.
fn parse(text: &str, units: &[(&str, u64)], example: &str) -> Result<u64, String> {
    let (number, unit) = Decimal::split(text, example)?;
    let Some(&(_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(unknown_unit(unit, units.iter().map(|(name, _)| *name), example));
    };
    let product =
        number.digits.checked_mul(u128::from(factor)).ok_or_else(|| format!("`{text}` is too large"))?;
    if product % number.scale != 0 {
        let smallest = units.iter().filter(|(name, _)| !name.is_empty()).min_by_key(|(_, size)| *size);
        let smallest = smallest.map_or("", |(name, _)| name);
        return Err(format!("`{text}` is not a whole number of {smallest}"));
    }
    u64::try_from(product / number.scale).map_err(|_| format!("`{text}` is too large"))
}

macro_rules! quantity {
    ($type:ident, $units:expr, $example:literal) => {
        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                parse(text, $units, $example).map(Self)
            }
        }
    };
}
quantity!(Bytes, BYTE_UNITS, "128KiB");
quantity!(Nanoseconds, TIME_UNITS, "500ms");

impl fmt::Display for Bytes {
    /// IEC where the size is a multiple of one of its units, else SI with three digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let iec = [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        match iec.iter().find(|(_, size)| self.0 >= *size && self.0.is_multiple_of(*size)) {
            Some((name, size)) => write!(f, "{} {name}", self.0 / size),
            None => f.write_str(&si(self.0 as f64, "B")),
        }
    }
}

impl fmt::Display for Nanoseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&duration(self.0 as f64))
    }
}

/// `value` with four significant digits and an SI prefix before `unit`: `1.329 GB/s`.
#[must_use]
pub fn si(value: f64, unit: &str) -> String {
    let prefixes = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    match prefixes.iter().find(|(size, _)| value.abs() >= *size) {
        Some((size, prefix)) => format!("{} {prefix}{unit}", significant(value / size)),
        None => format!("{} {unit}", significant(value)),
    }
}

/// A number of things in words, such as `1 bit` and `2 bits`.
#[must_use]
pub fn counted(count: u64, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// A length of time in nanoseconds with four significant digits and the unit that fits: `1.52 ms`.
#[must_use]
pub fn duration(ns: f64) -> String {
    let units = [(1e9, "s"), (1e6, "ms"), (1e3, "µs")];
    match units.iter().find(|(size, _)| ns.abs() >= *size) {
        Some((size, unit)) => format!("{} {unit}", significant(ns / size)),
        None => format!("{} ns", significant(ns)),
    }
}

/// Four significant digits, no trailing zeros behind the point.
fn significant(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 1000.0 => 0,
        v if v >= 100.0 => 1,
        v if v >= 10.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn si_and_iec_never_mix() {
        assert_eq!("128KiB".parse(), Ok(Bytes(131_072)));
        assert_eq!("1GB".parse(), Ok(Bytes(1_000_000_000)));
        assert_eq!("0.1 GB".parse(), Ok(Bytes(100_000_000)));
        assert!("128k".parse::<Bytes>().unwrap_err().contains("KiB"));
        assert_eq!("1.50KiB".parse(), Ok(Bytes(1536)));
        assert_eq!("20us".parse(), Ok(Nanoseconds(20_000)));
        assert_eq!("10".parse(), Ok(Nanoseconds(10_000_000_000)));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["", "-1s", "1.2.3s", "s", "99999999999999999999h", "1e3s", ".", "٣s", "0.5ns", "1.0000000001s"]
        {
            assert!(text.parse::<Nanoseconds>().is_err(), "{text}");
        }
        assert!("1.5B".parse::<Bytes>().unwrap_err().contains("whole number of B"));
    }

    #[test]
    fn figures_are_shown_with_four_digits() {
        assert_eq!(duration(1_523_400.0), "1.523 ms");
        assert_eq!(duration(950.0), "950 ns");
        assert_eq!(si(1_329e6, "B/s"), "1.329 GB/s");
        assert_eq!(Bytes(131_072).to_string(), "128 KiB");
        assert_eq!(Bytes(1_000_000).to_string(), "1 MB");
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_without_panic(text in "\\PC{0,30}") {
            let _ = text.parse::<Bytes>();
            let _ = text.parse::<Nanoseconds>();
        }

        #[test]
        fn whole_numbers_survive(value in 0_u64..1 << 50) {
            prop_assert_eq!(format!("{value}B").parse(), Ok(Bytes(value)));
            prop_assert_eq!(format!("{value}ns").parse(), Ok(Nanoseconds(value)));
        }
    }
}
