//! What the reference programs write: one JSON object, or receive timestamps.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The number at `key` of a reference program's only line.
pub fn number(output: &str, key: &str) -> Result<f64> {
    let value: Value = serde_json::from_str(output).context("the reference program gave no JSON")?;
    value[key].as_f64().with_context(|| format!("the reference program reports no {key}"))
}

/// How arrivals keep to an intended rate.
#[derive(Debug, PartialEq)]
pub struct Pacing {
    /// Distance of the mean rate from the intended one, in percent of it.
    pub rate_error_percent: f64,
    /// 90th percentile of the distance from the intended time, early or late, in nanoseconds: what a sender does
    /// while nothing takes its CPU away.
    pub p90_ns: f64,
    /// 99th percentile of the distance from the intended time, early or late, in nanoseconds.
    pub p99_ns: f64,
}

/// Share of the time at begin and end that is left out: handshakes, warm-up, the last burst.
const EDGE: f64 = 0.1;

/// Compares receive timestamps (native 64-bit nanoseconds) with `rate` packets per second.
///
/// Packet k is intended k gaps after a common origin. The origin is the one that puts as many packets
/// before their time as behind it, which is the kindest to every sender.
pub fn pacing(timestamps: &[u8], rate: f64) -> Result<Pacing> {
    let times: Vec<u64> = timestamps
        .chunks_exact(8)
        .map(|bytes| u64::from_ne_bytes(bytes.try_into().expect("chunks of 8")))
        .collect();
    let edge = (times.len() as f64 * EDGE) as usize;
    let times = &times[edge..times.len() - edge];
    ensure!(times.len() >= 1000, "only {} packets were seen", times.len());
    let (first, last) = (times[0], times[times.len() - 1]);
    ensure!(last > first, "the packets have no times");
    let gaps = (times.len() - 1) as f64;
    let measured_rate = gaps / (last - first) as f64 * 1e9;
    let gap_ns = 1e9 / rate;
    let mut late: Vec<f64> = times
        .iter()
        .enumerate()
        .map(|(index, &time)| time.saturating_sub(first) as f64 - index as f64 * gap_ns)
        .collect();
    let origin = middle(&mut late);
    let mut distance: Vec<f64> = late.iter().map(|late| (late - origin).abs()).collect();
    let mut percentile = |percent: usize| {
        let rank = distance.len() * percent / 100;
        *distance.select_nth_unstable_by(rank, f64::total_cmp).1
    };
    let rate_error_percent = (measured_rate / rate - 1.0).abs() * 100.0;
    Ok(Pacing { rate_error_percent, p90_ns: percentile(90), p99_ns: percentile(99) })
}

fn middle(values: &mut [f64]) -> f64 {
    let rank = values.len() / 2;
    *values.select_nth_unstable_by(rank, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(times: impl Iterator<Item = u64>) -> Vec<u8> {
        times.flat_map(u64::to_ne_bytes).collect()
    }

    #[test]
    fn an_exact_sender_has_no_error() {
        let exact = pacing(&bytes((0..10_000).map(|k| 1_000_000 + k * 20_000)), 50_000.0).unwrap();
        assert!(exact.rate_error_percent < 1e-9 && exact.p99_ns < 1.0, "{exact:?}");
    }

    #[test]
    fn bursts_of_a_millisecond_are_found() {
        // 50 packets at once each millisecond: up to half a millisecond before and behind their times.
        let bursts = pacing(&bytes((0..20_000).map(|k| k / 50 * 1_000_000)), 50_000.0).unwrap();
        assert!((480_000.0..=500_000.0).contains(&bursts.p99_ns), "{bursts:?}");
        assert!(bursts.rate_error_percent < 0.5);
    }

    #[test]
    fn a_sender_that_is_one_percent_slow_drifts() {
        let slow = pacing(&bytes((0..20_000).map(|k| k * 20_200)), 50_000.0).unwrap();
        assert!((slow.rate_error_percent - 100.0 / 101.0).abs() < 1e-6);
        assert!(slow.p99_ns > 1_500_000.0);
    }

    #[test]
    fn too_little_is_an_error() {
        assert!(pacing(&[], 1.0).is_err());
    }
}
