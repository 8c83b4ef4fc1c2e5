//! Files of /proc that a container masks: what can't be seen is unknown, never zero.
//!
//! Needs root and unshare(1); where they are missing each test says so and passes.

mod support;

use std::process::{Command, Output};

use serde_json::Value;
use support::IRQWATCH;

/// Runs `irqwatch` where `mask`, a shell command, was done in a mount namespace of its own.
fn masked(mask: &str, words: &[&str]) -> Option<Output> {
    let inside = |command: &[&str]| {
        let script = format!("{mask} && exec \"$@\"");
        Command::new("unshare").args(["--mount", "sh", "-c", &script, "sh"]).args(command).output()
    };
    if !inside(&["true"]).is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: `{mask}` in a mount namespace needs root and unshare(1)");
        return None;
    }
    Some(inside(&[&[IRQWATCH, "--json"], words].concat()).unwrap())
}

fn summary(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.contains("\"record\":\"summary\""));
    serde_json::from_str(line.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr))))
        .unwrap()
}

const EMPTY: &str = "mount --bind /dev/null /proc/interrupts";
const PROCESSES_ONLY: &str = "mount -t proc -o subset=pid proc /proc";

#[test]
fn what_counts_interrupts_refuses_a_place_that_shows_none() {
    for mask in [EMPTY, PROCESSES_ONLY] {
        for words in [&["--duration", "200ms"][..], &["run", "--", "true"], &["affinity"]] {
            let Some(output) = masked(mask, words) else { return };
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(3), "{mask} {words:?}: {told}");
            assert!(told.contains("/proc/interrupts"), "{told}");
        }
    }
}

#[test]
fn latencies_are_measured_without_the_table_and_say_so() {
    for words in [
        &["gaps", "--cpus", "0", "--duration", "200ms"][..],
        &["wakeup", "--sched", "other", "--no-lock-memory", "--cpus", "0", "--duration", "200ms"],
    ] {
        let Some(output) = masked(EMPTY, words) else { return };
        let summary = summary(&output);
        assert!(summary["machine"]["interrupts"].is_null(), "{words:?}: {summary}");
        assert!(summary["machine"]["interrupts_per_s"].is_null());
        assert!(summary["machine"]["softirqs"].is_u64(), "that table is there");
        assert!(summary["notes"].to_string().contains("/proc/interrupts"), "{summary}");
        if words[0] == "gaps" {
            assert!(summary["cpus"][0]["interrupts"].is_null());
            assert!(summary["cpus"][0]["cost_per_interrupt_ns"].is_null());
        }
    }
}
