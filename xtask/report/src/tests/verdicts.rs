//! What the report says of results whose truth is known.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::sample;
use crate::{Report, make, terminal};

/// A sample of `repetitions` blocks whose journal lines went through `change`, and its report.
fn changed(repetitions: u32, change: impl Fn(&mut Value)) -> (TempDir, Report) {
    let folder = tempfile::tempdir().unwrap();
    sample::write(folder.path(), &sample::plan(repetitions));
    let path = folder.path().join("journal.jsonl");
    let mut lines: Vec<Value> =
        fs::read_to_string(&path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.iter_mut().for_each(change);
    fs::write(&path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let report = make(folder.path()).unwrap();
    (folder, report)
}

fn page(folder: &Path) -> String {
    fs::read_to_string(folder.join("report/index.html")).unwrap()
}

fn name(line: &Value) -> String {
    let cell = &line["cell"];
    ["probe", "attachment", "load"].map(|key| cell[key].as_str().unwrap_or_default()).join("/")
}

fn scale(line: &mut Value, metric: &str, factor: f64) {
    if let Some(value) = line["metrics"][metric].as_f64() {
        line["metrics"][metric] = json!(value * factor);
    }
}

#[test]
fn a_cost_is_given_only_against_the_same_load() {
    let (_folder, report) = changed(20, |_| ());
    let cost = |name: &str| super::cell(&report.summary, name).cost_per_interrupt.clone().unwrap();
    let same = cost("disk/passthrough/none");
    assert!(same.us.unwrap() > 0.0 && same.interval.unwrap().low > 0.0, "{same:?}");
    assert!((same.share_percent.unwrap() - 0.55).abs() < 0.2, "{same:?}");
    assert!((same.elapsed_us.unwrap() - 1215.0).abs() < 10.0, "{same:?}");
    // The plan has no loaded disk cell of the baseline.
    let loaded = cost("disk/virtual/udp@a");
    assert_eq!((loaded.us, loaded.interval), (None, None));
    assert!(loaded.withheld.unwrap().contains("no cell under the load \"udp@a\""));
}

#[test]
fn nothing_measured_is_not_no_difference() {
    let (folder, report) = changed(6, |line| {
        if line["outcome"] == "completed" {
            line["outcome"] = json!("failed");
        }
    });
    assert_eq!(report.summary.outcomes.completed(), 0);
    let page = page(folder.path());
    assert!(page.contains("Nothing was measured: no trial completed."));
    assert!(!page.contains("No mean is found to differ"));
}

#[test]
fn equal_cells_are_not_named_at_a_glance_and_the_number_of_comparisons_is() {
    // Every network cell like every other.
    let mut random = meter::random::Random::new(3);
    let numbers: Vec<f64> = (0..4000).map(|_| 7e8 * (0.99 + 0.02 * random.unit())).collect();
    let (folder, report) = changed(20, |line| {
        let place = line["sequence"].as_u64().unwrap_or(0) as usize;
        if !line["metrics"]["goodput"].is_null() {
            line["metrics"]["goodput"] = json!(numbers[place]);
        }
    });
    let cells = report.summary.cells.iter().filter(|cell| cell.cell.probe != "disk");
    for cell in cells {
        let verdict = cell.metrics["goodput"].verdict;
        assert!(verdict.is_none_or(|verdict| verdict.direction.is_none()), "{} {verdict:?}", cell.name);
    }
    let page = page(folder.path());
    let glance = page.split("id=\"glance\"").nth(1).unwrap().split("</section>").next().unwrap();
    assert!(!glance.contains("net-send/"), "{glance}");
    assert!(glance.contains("8 of net-send"), "{glance}");
}

#[test]
fn a_load_effect_is_within_the_attachment_and_the_interaction_against_the_baseline() {
    let (folder, report) = changed(20, |_| ());
    let effect = |name: &str| super::cell(&report.summary, name).load_effect.clone().unwrap();
    // The sample: native loses 16.5 Mbit/s to the flood, passthrough 56.8, virtual 30.4.
    for (attachment, lost) in [("native", 16.5e6), ("passthrough", 56.8e6), ("virtual", 30.4e6)] {
        let effect = effect(&format!("net-send/{attachment}/udp@a"));
        let interval = effect.difference.unwrap().interval.unwrap();
        assert!(interval.low < -lost && -lost < interval.high, "{attachment}: {interval:?}");
        assert_eq!(effect.compared_with.load, "none");
        assert_eq!(effect.interaction.is_some(), attachment != "native");
    }
    let interaction = effect("net-send/passthrough/udp@a").interaction.unwrap();
    let truth = (694.6 / 751.4) / (735.0 / 751.5);
    let interval = interaction.interval.unwrap();
    assert!(interval.low < truth && truth < interval.high, "{interval:?} {truth}");
    assert!(super::cell(&report.summary, "net-send/native/none").load_effect.is_none());
    assert!(page(folder.path()).contains("What each load does to goodput of net-send"));
}

#[test]
fn drift_levels_and_warm_up_stand_at_the_top() {
    let (folder, report) = changed(20, |line| {
        let block = line["repetition"].as_f64().unwrap_or(0.0);
        match name(line).as_str() {
            "disk/native/none" => scale(line, "elapsed", 1.0 + 0.001 * block),
            "disk/dom0/none" if block >= 10.0 => scale(line, "elapsed", 1.05),
            "disk/passthrough/none" if (block as u32).is_multiple_of(2) => scale(line, "elapsed", 1.1),
            other if other.starts_with("net-send") && block == 0.0 => scale(line, "goodput", 0.9),
            _ => {}
        }
    });
    let flags = |name: &str| &super::cell(&report.summary, name).flags;
    assert!(flags("disk/native/none").drift_tau.unwrap() > 0.5);
    let change = flags("disk/dom0/none").changes[0];
    let first = report
        .input
        .trials
        .iter()
        .find(|trial| trial.cell.name() == "disk/dom0/none" && trial.repetition == 10)
        .unwrap();
    assert_eq!(change.sequence, first.sequence);
    assert!((change.shift - 0.05 * 11.3).abs() < 0.1, "{change:?}");
    assert!(flags("disk/passthrough/none").several_levels && !flags("disk/native/none").several_levels);
    let excess = report.summary.drift["net-send"].warm_up_percent.unwrap();
    assert!((excess + 10.0).abs() < 1.0, "{excess}");
    let page = page(folder.path());
    let (head, rest) = page.split_once("At a glance").unwrap();
    for warning in ["rise or fall steadily", "change suddenly", "two or more levels", "looks like warm-up"] {
        assert!(head.contains(warning), "{warning}");
        assert!(terminal(&report, 120).contains(warning), "{warning}");
    }
    assert!(rest.contains("hold for this boot only"));
}

#[test]
fn boots_are_told_apart_and_their_number_is_said() {
    let folder = tempfile::tempdir().unwrap();
    sample::write(folder.path(), &sample::plan(20));
    let path = folder.path().join("journal.jsonl");
    let mut lines: Vec<String> = fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    let mut header: Value = serde_json::from_str(&lines[0]).unwrap();
    header["boot_id"] = json!("first");
    lines[0] = header.to_string();
    for (block, boot) in [(7, "second"), (10, "second"), (14, "third")] {
        let begins = |line: &String| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["repetition"] == block
        };
        let at = lines.iter().position(begins).unwrap();
        let next: Value = serde_json::from_str(&lines[at]).unwrap();
        let resumed =
            json!({"line": "resumed", "started_wall_ns": 5, "sequence": next["sequence"], "boot_id": boot});
        lines.insert(at, resumed.to_string());
    }
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    let report = make(folder.path()).unwrap();
    assert_eq!(report.summary.boots, 3);
    assert!(page(folder.path()).contains("Trials ran in 3 boots"));
    let one = changed(20, |_| ()).1;
    let width = |report: &Report| {
        let ratio = super::cell(&report.summary, "disk/passthrough/none").metrics["elapsed"].ratio.unwrap();
        let interval = ratio.interval.unwrap();
        interval.high - interval.low
    };
    assert!(width(&report) > width(&one), "three boots say less than twenty blocks");
}

/// A sample in which every block has a second arm of `disk/native/none`, with its elapsed time times `factor`.
fn with_control(factor: f64) -> (TempDir, Report) {
    let folder = tempfile::tempdir().unwrap();
    sample::write(folder.path(), &sample::plan(20));
    let path = folder.path().join("journal.jsonl");
    let mut lines: Vec<Value> =
        fs::read_to_string(&path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let arm = json!({"probe": "disk", "attachment": "native", "load": "none", "arm": "control"});
    lines[0]["cells"].as_array_mut().unwrap().push(arm.clone());
    let baseline: Vec<Value> =
        lines.iter().filter(|line| name(line) == "disk/native/none").cloned().collect();
    let mut random = meter::random::Random::new(5);
    for (index, mut line) in baseline.into_iter().enumerate() {
        line["cell"] = arm.clone();
        line["sequence"] = json!(10_000 + index);
        line["metrics"]["elapsed"] = json!(19.164 * factor * (0.999 + 0.002 * random.unit()));
        lines.push(line);
    }
    fs::write(&path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let report = make(folder.path()).unwrap();
    (folder, report)
}

#[test]
fn a_control_gives_the_noise_floor_and_one_that_differs_is_said_first() {
    let (folder, report) = with_control(1.0);
    let control = super::cell(&report.summary, "disk/native/none/control").control.unwrap();
    assert!(!control.differs && (0.0..0.2).contains(&control.noise_floor_percent), "{control:?}");
    let floor = super::cell(&report.summary, "disk/passthrough/none").metrics["elapsed"].noise_floor_percent;
    assert_eq!(floor, Some(control.noise_floor_percent));
    assert!(page(folder.path()).contains("Noise floor") && terminal(&report, 160).contains("control "));
    assert!(!page(folder.path()).contains("DO NOT TRUST"));
    let (folder, report) = with_control(1.05);
    assert!(super::cell(&report.summary, "disk/native/none/control").control.unwrap().differs);
    assert!(page(folder.path()).split("At a glance").next().unwrap().contains("DO NOT TRUST"));
    // Passthrough is 0.55 % slower, less than the control.
    let verdict = super::cell(&report.summary, "disk/passthrough/none").metrics["elapsed"].verdict;
    assert!(verdict.unwrap().direction.is_none(), "{verdict:?}");
}
