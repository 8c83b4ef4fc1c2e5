//! One program for all tools: when they begin and end, what their samples add up to, how they are controlled.
//!
//! Nothing here asks how long something took, but for a bound after which a tool counts as hanging: the
//! suite checks identities of counts and orders of times, which hold on a busy machine, too.

mod checks;
mod masked;
mod process;
mod rows;

use std::{thread, time::Duration};

use process::{Ended, Tool, run};
use rows::{OTHERS, ROWS, Row};
use serde_json::Value;

/// Runs `scenario` for every row and tells all that failed, not only the first. The environment variable
/// CONFORMANCE_ROWS keeps the rows that begin with its text, such as `netprobe rr`.
fn for_each(rows: impl IntoIterator<Item = Row>, scenario: impl Fn(Row)) {
    let mut failed = Vec::new();
    let wanted = std::env::var("CONFORMANCE_ROWS").unwrap_or_default();
    for row in rows.into_iter().filter(|row| row.args.starts_with(&wanted)) {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scenario(row)));
        if let Err(panic) = outcome {
            let text = panic.downcast_ref::<String>().cloned();
            failed.push(text.unwrap_or_else(|| format!("{}: {:?}", row.args, panic.downcast_ref::<&str>())));
        }
    }
    assert!(failed.is_empty(), "{} rows fail:\n{}", failed.len(), failed.join("\n\n"));
}

fn measuring() -> impl Iterator<Item = Row> {
    ROWS.iter().copied()
}

fn sleep_ms(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}

/// Long enough that only a stop ends it.
const HOUR: &str = "--duration 1h";

#[test]
fn a_run_that_is_no_multiple_of_its_interval_adds_up() {
    for_each(measuring(), |row| {
        let log = tempfile::NamedTempFile::new().expect("a file");
        let hlog = match row.latencies {
            [] => String::new(),
            _ => format!("--hlog {}", log.path().display()),
        };
        let ended = run(row, &format!("--duration 550ms --interval 200ms {hlog}"));
        ended.check_form().check_sums();
        assert!(!ended.samples().is_empty(), "{}: the time after the last edge has a sample", row.args);
        if !hlog.is_empty() {
            ended.check_log(log.path());
        }
    });
}

#[test]
fn an_interval_longer_than_the_run_gives_one_sample_of_all() {
    for_each(measuring().filter(|row| row.long_interval), |row| {
        let ended = run(row, "--duration 300ms --interval 1h");
        ended.check_form().check_sums();
        assert_eq!(ended.samples().len(), 1, "{}", row.args);
    });
}

#[test]
fn a_histogram_log_without_intervals_holds_everything() {
    for_each(measuring().filter(|row| !row.latencies.is_empty()), |row| {
        let log = tempfile::NamedTempFile::new().expect("a file");
        let ended = run(row, &format!("--duration 250ms --hlog {}", log.path().display()));
        ended.check_form().check_log(log.path());
    });
}

#[test]
fn a_stop_between_two_edges_loses_nothing() {
    for_each(measuring(), |row| {
        let mut tool = Tool::start(row, &format!("{HOUR} --interval 200ms"));
        tool.wait_for("sample");
        sleep_ms(70);
        tool.signal(libc::SIGINT);
        let ended = tool.end();
        ended.check_form().check_sums();
        assert!(ended.elapsed_s() < 3_600.0);
    });
}

#[test]
fn a_stop_before_the_first_edge_loses_nothing() {
    for_each(measuring(), |row| {
        let mut tool = Tool::start(row, &format!("{HOUR} --interval 1h"));
        tool.wait_for("ready");
        sleep_ms(250);
        tool.signal(libc::SIGTERM);
        tool.end().check_form().check_sums();
    });
}

#[test]
fn a_stop_right_after_the_start_is_a_summary_of_what_there_was() {
    for_each(measuring(), |row| {
        let mut tool = Tool::start(row, &format!("{HOUR} --interval 100ms"));
        tool.wait_for("ready");
        tool.signal(libc::SIGINT);
        tool.end().check_form().check_sums();
    });
}

#[test]
fn a_warm_up_is_in_no_figure() {
    for_each(measuring().filter(|row| row.warms_up), |row| {
        let ended = run(row, "--warmup 300ms --duration 250ms --interval 100ms");
        ended.check_form().check_sums();
        let mono_s = |record: &Value| record["mono_ns"].as_f64().expect("a time") / 1e9;
        let all_s = mono_s(ended.summary()) - mono_s(ended.of_kind("ready")[0]);
        assert!(ended.elapsed_s() <= all_s - 0.3, "{}: {} s of {all_s} s", row.args, ended.elapsed_s());
    });
}

#[test]
fn a_run_that_was_stopped_and_continued_adds_up() {
    for_each(measuring(), |row| {
        let mut tool = Tool::start(row, "--duration 1200ms --interval 200ms");
        tool.wait_for("sample");
        sleep_ms(50);
        tool.signal(libc::SIGSTOP);
        sleep_ms(500);
        tool.signal(libc::SIGCONT);
        tool.end().check_form().check_sums();
    });
}

/// A tool that is continued and interrupted at once ends between two edges that both have passed.
#[test]
fn a_stop_after_a_stall_adds_up() {
    for_each(measuring(), |row| {
        let mut tool = Tool::start(row, &format!("{HOUR} --interval 150ms"));
        tool.wait_for("sample");
        tool.signal(libc::SIGSTOP);
        sleep_ms(400);
        tool.signal(libc::SIGINT);
        tool.signal(libc::SIGCONT);
        tool.end().check_form().check_sums();
    });
}

#[test]
fn a_late_go_begins_the_measurement_there() {
    for_each(measuring(), |row| {
        let mut tool = Tool::start(row, &format!("{HOUR} --interval 100ms --controlled"));
        tool.wait_for("ready");
        sleep_ms(400);
        let before_go = tool.cpu_ticks();
        let go_ns = mono_ns();
        tool.order("go");
        tool.wait_for("sample");
        tool.close();
        let ended = tool.end();
        ended.check_form().check_sums();
        let summary = ended.summary();
        let since_go_s = (summary["mono_ns"].as_f64().expect("a time") - go_ns as f64) / 1e9;
        assert!(
            ended.elapsed_s() <= since_go_s,
            "{}: {} s, `go` {since_go_s} s ago",
            row.args,
            ended.elapsed_s()
        );
        // It slept until then: at most the set-up's CPU time, of which a tick is 10 ms.
        assert!(before_go <= 30, "{}: {before_go} ticks before `go`", row.args);
    });
}

#[test]
fn a_controller_that_goes_before_go_leaves_an_empty_summary() {
    for_each(measuring(), |row| {
        let mut tool = Tool::start(row, &format!("{HOUR} --interval 100ms --controlled"));
        tool.wait_for("ready");
        tool.close();
        let ended = tool.end();
        ended.check_form();
        for (_, of_summary) in row.sums {
            let count = ended.summary().pointer(of_summary).and_then(Value::as_f64).unwrap_or(0.0);
            assert_eq!(count, 0.0, "{}: {of_summary}", row.args);
        }
    });
}

#[test]
fn a_start_time_is_waited_for_asleep() {
    for_each(measuring().chain(OTHERS.iter().copied()), |row| {
        let duration = if row.timed { "--duration 200ms" } else { "" };
        let mut tool = Tool::start(row, &format!("{duration} --start-at +1500ms"));
        if !tool.reaches("ready") {
            assert_eq!(tool.end().code, Some(3), "{}: this machine lacks what it needs", row.args);
            return;
        }
        sleep_ms(200);
        let begin = tool.cpu_ticks();
        sleep_ms(600);
        let ticks = tool.cpu_ticks() - begin;
        let ended = tool.end();
        ended.check_form();
        let start_ns = ended.of_kind("start")[0]["start_wall_ns"].as_f64().expect("a start time");
        let ended_ns = ended.summary()["wall_ns"].as_f64().expect("a time");
        let elapsed_s = ended.summary()["elapsed_s"].as_f64().unwrap_or(0.0);
        assert!(ended_ns - elapsed_s * 1e9 >= start_ns - 1e6, "{}: it began before its time", row.args);
        assert!(ticks <= 6, "{}: {ticks} ticks of CPU time in 600 ms of waiting", row.args);
    });
}

#[test]
fn a_stop_while_it_waits_for_its_start_measures_nothing() {
    for_each(measuring(), |row| {
        let mut tool = Tool::start(row, &format!("{HOUR} --interval 100ms --start-at +1h"));
        tool.wait_for("ready");
        sleep_ms(50);
        tool.signal(libc::SIGINT);
        let ended = tool.end();
        ended.check_form();
        assert!(ended.samples().len() <= 1, "{}", row.args);
    });
}

#[test]
fn quiet_ends_the_samples_and_not_the_measurement() {
    for_each(measuring(), |row| {
        let mut tool = Tool::start(row, &format!("{HOUR} --interval 100ms --controlled"));
        tool.wait_for("ready");
        tool.order("go");
        tool.wait_for("sample");
        tool.order("quiet");
        tool.wait_for("quiet");
        sleep_ms(150);
        tool.close();
        let ended = tool.end();
        ended.check_form();
        let kinds: Vec<&Value> = ended.records.iter().map(|record| &record["record"]).collect();
        let quiet = kinds.iter().position(|kind| **kind == "quiet").expect("it was seen");
        assert_eq!(kinds[quiet + 1..], ["summary"], "{}", row.args);
        for (of_sample, of_summary) in row.sums {
            let of = |record: &Value, path: &str| record.pointer(path).and_then(Value::as_f64).unwrap_or(0.0);
            let told: f64 = ended.samples().iter().map(|sample| of(sample, of_sample)).sum();
            assert!(told <= of(ended.summary(), of_summary), "{}: {of_summary}", row.args);
        }
    });
}

#[test]
fn a_dry_run_tells_what_a_run_does() {
    for_each(measuring().chain(OTHERS.iter().copied()), |row| {
        // Ports and folders differ from run to run; what they are called does not matter.
        let config = |ended: &Ended| {
            let start = &ended.records[0];
            assert_eq!(start["record"], "start", "{}: {} {}", row.args, start, ended.stderr);
            start["config"].clone()
        };
        let flags = if row.timed { "--duration 100ms" } else { "" };
        let (dry, real) = (run(row, &format!("{flags} --dry-run")), run(row, flags));
        assert_eq!((dry.code, dry.records.len()), (Some(0), 1), "{}: {}", row.args, dry.stderr);
        assert_eq!(keyed(&config(&dry)), keyed(&config(&real)), "{}", row.args);
    });
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_told() {
    for_each(measuring().chain(OTHERS.iter().copied()), |row| {
        for flags in [
            "--duration 0s",
            "--duration x",
            "--start-at 1",
            "--start-at +2000h",
            "--no-such-flag",
            "--cpus x",
        ] {
            let ended = run(row, flags);
            assert_eq!(ended.code, Some(2), "{} {flags}: {}", row.args, ended.stderr);
            assert!(!ended.stderr.is_empty(), "{} {flags}", row.args);
            assert!(ended.of_kind("start").is_empty() && ended.of_kind("summary").is_empty(), "{flags}");
        }
    });
}

/// A configuration with the values that differ from run to run by design replaced by their type.
fn keyed(config: &Value) -> Value {
    match config {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), keyed(value))).collect(),
        Value::Array(values) => values.iter().map(keyed).collect(),
        Value::String(text) if text.contains("127.0.0.1:") || text.contains("/tmp/") => "a place".into(),
        other => other.clone(),
    }
}

/// CLOCK_MONOTONIC, as records have it.
fn mono_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    #[allow(unsafe_code)] // The standard library hides the number of its monotonic clock.
    // SAFETY: `time` is a valid timespec for the kernel to fill.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    assert_eq!(result, 0);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
