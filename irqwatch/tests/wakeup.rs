//! Every intended wake-up is found once, wherever the intervals and the end lie.

mod support;

use support::records;

#[test]
fn each_intended_wake_up_is_measured_or_missed_once() {
    // Duration, period and interval in milliseconds: no multiples of each other, an interval beyond the end, a
    // period beyond the interval, one that leaves a long rest.
    for (duration, period, interval) in
        [(250, 1, 100), (90, 1, 1000), (300, 70, 20), (600, 500, 200), (400, 1000, 100)]
    {
        let flag = |name: &str, ms: u64| [format!("--{name}"), format!("{ms}ms")];
        let flags = [flag("duration", duration), flag("period", period), flag("interval", interval)].concat();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let fixed = ["--json", "wakeup", "--cpus", "0", "--priority", "0", "--no-lock-memory"];
        let output = support::irqwatch(&[&fixed[..], &flags].concat());
        assert!(output.status.success(), "{output:?}");
        let records = records(&output);
        let summary = records.last().unwrap();
        let count = |record: &serde_json::Value| record["wakeup_latency"]["count"].as_u64().unwrap_or(0);
        let missed = summary["cpus"][0]["missed"].as_u64().unwrap();
        assert_eq!(count(summary) + missed, duration.div_ceil(period), "{flags:?}: {summary}");
        let samples = records.iter().filter(|record| record["record"] == "sample");
        assert_eq!(samples.map(count).sum::<u64>(), count(summary), "{flags:?}");
        // It does not end with its last wake-up: the time after that belongs to the measurement.
        let late_s = summary["elapsed_s"].as_f64().unwrap() - duration as f64 / 1e3;
        assert!(late_s >= 0.0, "{flags:?}: {summary}");
    }
}
