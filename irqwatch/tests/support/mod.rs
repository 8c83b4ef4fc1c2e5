//! What the tests of this folder share: the binary, its records, and whether root is at hand.
#![allow(dead_code)] // Each test file uses a part of it.

use std::process::{Command, Output};

use serde_json::Value;

pub const IRQWATCH: &str = env!("CARGO_BIN_EXE_irqwatch");

pub fn irqwatch(arguments: &[&str]) -> Output {
    Command::new(IRQWATCH).args(arguments).output().expect("irqwatch starts")
}

pub fn records(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    let json = text.lines().filter(|line| line.starts_with('{'));
    json.map(|line| serde_json::from_str(line).expect("a record is JSON")).collect()
}

/// The summary of a run that must have succeeded.
pub fn summary(arguments: &[&str]) -> Value {
    let output = irqwatch(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    let summary = records(&output).pop().expect("a summary");
    assert_eq!(summary["record"], "summary");
    summary
}

/// Whether this is root; says what is skipped where not.
pub fn is_root(what: &str) -> bool {
    let root = std::fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| status.lines().any(|line| line.starts_with("CapEff:") && line.contains("1ff")));
    if !root {
        eprintln!("skipped: {what} needs root");
    }
    root
}

/// Interrupts of the source with that name on that CPU, or on all.
pub fn count(summary: &Value, name: &str, cpu: Option<u64>) -> u64 {
    let sources = summary["sources"].as_array().or_else(|| summary["machine"]["sources"].as_array()).unwrap();
    let named = sources.iter().filter(|source| source["name"] == name);
    match cpu {
        None => named.map(|source| source["count"].as_u64().unwrap()).sum(),
        Some(cpu) => named
            .flat_map(|source| source["cpus"].as_array().unwrap())
            .filter(|on| on["cpu"] == cpu)
            .map(|on| on["count"].as_u64().unwrap())
            .sum(),
    }
}
