//! A results folder as a matrix leaves it, made from a seed: effects that are known, some trials that
//! did not complete, and a cell without any.

use std::{fs, path::Path};

use meter::random::Random;
use serde_json::json;

use plan::schedule;
use plan::{Cell, Overrides, Plan};
use results::{
    journal::{self, Facts, Header, Journal, Proof, Trial},
    outcome::Outcome,
};

/// The platform of the sample, with characters that no page may take for markup.
pub const PLATFORM: &str = "network namespaces on one kernel, no hypervisor <sample & test>";
/// A reason that tries to be markup.
pub const HOSTILE: &str = "<script>alert('x')</script> & \"quotes\"";
/// The cell that has no trial.
pub const WITHOUT_TRIALS: &str = "net-receive/virtual/udp@a";
/// The cell of whose trials one took so long that the host was asked.
pub const LOOKED_AT: &str = "disk/native/none";
/// The cell whose trials were all skipped.
pub const SKIPPED: &str = "disk/virtual/cpu@a";
/// Seconds that the virtual disk is slower than native while guest A is flooded.
pub const FLOOD_COSTS_S: f64 = 2.8;

/// The shipped plan with that many repetitions.
pub fn plan(repetitions: u32) -> Plan {
    let path = tools::workspace().join("plans/ipsj-2010.toml");
    let overrides = Overrides { repetitions: Some(repetitions), ..Overrides::default() };
    plan::load(&path, &overrides).unwrap().0
}

/// Writes the plan and a journal into `folder`.
pub fn write(folder: &Path, plan: &Plan) {
    let text = toml::to_string(plan).unwrap();
    fs::write(folder.join("plan.toml"), &text).unwrap();
    let cells = plan::expand(plan).unwrap();
    let header = header(plan, &cells, &text);
    let mut at_ns = header.started_wall_ns;
    let mut journal = Journal::begin(folder, header).unwrap();
    for domain in ["native", "b"] {
        let host = json!({"host": format!("host-of-{domain}"), "kernel": "6.11", "governor": null, "clock_read_ns": 21});
        journal.facts(Facts { domain: domain.into(), host }).unwrap();
    }
    let mut random = Random::new(42);
    let mut sequence = 0;
    for slot in schedule::order(cells.len(), plan.repetitions, plan.seed) {
        let cell = &cells[slot.cell];
        for attempt in 0..2 {
            let Some(mut trial) = trial(cell, slot.repetition, attempt, &mut random) else { break };
            (trial.sequence, trial.started_wall_ns) = (sequence, at_ns);
            at_ns += (trial.wall_s * 1e9) as u64;
            sequence += 1;
            let again = !trial.outcome.is_final(attempt);
            journal.trial(trial).unwrap();
            if !again {
                break;
            }
        }
    }
}

fn header(plan: &Plan, cells: &[Cell], text: &str) -> Header {
    let header = json!({
        "schema": journal::SCHEMA_VERSION, "version": "0.1.0", "plan_sha256": tools::sha256(text.as_bytes()), "seed": plan.seed,
        "started_wall_ns": 1_795_369_217_000_000_000_u64, "platform": PLATFORM,
        "host": {
            "host": "bench", "kernel": "6.12.0", "architecture": "x86_64", "cpu_model": "Sample CPU",
            "cpus_allowed": "0-1", "cpus_online": 2, "hypervisor": null, "governor": "performance",
            "clock_source": "tsc", "clock_read_ns": 21, "memory_bytes": 25_282_101_248_u64,
        },
        "domain_cpus": {"native": "0-1", "dom0": "0-1", "a": "0", "b": "1", "generator": "0"},
        "notes": [
            "This machine has 2 CPUs, the plan wants 5: a shares CPU 0 with dom0 and generator.",
            "Without a hypervisor these are containers on one kernel: nothing here says what Xen would cost.",
        ],
        "tools_sha256": {
            "cpuload": "1d".repeat(32), "diskprobe": "8a".repeat(32), "netprobe": "c4".repeat(32),
            "udpsend": "77".repeat(32),
        },
        "cells": cells,
        "trials": cells.len() as u64 * u64::from(plan.repetitions),
    });
    serde_json::from_value(header).unwrap()
}

/// One trial; nothing for the cell without trials, and no second attempt but after an invalid one.
fn trial(cell: &Cell, repetition: u32, attempt: u32, random: &mut Random) -> Option<Trial> {
    let name = cell.name();
    if name == WITHOUT_TRIALS {
        return None;
    }
    let (outcome, stage, reason) = ending(&name, repetition, attempt);
    let measured = matches!(outcome, Outcome::Completed | Outcome::Invalid);
    let mut trial: Trial = serde_json::from_value(json!({
        "sequence": 0, "cell": cell, "repetition": repetition, "attempt": attempt, "outcome": outcome,
        "stage": stage, "reason": reason, "started_wall_ns": 0, "wall_s": 1.0, "probe_s": 0.0,
        "metrics": {}, "interrupt_sources": [], "proofs": [],
        "stages_s": {"attach": 0.25, "attach.switch": 0.125, "probe": 0.5},
        "looked_at_s": if name == LOOKED_AT && repetition == 1 { vec![9.5] } else { Vec::new() },
    }))
    .unwrap();
    if measured {
        if cell.probe == "disk" {
            disk(cell, &mut trial, random);
        } else {
            network(cell, &mut trial, random);
        }
        trial.proofs = proofs(&cell.load, outcome == Outcome::Invalid, random);
    }
    Some(trial)
}

fn ending(cell: &str, repetition: u32, attempt: u32) -> (Outcome, Option<&'static str>, Option<String>) {
    let because = |outcome, stage, reason: &str| (outcome, Some(stage), Some(reason.to_owned()));
    match (cell, repetition, attempt) {
        (SKIPPED, ..) => {
            because(Outcome::Skipped, "attach", "no loop device here: /dev/loop-control: permission denied")
        }
        ("disk/virtual/udp@a", 2 | 11, 0) => {
            because(Outcome::Invalid, "proof", "udpsend in a: delivered_pps 412 below 1000")
        }
        ("disk/passthrough/udp@a", 4, _) => because(Outcome::Failed, "probe", HOSTILE),
        ("net-send/virtual/udp@a", 7, _) => because(Outcome::TimedOut, "probe", "not ended after 600 s"),
        _ => (Outcome::Completed, None, None),
    }
}

fn normal(random: &mut Random) -> f64 {
    (-2.0 * random.unit().ln()).sqrt() * (std::f64::consts::TAU * random.unit()).cos()
}

fn disk(cell: &Cell, trial: &mut Trial, random: &mut Random) {
    let (slower, stdev) = match (cell.attachment.as_str(), cell.load.as_str()) {
        ("dom0", _) => (-7.9, 0.02),
        ("passthrough", "none") => (0.106, 0.022),
        ("passthrough", _) => (0.33, 0.02),
        ("virtual", "udp@a") => (FLOOD_COSTS_S, 0.085),
        ("virtual", _) => (0.35, 0.03),
        _ => (0.0, 0.015),
    };
    let stall = if random.unit() < 0.04 { random.unit() * 0.12 } else { 0.0 };
    let elapsed = 19.164 + slower + stdev * normal(random) + stall;
    let bytes = 1_048_576_000.0;
    let p50 = 1e9 * elapsed / 1000.0 * (1.0 + 0.02 * normal(random));
    trial.metrics = [
        ("elapsed", elapsed),
        ("throughput", bytes / elapsed),
        ("written", bytes),
        ("latency_p50", p50),
        ("latency_p99", p50 * (1.4 + 0.1 * random.unit())),
        ("latency_max", p50 * (2.0 + 3.0 * random.unit())),
        ("interrupts", (15_850.0 + 200.0 * normal(random)).round()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    trial.interrupt_sources = if cell.attachment == "virtual" {
        vec!["loop0".into(), "virtio1-req.0".into()]
    } else {
        vec!["virtio1-req.0".into()]
    };
    (trial.wall_s, trial.probe_s) = (elapsed + 22.0, elapsed + 21.5);
}

fn network(cell: &Cell, trial: &mut Trial, random: &mut Random) {
    let mean: f64 = match (cell.attachment.as_str(), cell.load.as_str()) {
        ("native", "none") => 751.5e6,
        ("native", _) => 735.0e6,
        ("virtual", "none") => 746.2e6,
        ("virtual", _) => 715.8e6,
        (_, "none") => 751.4e6,
        _ => 694.6e6,
    };
    let goodput = mean + 2.5e6 * normal(random);
    trial.metrics =
        [("goodput", goodput), ("elapsed", 10.0 + 0.001 * random.unit()), ("received", goodput * 10.0 / 8.0)]
            .map(|(name, value)| (name.to_owned(), value))
            .into();
    let interrupts =
        if cell.attachment == "native" { 2.0 } else { (76_000.0 + 900.0 * normal(random)).round() };
    trial.metrics.insert("interrupts".into(), interrupts);
    trial.interrupt_sources = vec!["NET_RX".into(), "NET_TX".into()];
    (trial.wall_s, trial.probe_s) = (10.6, 10.1);
}

fn proofs(load: &str, fails: bool, random: &mut Random) -> Vec<Proof> {
    let mut proof = |domain: &str, tool: &str, key: &str, usual: f64, required: f64| Proof {
        domain: domain.into(),
        tool: tool.into(),
        key: key.into(),
        measured: Some(if fails { required * 0.412 } else { usual * (0.97 + 0.06 * random.unit()) }),
        required,
    };
    match load {
        "cpu@dom0" => vec![proof("dom0", "cpuload", "duty_percent", 96.0, 20.0)],
        "cpu@a" => vec![proof("a", "cpuload", "duty_percent", 96.0, 20.0)],
        "cpu@dom0+a" => vec![
            proof("dom0", "cpuload", "duty_percent", 96.0, 20.0),
            proof("a", "cpuload", "duty_percent", 49.0, 20.0),
        ],
        "udp@a" => vec![
            proof("a", "udpsend", "delivered_pps", 48_000.0, 1000.0),
            proof("generator", "udpsend", "offered_pps", 50_000.0, 5000.0),
        ],
        _ => Vec::new(),
    }
}
