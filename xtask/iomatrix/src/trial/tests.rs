//! Trials and the whole matrix on faked domains.

use serde_json::json;

use super::*;
use crate::matrix::{self, Start};
use crate::progress::Progress;
use domain::fake::Behaviour;
use plan::Overrides;
use plan::schedule;
use platform::fake::FakePlatform;
use results::{
    journal::{self, Header, Journal},
    outcome::{Counts, Effect},
};

fn quick_plan() -> Plan {
    let (mut plan, _) = plan::load(&plan::plans_folder().join("quick.toml"), &Overrides::default()).unwrap();
    plan.proof_timeout_s = 0.2;
    plan.trial_timeout_s = 0.5;
    plan
}

fn good_tools() -> Vec<(&'static str, Behaviour)> {
    let elapsed =
        json!({"elapsed_s": 1.5, "bytes": 3e6, "interrupts": {"count": 40, "sources": ["virtio1-req.0"]}});
    let goodput =
        json!({"goodput_bps": 9e9, "elapsed_s": 1.0, "received_bytes": 1e9, "interrupts": {"count": null}});
    vec![
        ("diskprobe", Behaviour::Probe(elapsed, 0)),
        ("netprobe", Behaviour::Probe(goodput, 0)),
        ("generator:netprobe", Behaviour::Load(json!({}))),
        ("cpuload", Behaviour::Load(json!({"operations": 10.0, "duty_percent": 99.0}))),
        ("udpsend", Behaviour::Load(json!({"delivered_pps": 40e3, "offered_pps": 50e3}))),
    ]
}

/// Executes `cell` with the good tools, some of them replaced.
fn trial_with(cell: &str, replaced: &[(&'static str, Behaviour)]) -> (Trial, FakePlatform) {
    let plan = quick_plan();
    let mut tools = good_tools();
    tools.extend(replaced.iter().cloned());
    let mut platform = FakePlatform::new(&plan, &tools);
    let trial = trial_on(&plan, &mut platform, cell);
    assert_eq!(platform.script.borrow().alive, 0, "something still runs");
    (trial, platform)
}

fn trial_on(plan: &Plan, platform: &mut FakePlatform, cell: &str) -> Trial {
    trial_after(plan, platform, cell, f64::INFINITY)
}

/// The same, after a probe of the cell that took `before_s`.
fn trial_after(plan: &Plan, platform: &mut FakePlatform, cell: &str, before_s: f64) -> Trial {
    let cells = plan::expand(plan).unwrap();
    let cell = cells.iter().find(|candidate| candidate.name() == cell).unwrap();
    let mut expected = Expected::default();
    expected.learn(cell, before_s);
    let mut lab = Lab { plan, platform, stop: Stop::new(), expected, seen: RefCell::default() };
    lab.execute(cell, Place { sequence: 0, repetition: 0, attempt: 0 }).unwrap()
}

#[test]
fn a_good_trial_takes_its_numbers_and_proves_its_load() {
    let (trial, platform) = trial_with("disk/virtual/cpu@dom0+a", &[]);
    assert_eq!((trial.outcome, &trial.reason), (Outcome::Completed, &None));
    assert_eq!(trial.metrics["elapsed"], 1.5);
    assert_eq!(trial.metrics["interrupts"], 40.0);
    assert_eq!(trial.interrupt_sources, ["virtio1-req.0"]);
    assert_eq!(trial.proofs.len(), 4);
    let log = platform.script.borrow().log.clone();
    let expected = [
        "attach b",
        "start cpuload in dom0",
        "go cpuload",
        "start cpuload in a",
        "go cpuload",
        "quiet cpuload",
        "quiet cpuload",
        "start diskprobe in b",
        "quiet diskprobe",
        "go diskprobe",
        "stop cpuload",
        "stop cpuload",
    ];
    assert_eq!(log, expected);
}

#[test]
fn without_a_hypervisor_the_load_of_the_guest_runs_on_the_machine_itself() {
    let (trial, platform) = trial_with("net-send/native/udp@a", &[]);
    assert_eq!(trial.outcome, Outcome::Completed);
    assert!(platform.script.borrow().log.contains(&"start udpsend in native".to_owned()));
}

#[test]
fn what_the_probe_could_not_tell_stays_missing() {
    let (trial, _) = trial_with("net-receive/virtual/none", &[]);
    assert_eq!(trial.outcome, Outcome::Completed);
    assert!(!trial.metrics.contains_key("interrupts"));
}

#[test]
fn every_way_to_break_has_its_stage_and_cause() {
    let faded =
        Behaviour::Fading(json!({"operations": 9.0, "duty_percent": 99.0}), json!({"operations": 9.0}));
    let weak = Behaviour::Load(json!({"operations": 9.0, "duty_percent": 1.0}));
    let vanishing = Behaviour::Vanishing(json!({"operations": 9.0, "duty_percent": 99.0}));
    let chatters = Behaviour::Chatters(json!({"operations": 9.0, "duty_percent": 99.0}));
    let proved = json!({"operations": 99.0, "duty_percent": 99.0, "elapsed_s": 0.6});
    let early = Behaviour::EndsEarly(proved.clone());
    let short =
        Behaviour::Fading(proved, json!({"operations": 99.0, "duty_percent": 99.0, "elapsed_s": 0.0}));
    let empty = Behaviour::Probe(json!({"bytes": 1}), 0);
    let untrusted = Behaviour::Probe(json!({"elapsed_s": 1.0, "warnings": ["pin lost"]}), 4);
    let cases = [
        ("cpuload", Behaviour::Unreachable, Outcome::Failed, "load", "can't be reached"),
        ("cpuload", Behaviour::Refuses, Outcome::Failed, "load", "no permission"),
        ("cpuload", Behaviour::Dies, Outcome::Failed, "proof", "killed"),
        ("cpuload", weak, Outcome::Invalid, "proof", "at least 10"),
        ("cpuload", faded, Outcome::Invalid, "load", "duty_percent of nothing"),
        ("cpuload", early, Outcome::Invalid, "load", "ended before the measurement did: after 0.600 s"),
        ("cpuload", short, Outcome::Invalid, "load", "ran for 0.000 s, the measurement took"),
        ("cpuload", vanishing, Outcome::Failed, "load", "domain gone"),
        ("cpuload", chatters, Outcome::TimedOut, "load", "did not heed"),
        ("cpuload", Behaviour::Hangs, Outcome::Invalid, "proof", "no sample"),
        ("diskprobe", Behaviour::Unreachable, Outcome::Failed, "probe", "can't be reached"),
        ("diskprobe", Behaviour::Refuses, Outcome::Failed, "probe", "no permission"),
        ("diskprobe", Behaviour::Mute, Outcome::TimedOut, "probe", "not ready"),
        ("diskprobe", Behaviour::Hangs, Outcome::TimedOut, "probe", "took longer"),
        ("diskprobe", empty, Outcome::Failed, "probe", "no `elapsed_s`"),
        ("diskprobe", untrusted, Outcome::Invalid, "probe", "pin lost"),
    ];
    for (tool, behaviour, outcome, stage, cause) in cases {
        let case = format!("{tool} {behaviour:?}");
        let (trial, _) = trial_with("disk/virtual/cpu@a", &[(tool, behaviour)]);
        let reason = trial.reason.unwrap_or_default();
        assert_eq!((trial.outcome, trial.stage.as_deref()), (outcome, Some(stage)), "{case}: {reason}");
        assert!(reason.contains(cause), "{case}: {reason}");
    }
}

#[test]
fn a_device_that_does_not_come_back_fails_the_trial() {
    let plan = quick_plan();
    let mut platform = FakePlatform::new(&plan, &good_tools());
    platform.broken = true;
    let trial = trial_on(&plan, &mut platform, "disk/virtual/none");
    assert_eq!((trial.outcome, trial.stage.as_deref()), (Outcome::Failed, Some("attach")));
}

#[test]
fn a_guest_that_had_to_be_made_again_has_not_used_up_the_trials_time() {
    let plan = quick_plan();
    let mut platform = FakePlatform::new(&plan, &good_tools());
    platform.attaching = Duration::from_secs_f64(2.0 * plan.trial_timeout_s);
    let trial = trial_on(&plan, &mut platform, "disk/virtual/cpu@a");
    assert_eq!((trial.outcome, &trial.reason), (Outcome::Completed, &None));
}

#[test]
fn what_the_platform_knows_of_a_broken_trial_is_in_its_reason() {
    let plan = quick_plan();
    let mut tools = good_tools();
    tools.push(("diskprobe", Behaviour::Hangs));
    let mut platform = FakePlatform::new(&plan, &tools);
    platform.troubles = vec!["guest B is paused".to_owned()];
    let trial = trial_on(&plan, &mut platform, "disk/virtual/none");
    assert_eq!((trial.outcome, trial.stage.as_deref()), (Outcome::TimedOut, Some("probe")));
    let reason = trial.reason.unwrap();
    assert!(reason.contains("took longer") && reason.ends_with("; guest B is paused"), "{reason}");
}

#[test]
fn a_trial_tells_where_its_time_went() {
    let plan = quick_plan();
    let mut platform = FakePlatform::new(&plan, &good_tools());
    platform.attaching = Duration::from_millis(20);
    let trial = trial_on(&plan, &mut platform, "disk/virtual/cpu@a");
    let mut stages = trial.stages_s.clone();
    assert_eq!(stages.remove("attach.switch"), Some(0.02));
    assert_eq!(stages.keys().collect::<Vec<_>>(), ["attach", "load", "probe", "proof", "start", "stop"]);
    assert!(stages["attach"] >= 0.02, "{stages:?}");
    let sum: f64 = stages.values().sum();
    assert!((sum - trial.wall_s).abs() < 1e-6, "{sum} of {}", trial.wall_s);
    let (trial, _) = trial_with("disk/virtual/cpu@a", &[("diskprobe", Behaviour::Mute)]);
    assert!(trial.stages_s["probe"] > 0.0 && !trial.stages_s.contains_key("start"), "{:?}", trial.stages_s);
}

#[test]
fn a_probe_whose_domain_is_gone_fails_when_it_is_overdue_and_not_at_the_end_of_the_trials_time() {
    let mut plan = quick_plan();
    plan.trial_timeout_s = 600.0;
    let mut tools = good_tools();
    tools.push(("diskprobe", Behaviour::Hangs));
    let mut platform = FakePlatform::new(&plan, &tools);
    platform.halted = Some("guest B is gone".to_owned());
    platform.troubles = vec!["guest B is gone".to_owned(), "and A too".to_owned()];
    let trial = trial_after(&plan, &mut platform, "disk/virtual/none", 0.02);
    assert_eq!((trial.outcome, trial.stage.as_deref()), (Outcome::Failed, Some("probe")));
    let reason = trial.reason.unwrap();
    assert!(reason.ends_with(" and can't: guest B is gone; and A too"), "{reason}");
    assert_eq!(trial.looked_at_s.len(), 1);
    assert!(trial.looked_at_s[0] >= 0.06, "before it was overdue: {:?}", trial.looked_at_s);
    assert_eq!(platform.script.borrow().alive, 0, "something still runs");
}

#[test]
fn a_probe_is_left_alone_until_it_is_overdue_and_as_long_as_its_domain_runs() {
    let (trial, platform) = trial_with("disk/virtual/cpu@a", &[]);
    assert!(trial.looked_at_s.is_empty());
    assert!(!platform.script.borrow().log.iter().any(|line| line == "look after b"));
    let mut plan = quick_plan();
    plan.trial_timeout_s = 600.0;
    let mut tools = good_tools();
    tools.push(("diskprobe", Behaviour::Hangs));
    let mut platform = FakePlatform::new(&plan, &tools);
    (platform.halted, platform.looks_in_vain) = (Some("guest B is gone".to_owned()), 2);
    let trial = trial_after(&plan, &mut platform, "disk/virtual/none", 0.02);
    assert_eq!(trial.looked_at_s.len(), 3, "{:?}", trial.looked_at_s);
    assert!(trial.looked_at_s.windows(2).all(|pair| pair[1] >= 2.0 * pair[0]), "{:?}", trial.looked_at_s);
    assert_eq!((trial.outcome, trial.stage.as_deref()), (Outcome::Failed, Some("probe")));
}

#[test]
fn a_load_whose_domain_is_gone_is_not_waited_for() {
    let plan = quick_plan();
    let mut tools = good_tools();
    tools.push(("cpuload", Behaviour::Clings(json!({"operations": 9.0, "duty_percent": 99.0}))));
    let mut platform = FakePlatform::new(&plan, &tools);
    platform.halted = Some("guest A is gone".to_owned());
    let trial = trial_on(&plan, &mut platform, "disk/virtual/cpu@a");
    assert_eq!((trial.outcome, trial.stage.as_deref()), (Outcome::Invalid, Some("stop")));
    let reason = trial.reason.unwrap();
    assert!(reason.ends_with("can't stop: guest A is gone"), "{reason}");
    assert!(trial.metrics.contains_key("elapsed"), "what was measured is kept");
    assert_eq!(platform.script.borrow().alive, 0, "something still runs");
}

#[test]
fn a_lost_host_ends_the_matrix_and_the_trial_that_found_it_so_is_none() {
    let plan = quick_plan();
    let mut platform = FakePlatform::new(&plan, &good_tools());
    platform.attachments_left = Some(5);
    let (tally, trials) = execute_all(&plan, &mut platform, Stop::new());
    assert_eq!((ended(tally), trials.len()), ((5, 0, 0), 5));
}

fn journal_in(folder: &std::path::Path, cells: &[Cell]) -> Journal {
    let header = json!({"schema": journal::SCHEMA_VERSION, "version": "0", "plan_sha256": "", "seed": 1, "started_wall_ns": 0,
        "platform": "fake", "host": {}, "domain_cpus": {}, "notes": [], "tools_sha256": {}, "cells": cells, "trials": 0});
    Journal::begin(folder, serde_json::from_value::<Header>(header).unwrap()).unwrap()
}

/// How many completed, were skipped, and spoil the matrix.
fn ended(tally: Counts) -> (u64, u64, u64) {
    (tally.with(Effect::Succeeds), tally.with(Effect::Lacks), tally.with(Effect::Spoils))
}

fn execute_all(plan: &Plan, platform: &mut FakePlatform, stop: Stop) -> (Counts, Vec<Trial>) {
    let folder = tempfile::tempdir().unwrap();
    let cells = plan::expand(plan).unwrap();
    let order = schedule::order(cells.len(), plan.repetitions, plan.seed);
    let mut journal = journal_in(folder.path(), &cells);
    let lab = Lab { plan, platform, stop, expected: Expected::default(), seen: RefCell::default() };
    let tally = matrix::execute(lab, &cells, &order, Start::default(), &mut journal, &mut Progress::hidden())
        .unwrap();
    let contents = journal::read(folder.path()).unwrap();
    let domains: BTreeSet<&str> = contents.facts.iter().map(|facts| facts.domain.as_str()).collect();
    assert_eq!(domains.len(), contents.facts.len(), "facts that did not change are told once");
    let measured = |trial: &Trial| plan.attachments[&trial.cell.attachment].measured.get_ref().as_str();
    let completed = contents.trials.iter().filter(|trial| trial.outcome.counts());
    assert!(completed.map(measured).all(|domain| domains.contains(domain)), "{domains:?}");
    (tally, contents.trials)
}

#[test]
fn the_whole_matrix_completes_on_faked_domains() {
    let plan = quick_plan();
    let mut platform = FakePlatform::new(&plan, &good_tools());
    let (tally, trials) = execute_all(&plan, &mut platform, Stop::new());
    assert_eq!(ended(tally), (72, 0, 0));
    assert_eq!(trials.len(), 72);
    assert!(trials.iter().enumerate().all(|(index, trial)| trial.sequence == index as u64));
}

#[test]
fn cells_that_cannot_run_here_are_skipped_with_the_reason() {
    let plan = quick_plan();
    let mut platform = FakePlatform::new(&plan, &good_tools());
    platform.without_loop = true;
    let (tally, trials) = execute_all(&plan, &mut platform, Stop::new());
    assert_eq!(ended(tally), (57, 15, 0));
    let skipped = trials.iter().find(|trial| trial.outcome == Outcome::Skipped).unwrap();
    assert_eq!(skipped.reason.as_deref(), Some("no loop device here"));
    assert!(skipped.metrics.is_empty());
}

#[test]
fn an_invalid_trial_is_kept_and_repeated_once() {
    let mut plan = quick_plan();
    plan.selection.only = vec!["disk/virtual/cpu@a".into(), "disk/virtual/none".into()];
    plan.repetitions = 1;
    let weak = Behaviour::Load(json!({"operations": 9.0, "duty_percent": 1.0}));
    let mut tools = good_tools();
    tools.push(("cpuload", weak));
    let mut platform = FakePlatform::new(&plan, &tools);
    let (tally, trials) = execute_all(&plan, &mut platform, Stop::new());
    assert_eq!(ended(tally), (1, 0, 1));
    let attempts: Vec<u32> =
        trials.iter().filter(|trial| trial.outcome == Outcome::Invalid).map(|trial| trial.attempt).collect();
    assert_eq!(attempts, [0, 1]);
}

#[test]
fn a_stopped_matrix_keeps_what_was_finished_and_nothing_else() {
    let plan = quick_plan();
    let mut platform = FakePlatform::new(&plan, &good_tools());
    let stop = Stop::new();
    stop.raise();
    let (tally, trials) = execute_all(&plan, &mut platform, stop);
    assert_eq!((tally, trials.len()), (Counts::default(), 0));
}
