//! When a load begins and ends, and that its samples partition its time.

use std::process::{Command, Output};

use serde_json::Value;

fn cpuload(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cpuload")).args(arguments).output().expect("cpuload starts")
}

fn records(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).expect("a record is JSON")).collect()
}

/// A holder that takes the wait before the start for idle time makes up for it with a load of 90 %.
#[test]
fn a_total_is_held_from_a_later_start_on() {
    let output = cpuload(&[
        "--json",
        "--cpus",
        "0",
        "--hold",
        "30",
        "--period",
        "50ms",
        "--start-at",
        "+2s",
        "--duration",
        "1s",
    ]);
    let summary = records(&output).pop().unwrap();
    assert_eq!(summary["record"], "summary", "{output:?}");
    // Others on this CPU make it less; only idle time that was before the start makes it more. The kernel tells
    // idle time in clock ticks, two of which are 2 % of the time.
    let duty = summary["duty_percent"].as_f64().unwrap();
    assert!(duty <= 40.0, "{summary}");
    assert!(summary["demanded_ns"].as_u64().unwrap() <= 400_000_000, "{summary}");
}

/// A period of a century began before any machine was started: its zero has no time of the machine's clock.
#[test]
fn a_phase_whose_period_began_before_the_machine_did_loads_from_the_first_instant() {
    let century = format!("{}h", 100 * 365 * 24);
    let output =
        cpuload(&["--json", "--cpus", "0", "--phase", "0%", "--period", &century, "--duration", "200ms"]);
    assert!(output.status.success(), "{output:?}");
    let summary = records(&output).pop().unwrap();
    assert_eq!(summary["demanded_ns"], 200_000_000, "{summary}");
    assert!(summary["operations"].as_u64() > Some(0), "{summary}");
}

#[test]
fn a_load_that_did_nothing_is_not_trusted() {
    // Such windows end before the worker has woken for them.
    let output =
        cpuload(&["--json", "--cpus", "0", "--period", "1us", "--duty", "50", "--duration", "300ms"]);
    let summary = records(&output).pop().unwrap();
    if summary["operations"] == 0 {
        assert_eq!(output.status.code(), Some(4), "{summary}");
        assert!(summary["warnings"][0].as_str().unwrap().contains("no operation was done"), "{summary}");
    }
}

#[test]
fn samples_partition_the_run() {
    for more in [&[][..], &["--warmup", "150ms"], &["--operations", "100000"]] {
        let arguments =
            ["--json", "--workers", "2", "--duty", "60", "--interval", "100ms", "--duration", "350ms"];
        let output = cpuload(&[&arguments[..], more].concat());
        let mut records = records(&output);
        let summary = records.pop().unwrap();
        assert_eq!(summary["record"], "summary", "{output:?}");
        let samples: Vec<&Value> = records.iter().filter(|record| record["record"] == "sample").collect();
        let sum = |of: &dyn Fn(&Value) -> f64| samples.iter().map(|sample| of(sample)).sum::<f64>();
        let number = |record: &Value, key: &str| record[key].as_f64().unwrap();
        assert_eq!(sum(&|sample| number(sample, "operations")), number(&summary, "operations"), "{more:?}");
        let elapsed_s = sum(&|sample| number(sample, "elapsed_s"));
        assert!((elapsed_s - number(&summary, "elapsed_s")).abs() < 1e-6, "{more:?}: {samples:?} {summary}");
        if samples.iter().all(|sample| sample["duty_percent"].is_f64()) {
            let cpu_ns =
                sum(&|sample| number(sample, "duty_percent") / 100.0 * number(sample, "elapsed_s") * 2e9);
            assert!((cpu_ns - number(&summary, "cpu_ns")).abs() < 1_000.0, "{more:?}: {cpu_ns} {summary}");
        }
        for (index, worker) in summary["workers"].as_array().unwrap().iter().enumerate() {
            let of_worker = sum(&|sample| sample["worker_operations"][index].as_f64().unwrap());
            assert_eq!(of_worker, number(worker, "operations"));
        }
    }
}
