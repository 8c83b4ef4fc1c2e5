//! A time to start at: a time of day, common to machines whose clocks agree, or so long from now.

use std::str::FromStr;

use crate::{Error, Result, clock, units::Nanoseconds};

/// When to start, typed as RFC 3339 in UTC, as seconds since 1970, or as `+4s` from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartTime {
    /// A time of day, in nanoseconds since 1970-01-01 UTC.
    At(u64),
    /// So many nanoseconds after the program has read its arguments.
    After(u64),
}

/// A start further away than this is a typing error, in nanoseconds: a day.
const FURTHEST_NS: u64 = 86_400 * clock::SECOND_NS;

impl StartTime {
    /// The time of day, in nanoseconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// When it has passed, or is more than a day away (exit code 2).
    pub fn resolve(self) -> Result<u64> {
        let now_ns = clock::wall_ns();
        let at_ns = match self {
            Self::At(at_ns) => at_ns,
            Self::After(ahead_ns) => now_ns.saturating_add(ahead_ns),
        };
        match at_ns.checked_sub(now_ns) {
            None => Err(Error::bad_arguments("the time of --start-at has passed")),
            Some(ahead_ns) if ahead_ns > FURTHEST_NS => {
                Err(Error::bad_arguments("the time of --start-at is more than a day away"))
            }
            Some(_) => Ok(at_ns),
        }
    }
}

impl FromStr for StartTime {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if let Some(ahead) = text.strip_prefix('+') {
            return ahead.parse().map(|Nanoseconds(ahead_ns)| Self::After(ahead_ns));
        }
        let (whole, fraction) = match text.trim_end_matches('Z').split_once('.') {
            Some((whole, fraction)) => (whole, fraction),
            None => (text.trim_end_matches('Z'), ""),
        };
        let seconds = if text.ends_with('Z') { utc_seconds(whole) } else { digits(whole) };
        seconds
            .zip(nanoseconds(fraction))
            .and_then(|(seconds, nanoseconds)| seconds.checked_mul(clock::SECOND_NS)?.checked_add(nanoseconds))
            .map(Self::At)
            .ok_or_else(|| {
                format!("`{text}` is not a start time; write +4s for so long from now, 2026-01-31T08:00:00Z, or seconds since 1970 as `date +%s.%N` gives them")
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
        let expected = Ok(StartTime::At(1_709_251_199_500_000_000));
        assert_eq!("2024-02-29T23:59:59.5Z".parse(), expected);
        assert_eq!("1709251199.5".parse(), expected);
        assert_eq!("1970-01-01T00:00:00Z".parse(), Ok(StartTime::At(0)));
    }

    #[test]
    fn a_relative_time_counts_from_now() {
        assert_eq!("+4s".parse(), Ok(StartTime::After(4_000_000_000)));
        let now_ns = clock::wall_ns();
        let at_ns = StartTime::After(4_000_000_000).resolve().unwrap();
        assert!((now_ns..now_ns + clock::SECOND_NS).contains(&(at_ns - 4_000_000_000)));
    }

    #[test]
    fn nonsense_and_the_past_are_refused() {
        for text in
            ["", "Z", "tomorrow", "2024-02-29", "2024-13-01T00:00:00Z", "1.5.5", "-1", "99999999999999999999"]
        {
            assert!(text.parse::<StartTime>().is_err(), "{text}");
        }
        for text in ["+", "+s", "+-4s", "++4s", "+4s Z"] {
            assert!(text.parse::<StartTime>().is_err(), "{text}");
        }
        for time in [StartTime::At(0), StartTime::At(u64::MAX), StartTime::After(u64::MAX)] {
            assert!(time.resolve().is_err(), "{time:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_panic(text in "[0-9TZ:.+s-]{0,30}") {
            let _ = text.parse::<StartTime>();
        }
    }
}
