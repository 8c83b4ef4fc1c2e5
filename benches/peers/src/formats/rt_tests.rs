//! JSON of cyclictest and oslat (`--json=FILE`), one measuring thread.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Median and 99th percentile of the wake-up latency by cyclictest's histogram of whole microseconds,
/// in nanoseconds: the middle of the bucket, for a bucket holds what was cut off.
pub fn wakeup_latency_ns(json: &str) -> Result<(f64, f64)> {
    let thread = only_thread(json)?;
    let cycles = thread["cycles"].as_f64().context("cyclictest reports no cycles")?;
    let buckets = histogram(&thread)?;
    let percentile = |percent: f64| {
        let mut seen = 0.0;
        let reached = buckets.iter().find(|(_, count)| {
            seen += count;
            seen >= cycles * percent / 100.0
        });
        let (microseconds, _) = reached.context("cyclictest's histogram ends before that percentile")?;
        Ok::<f64, anyhow::Error>((microseconds + 0.5) * 1000.0)
    };
    Ok((percentile(50.0)?, percentile(99.0)?))
}

/// Interruptions per second of at least `threshold_us`. oslat's bucket n counts those of at least
/// n − 1 and less than n microseconds, its last one everything longer.
pub fn gaps_per_s(json: &str, threshold_us: u32) -> Result<f64> {
    let thread = only_thread(json)?;
    let seconds = thread["duration"].as_f64().filter(|seconds| *seconds > 0.0);
    let seconds = seconds.context("oslat reports no duration")?;
    let buckets = histogram(&thread)?;
    let long_enough = buckets.iter().filter(|(bucket, _)| *bucket > f64::from(threshold_us));
    Ok(long_enough.map(|(_, count)| count).sum::<f64>() / seconds)
}

fn only_thread(json: &str) -> Result<Value> {
    let mut document: Value = serde_json::from_str(json).context("no JSON was written")?;
    Ok(document["thread"]["0"].take())
}

/// The buckets, ascending.
fn histogram(thread: &Value) -> Result<Vec<(f64, f64)>> {
    let histogram = thread["histogram"].as_object().context("it reports no histogram")?;
    let mut buckets = histogram
        .iter()
        .map(|(bucket, count)| Some((bucket.parse().ok()?, count.as_f64()?)))
        .collect::<Option<Vec<(f64, f64)>>>()
        .context("its histogram has something else than numbers")?;
    ensure!(!buckets.is_empty(), "its histogram is empty");
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(buckets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_count_what_overflowed() {
        // cyclictest 2.4, shortened: 4 of 100 wake-ups beyond the histogram.
        let json =
            r#"{"num_threads":1,"thread":{"0":{"histogram":{"19":10,"20":45,"100":41},"cycles":100}}}"#;
        assert!(wakeup_latency_ns(json).unwrap_err().to_string().contains("ends before"));
        let json = json.replace("\"100\":41", "\"100\":44,\"9\":1");
        assert_eq!(wakeup_latency_ns(&json).unwrap(), (20_500.0, 100_500.0));
        assert!(wakeup_latency_ns(r#"{"thread":{"0":{"histogram":[],"cycles":1}}}"#).is_err());
    }

    #[test]
    fn gaps_from_the_threshold_on_count() {
        // oslat 2.4, shortened.
        let json = r#"{"thread":{"0":{"duration":2.0,"histogram":{"1":70669166,"5":32,"6":4,"1024":2}}}}"#;
        assert_eq!(gaps_per_s(json, 5).unwrap(), 3.0);
    }
}
