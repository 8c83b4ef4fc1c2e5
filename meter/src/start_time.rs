//! A time of day to start at, common to machines whose clocks agree.

use std::str::FromStr;

use serde::Serialize;

use crate::{Error, Result, clock};

/// A time of day: nanoseconds since 1970-01-01 UTC, typed as RFC 3339 in UTC or as seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct StartTime(u64);

/// A start further away than this is a typing error, in nanoseconds: a day.
const FURTHEST_NS: u64 = 86_400 * clock::SECOND_NS;

impl StartTime {
    /// The time, in nanoseconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// When it has passed, or is more than a day away (exit code 2).
    pub fn check(self) -> Result<u64> {
        match self.0.checked_sub(clock::wall_ns()) {
            None => Err(Error::bad_arguments("the time of --start-at has passed")),
            Some(ahead) if ahead > FURTHEST_NS => {
                Err(Error::bad_arguments("the time of --start-at is more than a day away"))
            }
            Some(_) => Ok(self.0),
        }
    }
}

impl FromStr for StartTime {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (whole, fraction) = match text.trim_end_matches('Z').split_once('.') {
            Some((whole, fraction)) => (whole, fraction),
            None => (text.trim_end_matches('Z'), ""),
        };
        let seconds = if text.ends_with('Z') { utc_seconds(whole) } else { digits(whole) };
        seconds
            .zip(nanoseconds(fraction))
            .and_then(|(seconds, nanoseconds)| seconds.checked_mul(clock::SECOND_NS)?.checked_add(nanoseconds))
            .map(Self)
            .ok_or_else(|| {
                format!("`{text}` is not a time of day; write 2026-01-31T08:00:00Z, or seconds since 1970 as `date +%s.%N` gives them")
            })
    }
}

fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Up to nine decimals as nanoseconds.
fn nanoseconds(fraction: &str) -> Option<u64> {
    (fraction.len() <= 9).then(|| digits(&format!("{fraction:0<9}")))?
}

/// Seconds since 1970 of `YYYY-MM-DDThh:mm:ss`.
fn utc_seconds(text: &str) -> Option<u64> {
    let (date, time) = text.split_once('T')?;
    let parts = |text: &str, separator| text.split(separator).map(digits).collect::<Option<Vec<_>>>();
    let (date, time) = (parts(date, '-')?, parts(time, ':')?);
    let (&[year, month, day], &[hour, minute, second]) = (date.as_slice(), time.as_slice()) else {
        return None;
    };
    let in_range = (1970..10_000).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    in_range.then(|| days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days of the Gregorian calendar since 1970-01-01, by counting years from March so that the leap day
/// comes last.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    const DAYS_TO_1970_FROM_MARCH_0: u64 = 719_468;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - DAYS_TO_1970_FROM_MARCH_0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_notations_mean_the_same() {
        let expected = Ok(StartTime(1_709_251_199_500_000_000));
        assert_eq!("2024-02-29T23:59:59.5Z".parse(), expected);
        assert_eq!("1709251199.5".parse(), expected);
        assert_eq!("1970-01-01T00:00:00Z".parse(), Ok(StartTime(0)));
    }

    #[test]
    fn nonsense_and_the_past_are_refused() {
        for text in
            ["", "Z", "tomorrow", "2024-02-29", "2024-13-01T00:00:00Z", "1.5.5", "-1", "99999999999999999999"]
        {
            assert!(text.parse::<StartTime>().is_err(), "{text}");
        }
        assert!(StartTime(0).check().is_err());
        assert!(StartTime(u64::MAX).check().is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_panic(text in "[0-9TZ:.-]{0,30}") {
            let _ = text.parse::<StartTime>();
        }
    }
}
