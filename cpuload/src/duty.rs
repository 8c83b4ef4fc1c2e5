//! A share of time, exact to a ten-thousandth of a percent.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

/// Parts in a whole: a duty is kept in millionths, so that decimals stay exact.
const WHOLE: u32 = 1_000_000;

/// The busy share of every period, above 0 and up to 100 %. Typed as `50`, `37.5` or `12.5%`;
/// stored in JSON as a number of percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duty(u32);

impl Duty {
    /// Always busy.
    pub const FULL: Self = Self(WHOLE);

    /// The share in percent.
    #[must_use]
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    /// That share of `ns` nanoseconds, rounded down.
    #[must_use]
    pub fn of_ns(self, ns: u64) -> u64 {
        (u128::from(ns) * u128::from(self.0) / u128::from(WHOLE)) as u64
    }

    /// Whether there is no idle time at all.
    #[must_use]
    pub fn is_full(self) -> bool {
        self == Self::FULL
    }
}

impl FromStr for Duty {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || {
            format!(
                "`{text}` is not a share in percent; give more than 0 and up to 100, with up to four decimals"
            )
        };
        let number = text.trim().trim_end_matches('%').trim_end();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || whole.len() > 3 || decimals.len() > 4 {
            return Err(invalid());
        }
        let millionths: u32 = format!("{whole}{decimals:0<4}").parse().map_err(|_| invalid())?;
        if (1..=WHOLE).contains(&millionths) { Ok(Self(millionths)) } else { Err(invalid()) }
    }
}

impl fmt::Display for Duty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.percent())
    }
}

impl Serialize for Duty {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.percent())
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Duty {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duty".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "number", "exclusiveMinimum": 0, "maximum": 100})
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_exact() {
        assert_eq!("37.5".parse::<Duty>().unwrap().of_ns(1_000_000_000), 375_000_000);
        assert_eq!("0.0001%".parse::<Duty>().unwrap().of_ns(1_000_000), 1);
        assert_eq!("100".parse(), Ok(Duty::FULL));
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for text in ["", "0", "-1", "100.1", "101", "1e1", ".5", "5.", "0.00001", "%", "٣", "1.2.3", "nan"] {
            assert!(text.parse::<Duty>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,12}") {
            let _ = text.parse::<Duty>();
        }

        #[test]
        fn what_is_shown_can_be_typed_again(millionths in 1_u32..=WHOLE) {
            prop_assert_eq!(Duty(millionths).to_string().parse(), Ok(Duty(millionths)));
        }
    }
}
