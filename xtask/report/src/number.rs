//! Numbers as readers see them: one unit and one number of decimals per column or axis.

/// A unit with its prefix, and the decimals that go with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// What a stored number is divided by.
    divisor: f64,
    /// The unit as shown, such as `ms`; empty for plain counts.
    pub unit: String,
    /// Digits behind the point.
    decimals: usize,
}

impl Scale {
    /// The scale that shows numbers up to `largest`, stored in `unit`, with `digits` significant digits.
    pub fn of(unit: &str, largest: f64, digits: i32) -> Self {
        let (divisor, unit) = prefixed(unit, largest.abs());
        Self { decimals: decimals(largest / divisor, digits), divisor, unit }
    }

    /// The same for squares of numbers, such as variances: `largest` is a square.
    pub fn of_squares(unit: &str, largest: f64, digits: i32) -> Self {
        let (divisor, unit) = prefixed(unit, largest.abs().sqrt());
        let divisor = divisor * divisor;
        let unit = if unit.is_empty() { unit } else { format!("({unit})²").replace("(s)", "s") };
        Self { decimals: decimals(largest / divisor, digits), divisor, unit: tidy_square(&unit) }
    }

    /// With as many decimals as neighbours `step` apart need.
    pub fn for_steps(mut self, step: f64) -> Self {
        let step = step.abs() / self.divisor;
        self.decimals =
            if step > 0.0 { (-(step * 1.000_001).log10().floor()).clamp(0.0, 9.0) as usize } else { 0 };
        self
    }

    /// `value` without its unit.
    pub fn show(&self, value: f64) -> String {
        fixed(value / self.divisor, self.decimals)
    }

    /// `value` without its unit, with `+` before what is not negative.
    pub fn show_signed(&self, value: f64) -> String {
        signed(value / self.divisor, self.decimals)
    }

    /// `value` with its unit.
    pub fn with_unit(&self, value: f64) -> String {
        join(self.show(value), &self.unit)
    }

    /// `value` without its unit in as few characters as it takes, for ticks over many decades.
    pub fn compact(&self, value: f64) -> String {
        let value = value / self.divisor;
        let exponent = value.abs().log10().round();
        if value != 0.0 && !(-4.0..5.0).contains(&exponent) {
            const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
            let factor = value / 10_f64.powf(value.abs().log10().floor());
            let exponent = value.abs().log10().floor() as i32;
            let sign = if exponent < 0 { "⁻" } else { "" };
            let power: String = exponent
                .unsigned_abs()
                .to_string()
                .chars()
                .filter_map(|digit| Some(DIGITS[digit.to_digit(10)? as usize]))
                .collect();
            let factor =
                if (factor - 1.0).abs() < 1e-9 { String::new() } else { format!("{}·", factor.round()) };
            return format!("{factor}10{sign}{power}");
        }
        let text = fixed(value, decimals(value, 2));
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    }

    /// The unit in brackets, for the head of a column: ` (ms)`, or nothing for counts.
    pub fn in_brackets(&self) -> String {
        if self.unit.is_empty() { String::new() } else { format!(" ({})", self.unit) }
    }
}

/// Numbers and unit with a space that does not break, or the number alone.
fn join(number: String, unit: &str) -> String {
    if unit.is_empty() { number } else { format!("{number}\u{a0}{unit}") }
}

fn tidy_square(unit: &str) -> String {
    // Short units need no brackets: ms², but (Mbit/s)².
    match unit.strip_prefix('(').and_then(|rest| rest.strip_suffix(")²")) {
        Some(inner) if !inner.contains('/') => format!("{inner}²"),
        _ => unit.to_owned(),
    }
}

/// The divisor and the name of `unit` with the prefix that fits numbers up to `largest`.
fn prefixed(unit: &str, largest: f64) -> (f64, String) {
    const TIME: [(f64, &str); 4] = [(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")];
    const SI: [(f64, &str); 5] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")];
    let time = |one: f64| {
        let fits = TIME.iter().find(|(size, _)| largest * one >= *size);
        let (size, name) = fits.unwrap_or(if largest == 0.0 { &TIME[0] } else { &TIME[3] });
        (size / one, (*name).to_owned())
    };
    let si = |name: &str| {
        let (size, prefix) = SI.iter().find(|(size, _)| largest >= *size).unwrap_or(&SI[4]);
        (*size, format!("{prefix}{name}"))
    };
    match unit {
        "s" => time(1.0),
        "us" | "µs" => time(1e-6),
        "ns" => time(1e-9),
        "bits/s" => si("bit/s"),
        "bytes/s" => si("B/s"),
        "bytes" => si("B"),
        "1" | "" => (1.0, String::new()),
        other => (1.0, other.to_owned()),
    }
}

fn decimals(largest: f64, digits: i32) -> usize {
    if !largest.is_finite() || largest == 0.0 {
        return 0;
    }
    (digits - 1 - largest.abs().log10().floor() as i32).clamp(0, 9) as usize
}

/// `value` with `decimals` digits behind the point, a true minus sign, and thin spaces between the
/// thousands of long numbers. Never `-0`.
pub fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let negative = value < 0.0 && text.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    let mut shown = if negative { "−".to_owned() } else { String::new() };
    for (index, digit) in whole.char_indices() {
        if index > 0 && whole.len() > 4 && (whole.len() - index).is_multiple_of(3) {
            shown.push('\u{202f}');
        }
        shown.push(digit);
    }
    if let Some(fraction) = fraction {
        shown.push('.');
        shown.push_str(fraction);
    }
    shown
}

/// As [`fixed`], with `+` before what is above zero.
pub fn signed(value: f64, decimals: usize) -> String {
    let shown = fixed(value, decimals);
    let zero = !shown.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    if zero || shown.starts_with('−') { shown } else { format!("+{shown}") }
}

/// A ratio as the percentage by which it differs from 1: `+14.7 %`.
pub fn percent_change(ratio: f64) -> String {
    let percent = (ratio - 1.0) * 100.0;
    let decimals = if percent.abs() >= 99.95 {
        0
    } else if percent.abs() >= 9.995 {
        1
    } else {
        2
    };
    format!("{}\u{a0}%", signed(percent, decimals))
}

/// A ratio with digits that keep about three significant ones: `1.007`, `12.3`, `0.0412`.
pub fn ratio(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 2.0 => 2,
        v if v >= 0.1 || v == 0.0 => 3,
        _ => 4,
    };
    fixed(value, decimals)
}

/// `value` with four significant digits and the prefix that fits its `unit`.
pub fn single(value: f64, unit: &str) -> String {
    Scale::of(unit, value, 4).with_unit(value)
}

/// The number of runs or trials, with the word in the right number.
pub fn count(number: u64, word: &str) -> String {
    format!("{} {word}{}", fixed(number as f64, 0), if number == 1 { "" } else { "s" })
}

/// UTC date and time of nanoseconds since 1970, to the second: `2026-11-22 17:40:17 UTC`.
pub fn utc(wall_ns: u64) -> String {
    let seconds = wall_ns / 1_000_000_000;
    let (days, of_day) = ((seconds / 86_400) as i64, seconds % 86_400);
    // Days to a civil date, by Howard Hinnant's algorithm (era of 400 years from 1 March).
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// A length of time for people: `48 s`, `3 min 20 s`, `2 h 05 min`.
pub fn length(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_fits_the_largest_number() {
        let seconds = Scale::of("s", 21.986_38, 5);
        assert_eq!((seconds.show(19.164_42).as_str(), seconds.unit.as_str()), ("19.164", "s"));
        let milliseconds = Scale::of("s", 0.0271, 3);
        assert_eq!(milliseconds.with_unit(0.0099), "9.9\u{a0}ms");
        assert_eq!(Scale::of("bits/s", 751.5e6, 4).with_unit(694_578_000.0), "694.6\u{a0}Mbit/s");
        assert_eq!(Scale::of("ns", 1_520_000.0, 3).with_unit(1_520_000.0), "1.52\u{a0}ms");
        assert_eq!(Scale::of("1", 15_854.8, 4).with_unit(15_854.8), "15\u{202f}855");
        assert_eq!(Scale::of("s", 0.0, 4).with_unit(0.0), "0\u{a0}s");
        assert_eq!(Scale::of_squares("s", 0.00712, 3).with_unit(0.00712), "7120\u{a0}ms²");
        assert_eq!(Scale::of_squares("bits/s", 4e12, 3).with_unit(4e12), "4.00\u{a0}(Mbit/s)²");
    }

    #[test]
    fn decimals_follow_the_steps_of_an_axis() {
        assert_eq!(Scale::of("s", 20.0, 4).for_steps(0.5).show(19.5), "19.5");
        assert_eq!(Scale::of("s", 20.0, 4).for_steps(1.0).show(19.0), "19");
        assert_eq!(Scale::of("s", 20.0, 4).for_steps(0.02).show(19.02), "19.02");
    }

    #[test]
    fn signs_are_true_and_zero_has_none() {
        assert_eq!(fixed(-0.001, 1), "0.0");
        assert_eq!(fixed(-12_345.6, 1), "−12\u{202f}345.6");
        assert_eq!(signed(0.0, 2), "0.00");
        assert_eq!(signed(1.5, 1), "+1.5");
        assert_eq!(percent_change(1.147_25), "+14.7\u{a0}%");
        assert_eq!(percent_change(0.9943), "−0.57\u{a0}%");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_400_000_000_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(1_795_369_217_000_000_000), "2026-11-22 17:40:17 UTC");
        assert_eq!(length(7384.0), "2 h 03 min");
    }
}
