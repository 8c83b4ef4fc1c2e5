//! The real binary: records, exit codes, control, bad arguments.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

fn cpuload(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cpuload")).args(arguments).output().expect("cpuload starts")
}

fn records(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).expect("a record is JSON")).collect()
}

#[test]
fn a_run_gives_start_ready_samples_and_a_summary() {
    let output =
        cpuload(&["--cpus", "0", "--duty", "20", "--duration", "400ms", "--interval", "100ms", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let records = records(&output);
    let kinds: Vec<&str> = records.iter().map(|record| record["record"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["start", "ready", "sample", "sample", "sample", "sample", "summary"]);
    let summary = &records[6];
    assert_eq!(summary["target_duty_percent"], 20.0);
    assert_eq!(summary["workers"][0]["cpu"], 0);
    assert!(summary["operations"].as_u64() > Some(0));
}

#[test]
fn a_controlled_load_ends_when_its_controller_goes_away() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cpuload"))
        .args(["--cpus", "0", "--duration", "1h", "--controlled", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut orders = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("\"ready\"") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the tool ended before it was ready");
    }
    orders.write_all(b"go\n").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    drop(orders);
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success());
    let summary: Value = serde_json::from_str(rest.lines().last().unwrap()).unwrap();
    assert_eq!(summary["record"], "summary");
    assert!(summary["elapsed_s"].as_f64().unwrap() < 30.0);
    assert!(summary["operations"].as_u64() > Some(0));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for arguments in [
        &["--duty", "0"][..],
        &["--duty", "101"],
        &["--duration", "0"],
        &["--period", "0"],
        &["--kernel", "nothing"],
        &["--interval", "0s"],
        &["--hlog", "/tmp/x"],
    ] {
        let output = cpuload(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(!output.stderr.is_empty());
    }
    assert_eq!(cpuload(&["--cpus", "9999"]).status.code(), Some(3));
}
