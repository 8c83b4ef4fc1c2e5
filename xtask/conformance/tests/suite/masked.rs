//! Files of /proc and /sys that a container masks or leaves out: what can't be seen is `null`, or refused, and never
//! zero. The files are really masked, in a mount namespace of each tool's own; without root that is skipped.

use std::process::Command;

use serde_json::Value;

use crate::{
    for_each, measuring,
    process::{Ended, run},
    rows::{OTHERS, ROWS, Row},
};

/// Keys of numbers that come from the files that are masked here.
const COUNTED: [&str; 10] = [
    "interrupts",
    "interrupts_per_s",
    "interrupts_per_cpu_s",
    "cost_per_interrupt_ns",
    "softirqs",
    "irq_ns",
    "softirq_ns",
    "steal_ns",
    "steal_percent",
    "total_load_percent",
];

/// These tell the whole load of their CPUs.
const PINNED: [&str; 2] = ["cpuload --cpus 0 --duty 20", "cpuload --cpus 0 --hold 20"];

/// Runs every row where `mounts` succeed; says what is skipped where they do not.
fn run_masked(mounts: &'static str, check: impl Fn(&Ended)) {
    let tried =
        Command::new("unshare").args(["--mount", "--propagation", "private", "sh", "-c", mounts]).output();
    match tried {
        Ok(output) if output.status.success() => {}
        tried => {
            eprintln!("skipped: `{mounts}` in a mount namespace needs root: {tried:?}");
            return;
        }
    }
    let rows = measuring().chain(OTHERS.iter().copied()).chain(PINNED.map(|args| Row { args, ..ROWS[0] }));
    for_each(rows.filter(|row| !is_endless(row)), |row| {
        let flags = if row.timed { "--duration 250ms" } else { "" };
        let ended = run(Row { mounts, ..row }, flags);
        match ended.code {
            Some(0) => check(&ended),
            Some(3) => {
                let error = ended.records.last().unwrap_or_else(|| panic!("{}: no record", row.args));
                assert_eq!(error["record"], "error", "{}: {error}", row.args);
            }
            code => panic!("{}: exit code {code:?}: {:?} {}", row.args, ended.records.last(), ended.stderr),
        }
    });
}

fn is_endless(row: &Row) -> bool {
    row.args.starts_with("netprobe serve")
}

/// Whether the row has nothing to tell without /proc/interrupts.
fn is_of_interrupts(args: &str) -> bool {
    ["irqwatch", "irqwatch {flags} run -- sleep 0.1", "irqwatch {flags} affinity"].contains(&args)
}

/// Every place below `value` where one of `keys` is a number.
fn numbers(value: &Value, keys: &[&str], path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = format!("{path}/{key}");
                if keys.contains(&key.as_str()) && (value.is_number() || value["count"].is_number()) {
                    found.push(format!("{path} = {value}"));
                }
                numbers(value, keys, &path, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| numbers(value, keys, path, found)),
        _ => {}
    }
}

/// No sample and no summary has a number for what was masked, and what is counted says why not.
fn check_unknown(ended: &Ended) {
    let name = ended.row.args;
    assert!(!is_of_interrupts(name), "{name}: it has nothing to count, and succeeds");
    let mut found = Vec::new();
    for record in ended.records.iter().filter(|record| record["record"] != "start") {
        numbers(record, &COUNTED, "", &mut found);
    }
    assert!(found.is_empty(), "{name}: numbers from files that are masked: {found:?}");
    let summary = ended.summary();
    if let Some(counted) = summary["interrupts"].as_object() {
        assert!(counted["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{name}: {counted:?}");
    }
    if name.starts_with("irqwatch") && summary.get("machine").is_some() {
        assert!(summary["notes"].to_string().contains("/proc/interrupts"), "{name}: {}", summary["notes"]);
    }
}

#[test]
fn masked_files_are_unknown() {
    run_masked(
        "for file in /proc/interrupts /proc/softirqs /proc/stat /proc/cpuinfo /proc/meminfo \
         /sys/devices/system/cpu/online /sys/devices/system/clocksource/clocksource0/current_clocksource; \
         do mount --bind /dev/null $file || exit 1; done",
        |ended| {
            check_unknown(ended);
            let host = &ended.of_kind("start")[0]["host"];
            for fact in ["cpu_model", "cpus_online", "clock_source", "memory_bytes"] {
                assert!(host.get(fact).is_some_and(Value::is_null), "{}: {fact}: {host}", ended.row.args);
            }
        },
    );
}

#[test]
fn a_proc_of_processes_only_leaves_the_rest_unknown() {
    run_masked("mount -t proc -o subset=pid proc /proc", check_unknown);
}

/// As container runtimes do by default.
#[test]
fn masked_interrupts_alone_leave_the_rest_known() {
    run_masked("mount --bind /dev/null /proc/interrupts", |ended| {
        let name = ended.row.args;
        assert!(!is_of_interrupts(name), "{name}: it has nothing to count, and succeeds");
        if name.starts_with("irqwatch") {
            let mut found = Vec::new();
            numbers(
                ended.summary(),
                &["interrupts", "interrupts_per_s", "cost_per_interrupt_ns"],
                "",
                &mut found,
            );
            assert!(found.is_empty(), "{name}: {found:?}");
        }
        if let Some(machine) = ended.summary().get("machine") {
            assert!(
                machine["softirqs"].is_number() && machine["softirq_ns"].is_number(),
                "{name}: {machine}"
            );
        }
    });
}
