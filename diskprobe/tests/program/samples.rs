//! Samples partition the run: what they say adds up to the run and the summary, however the run ends, and so does
//! the histogram log.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use hdrhistogram::{
    Histogram,
    serialization::{
        Deserializer,
        interval_log::{IntervalLogIterator, LogEntry},
    },
};
use serde_json::Value;

use crate::support::{Ran, Running, folder, number, run, text};

/// Work for a run of some length: random reads of a small file, and where it is paced many of them.
const WORK: [&str; 6] = ["--create", "--span", "1MiB", "--block-size", "4KiB", "--queue-depth=4"];

/// Everything that must add up: each run's samples, and all runs and the log with the summary.
#[track_caller]
fn check_sums(ran: &Ran, log: &Path) {
    let (intervals, runs): (Vec<&Value>, Vec<&Value>) =
        ran.all("sample").into_iter().partition(|sample| sample["interval"].is_number());
    for one in &runs {
        let parts: Vec<&Value> =
            intervals.iter().copied().filter(|sample| sample["run"] == one["run"]).collect();
        assert!(!parts.is_empty(), "{one}");
        check_sum(&parts, one);
        for (index, part) in parts.iter().enumerate() {
            assert_eq!(part["interval"], index, "in their order");
        }
    }
    check_sum(&runs, ran.summary());
    check_log(log, ran.summary());
}

#[track_caller]
fn check_sum(parts: &[&Value], whole: &Value) {
    let sum = |key: &str| parts.iter().map(|part| number(part, key)).sum::<f64>();
    for key in ["bytes", "operations", "short_transfers"] {
        assert_eq!(sum(key), number(whole, key), "{key}");
    }
    for key in ["cpu_user_ns", "cpu_system_ns", "context_switches_voluntary", "context_switches_involuntary"]
    {
        let key = format!("usage.{key}");
        assert_eq!(sum(&key), number(whole, &key), "{key}");
    }
    if whole["interrupts"]["count"].is_number() {
        assert_eq!(sum("interrupts.count"), number(whole, "interrupts.count"));
    }
    for key in ["elapsed_s", "window_s"] {
        assert!((sum(key) - number(whole, key)).abs() < 1e-8, "{key}: {} of {whole}", sum(key));
    }
    // Depths weighted with their time.
    let in_flight =
        |of: &Value| of["in_flight_mean"].as_f64().map_or(0.0, |mean| mean * number(of, "window_s"));
    let all = parts.iter().map(|part| in_flight(part)).sum::<f64>();
    assert!((all - in_flight(whole)).abs() < 1e-6, "{all} of {whole}");
    for kind in ["submission_latency", "completion_latency", "total_latency", "response_time"] {
        // A part in which nothing ended has no latencies.
        let of = |key: &str| parts.iter().filter_map(|part| part[kind][key].as_f64()).collect::<Vec<_>>();
        let found = |key: &str| whole[kind][key].as_f64();
        assert_eq!(of("count").iter().sum::<f64>(), found("count").unwrap_or(0.0), "{kind}");
        assert_eq!(of("max_ns").into_iter().reduce(f64::max), found("max_ns"), "{kind}");
        assert_eq!(of("min_ns").into_iter().reduce(f64::min), found("min_ns"), "{kind}");
    }
}

/// The log has the histograms of all runs, in intervals that follow each other.
#[track_caller]
fn check_log(path: &Path, summary: &Value) {
    let log = fs::read(path).unwrap();
    let mut sums: HashMap<String, Histogram<u64>> = HashMap::new();
    let mut ends: HashMap<String, Duration> = HashMap::new();
    for entry in IntervalLogIterator::new(&log) {
        let LogEntry::Interval(interval) = entry.unwrap() else { continue };
        let tag = interval.tag().unwrap().as_str().to_owned();
        let bytes = base64(interval.encoded_histogram());
        let one: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
        let (begin, end) = (interval.start_timestamp(), ends.entry(tag.clone()).or_default());
        // The log has milliseconds.
        assert!(
            begin + Duration::from_millis(1) >= *end,
            "{tag}: {begin:?} overlaps with what ends at {end:?}"
        );
        *end = begin + interval.duration();
        sums.entry(tag).or_insert_with(|| Histogram::new(3).unwrap()).add(one).unwrap();
    }
    for kind in ["submission_latency", "completion_latency", "total_latency", "response_time"] {
        let logged = sums.get(kind).filter(|sum| !sum.is_empty());
        assert_eq!(logged.map(|sum| sum.len() as f64), summary[kind]["count"].as_f64(), "{kind}");
        assert_eq!(logged.map(|sum| sum.max() as f64), summary[kind]["max_ns"].as_f64(), "{kind}");
    }
}

/// Decodes standard base64.
fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().filter_map(|byte| ALPHABET.iter().position(|&digit| digit == byte));
    let (mut out, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for digit in digits {
        bits = bits << 6 | digit as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}

#[test]
fn samples_add_up_on_a_normal_end() {
    let folder = folder();
    let (path, log) = (folder.path().join("x"), folder.path().join("log"));
    let common = [&["read", text(&path), "--hlog", text(&log)][..], &WORK].concat();
    // No multiple of the interval, one interval only, several runs with a warm-up between, a pace, a total.
    for more in [
        &["--duration", "450ms", "--interval", "100ms"][..],
        &["--duration", "90ms", "--interval", "1s"],
        &[
            "--duration",
            "150ms",
            "--interval",
            "40ms",
            "--repeat",
            "3",
            "--warmup",
            "60ms",
            "--settle",
            "20ms",
        ],
        &["--duration", "450ms", "--interval", "100ms", "--rate", "1000/s"],
        &["--total", "200KiB", "--interval", "100ms", "--rate", "100/s", "--repeat", "2"],
        &["--total", "8MiB", "--interval", "10ms"],
    ] {
        let ran = run(&[&common[..], more].concat());
        ran.succeeds();
        check_sums(&ran, &log);
    }
}

#[test]
fn samples_add_up_when_a_run_is_interrupted_between_two_edges_or_before_the_first() {
    for interval in ["100ms", "1h"] {
        let folder = folder();
        let (path, log) = (folder.path().join("x"), folder.path().join("log"));
        let common = [&["read", text(&path), "--hlog", text(&log)][..], &WORK].concat();
        let more = ["--duration", "1h", "--rate", "500/s", "--interval", interval];
        let mut running = Running::start(&[&common[..], &more].concat());
        if interval == "1h" {
            running.wait_for(|record| record["record"] == "ready");
            std::thread::sleep(Duration::from_millis(300));
        } else {
            running.wait_for_operations();
            std::thread::sleep(Duration::from_millis(50));
        }
        let ran = running.interrupt();
        ran.succeeds();
        assert!(number(ran.summary(), "operations") > 0.0);
        check_sums(&ran, &log);
    }
}

#[test]
fn a_stall_is_in_one_interval_and_in_no_other() {
    let folder = folder();
    let (path, log) = (folder.path().join("x"), folder.path().join("log"));
    let common = [&["read", text(&path), "--hlog", text(&log)][..], &WORK].concat();
    for pace in [&["--rate", "1000/s"][..], &[]] {
        let more = ["--duration", "1h", "--interval", "100ms"];
        let mut running = Running::start(&[&common[..], &more, pace].concat());
        running.wait_for_operations();
        running.send("STOP");
        let stopped = Instant::now();
        std::thread::sleep(Duration::from_millis(700));
        running.send("CONT");
        let stall_s = stopped.elapsed().as_secs_f64();
        // Some of these samples are from before.
        (0..5).for_each(|_| running.wait_for_operations());
        let ran = running.interrupt();
        check_sums(&ran, &log);
        let longest = ran
            .all("sample")
            .iter()
            .filter(|sample| sample["interval"].is_number())
            .map(|sample| number(sample, "elapsed_s"))
            .fold(0.0, f64::max);
        assert!(longest >= stall_s - 0.2, "{longest} s of {stall_s} s");
        if !pace.is_empty() {
            assert!(number(ran.summary(), "response_time.max_ns") >= (stall_s - 0.2) * 1e9);
        }
    }
}

#[test]
fn a_rate_of_few_operations_is_over_the_window_of_the_run() {
    let folder = folder();
    let path = folder.path().join("x");
    let common = [&["read", text(&path), "--rate", "5/s"][..], &WORK].concat();
    // Begun at 0, 0.2, … 0.8 s: over the time from the first to the last this would be 6.25/s.
    let timed = run(&[&common[..], &["--duration", "1s"]].concat());
    timed.succeeds();
    let counted = run(&[&common[..], &["--total", "20KiB"]].concat());
    counted.succeeds();
    for ran in [&timed, &counted] {
        let summary = ran.summary();
        assert_eq!(summary["operations"], 5);
        assert!(number(summary, "window_s") >= 0.999, "{summary}");
        let rate = number(summary, "operations_per_s");
        assert!(rate <= 5.01 && (rate - 5.0 / number(summary, "window_s")).abs() < 1e-6, "{rate}");
    }
    assert_eq!(timed.summary()["elapsed_s"], timed.summary()["window_s"]);
    // This one ended with its last operation.
    assert!(number(counted.summary(), "elapsed_s") >= 0.799);
    let as_it_goes = run(&["read", text(&path), "--create", "--total", "1MiB"]);
    assert_eq!(as_it_goes.summary()["elapsed_s"], as_it_goes.summary()["window_s"]);
}

#[test]
fn a_start_time_ahead_costs_nothing_that_is_counted() {
    let folder = folder();
    let (path, log) = (folder.path().join("x"), folder.path().join("log"));
    let began = Instant::now();
    let common = [&["read", text(&path), "--hlog", text(&log)][..], &WORK].concat();
    let ran =
        run(&[&common[..], &["--start-at", "+600ms", "--duration", "250ms", "--interval", "100ms"]].concat());
    ran.succeeds();
    assert!(began.elapsed() >= Duration::from_millis(850));
    check_sums(&ran, &log);
    assert!(number(ran.summary(), "elapsed_s") < began.elapsed().as_secs_f64() - 0.59);
    let (usage, elapsed_s) = (&ran.summary()["usage"], number(ran.summary(), "elapsed_s"));
    // One worker and the conductor.
    let cpu_s = (number(usage, "cpu_user_ns") + number(usage, "cpu_system_ns")) / 1e9;
    assert!(cpu_s <= 2.0 * elapsed_s + 0.02, "{cpu_s} s of CPU time in {elapsed_s} s");
}

#[test]
fn what_is_held_back_by_quiet_is_in_the_run_and_the_summary() {
    let folder = folder();
    let (path, log) = (folder.path().join("x"), folder.path().join("log"));
    let common = [&["read", text(&path), "--hlog", text(&log), "--controlled"][..], &WORK].concat();
    let mut running =
        Running::controlled(&[&common[..], &["--duration", "1h", "--interval", "50ms"]].concat());
    running.wait_for(|record| record["record"] == "ready");
    // A controller that is late: nothing is done before.
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    running.tell("go");
    running.wait_for_operations();
    running.tell("quiet");
    running.wait_for(|record| record["record"] == "quiet");
    std::thread::sleep(Duration::from_millis(200));
    running.close();
    let ran = running.end();
    ran.succeeds();
    let summary = ran.summary();
    assert!(number(summary, "elapsed_s") <= began.elapsed().as_secs_f64());
    assert!(number(summary, "elapsed_s") >= 0.2);
    let told = ran.all("sample").iter().map(|sample| number(sample, "operations")).sum::<f64>();
    assert!(told < number(summary, "operations"), "the rest was held back");
    check_log(&log, summary);
}

/// Signals for [`Running`].
impl Running {
    fn send(&self, signal: &str) {
        let id = self.id().to_string();
        assert!(Command::new("kill").args([format!("-{signal}"), id]).status().unwrap().success());
    }
}
