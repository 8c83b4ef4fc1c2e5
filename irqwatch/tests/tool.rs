//! The real binary: records, exit codes, bad arguments.

use std::process::{Command, Output};

use serde_json::Value;

fn irqwatch(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_irqwatch")).args(arguments).output().expect("irqwatch starts")
}

fn records(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).expect("a record is JSON")).collect()
}

#[test]
fn a_watch_gives_the_samples_that_were_asked_for() {
    let output = irqwatch(&["--interval", "50ms", "--count", "3", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let records = records(&output);
    let kinds: Vec<&str> = records.iter().map(|record| record["record"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["start", "ready", "sample", "sample", "sample", "summary"]);
    assert!(!records[5]["sources"].as_array().unwrap().is_empty(), "some interrupt came in 150 ms");
}

#[test]
fn a_command_is_run_and_its_exit_code_told() {
    let output = irqwatch(&["--json", "run", "--", "sh", "-c", "sleep 0.05; exit 7"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let summary = records(&output).pop().unwrap();
    assert_eq!(summary["command"]["exit_code"], 7);
    assert!(summary["elapsed_s"].as_f64().unwrap() >= 0.05);
}

#[test]
fn what_makes_no_sense_is_refused() {
    for arguments in [
        &["--interval", "0"][..],
        &["--count", "0"],
        &["--count", "2", "--duration", "1s"],
        &["run"],
        &["run", "--", "/no/such/program"],
    ] {
        let output = irqwatch(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(!output.stderr.is_empty());
    }
}
