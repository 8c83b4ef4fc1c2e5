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
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    // The shell ignores SIGHUP and execs the tool, as nohup does.
    let run = "trap '' HUP; exec \"$0\" \"$@\"";
    let mut child = Command::new("sh")
        .args(["-c", run, env!("CARGO_BIN_EXE_cpuload"), "--cpus", "0", "--duty", "5"])
        .args(["--duration", "1h", "--interval", "50ms", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut samples =
        |count: usize| lines.by_ref().filter(|line| line.contains("\"sample\"")).take(count).count();
    let signal = |name: &str| {
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    };
    assert_eq!(samples(1), 1);
    signal("HUP");
    assert_eq!(samples(3), 3, "SIGHUP ended it");
    signal("TERM");
    let summary = lines.last().unwrap();
    assert!(summary.contains("\"summary\""), "{summary}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_controlled_load_ends_when_its_controller_goes_away() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cpuload"))
        .args(["--cpus", "0", "--duration", "1h", "--interval", "50ms", "--controlled", "--json"])
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
    while !line.contains("\"sample\"") || line.contains("\"operations\":0,") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the tool ended before it worked");
    }
    drop(orders);
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success());
    let summary: Value = serde_json::from_str(rest.lines().last().unwrap()).unwrap();
    assert_eq!(summary["record"], "summary");
    assert!(summary["elapsed_s"].as_f64().unwrap() < 600.0);
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

/// The summary of a run that must have succeeded.
fn summary(arguments: &[&str]) -> Value {
    let output = cpuload(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    records(&output).pop().expect("a summary")
}

#[test]
fn every_kernel_works_and_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    for (kernel, more) in [
        ("sqrt", &[][..]),
        ("int", &[]),
        ("float", &[]),
        ("matrix", &[]),
        ("memory", &["--working-set", "1MiB"]),
        ("cache", &["--working-set", "1MiB"]),
        ("branch", &[]),
        ("syscall", &[]),
        ("switch", &[]),
        ("alloc", &["--working-set", "1MiB"]),
        ("disk", &["--working-set", "4MiB", "--path", path]),
    ] {
        let arguments = ["--json", "--cpus", "0", "--operations", "20", "--kernel", kernel];
        let summary = summary(&[&arguments, more].concat());
        assert_eq!(summary["operations"], 20, "{kernel}");
        assert_eq!(summary["workers"][0]["finished"], true, "{kernel}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn what_stress_does_is_done_by_free_workers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    // -c 2, -i 2, -m 2 --vm-bytes 1M, -d 2 --hdd-bytes 4M.
    for (kernel, more) in [
        ("sqrt", &[][..]),
        ("sync", &[]),
        ("alloc", &["--working-set", "1MiB"]),
        ("disk", &["--working-set", "4MiB", "--path", path]),
    ] {
        let arguments = ["--json", "--workers", "2", "--operations", "3", "--kernel", kernel];
        let summary = summary(&[&arguments, more].concat());
        let workers = summary["workers"].as_array().unwrap();
        assert_eq!(workers.len(), 2, "{kernel}");
        assert!(workers.iter().all(|worker| worker["operations"] == 3), "{kernel}: {summary}");
    }
}

#[test]
fn a_duty_is_received_as_demanded() {
    let summary = summary(&["--json", "--cpus", "0", "--duty", "20", "--period", "20ms", "--duration", "1s"]);
    let worker = &summary["workers"][0];
    let received_ns = summary["duty_percent"].as_f64().unwrap() / 100.0 * 1e9;
    assert!(received_ns <= 205e6, "{summary}");
    // What is missing was denied by others on this CPU, other tests too, and it says so.
    let denied_ns = worker["denied_ns"].as_f64().unwrap();
    assert!(received_ns + denied_ns >= 196e6, "{summary}");
    assert_eq!(summary["demanded_ns"], 200_000_000);
    assert_eq!(worker["window_error_points"]["count"], 50);
    // Where no window began with a sleep, others had the CPU all the while.
    let denied = worker["denied_ns"].as_u64() > Some(0);
    assert!(worker["begin_error_ns"]["mean"].is_f64() || denied, "{summary}");
}

#[test]
fn loads_in_wall_clock_phase_begin_at_its_multiples() {
    let summary =
        summary(&["--json", "--cpus", "0", "--duty", "10", "--phase", "50%", "--duration", "500ms"]);
    // Half a second anywhere in wall-clock time has five whole periods, or four and two parts.
    let windows = summary["workers"][0]["window_error_points"]["count"].as_u64().unwrap();
    assert!((5..=6).contains(&windows), "{summary}");
    let demanded = summary["demanded_ns"].as_u64().unwrap();
    assert!((40_000_000..=50_000_000).contains(&demanded), "{summary}");
}

#[test]
fn a_load_starts_at_the_time_of_day_that_it_was_given() {
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    // In whole milliseconds, as it is told.
    let start = ((now() + 2.0) * 1000.0).ceil() / 1000.0;
    let output =
        cpuload(&["--json", "--cpus", "0", "--start-at", &format!("{start:.3}"), "--operations", "1000"]);
    let records = records(&output);
    let ended = records.last().unwrap()["wall_ns"].as_f64().unwrap() / 1e9;
    assert!(ended >= start, "{ended} {start}");
    assert_eq!(records.last().unwrap()["operations"], 1000);
}

#[test]
fn free_workers_nice_random_and_hold_are_accepted() {
    let short = ["--json", "--duration", "200ms"];
    let free = summary(&[&short[..], &["--workers", "2", "--nice", "5"]].concat());
    assert_eq!(free["workers"].as_array().unwrap().len(), 2);
    assert!(free["workers"][0]["cpu"].is_null());
    let random = ["--cpus", "0", "--random", "--duty", "30", "--period", "10ms", "--seed", "7"];
    let twice: Vec<Value> = (0..2).map(|_| summary(&[&short[..], &random].concat())).collect();
    let demanded = |summary: &Value| summary["demanded_ns"].as_u64().unwrap();
    assert_eq!(demanded(&twice[0]), demanded(&twice[1]), "the same seed demands the same");
    let hold = summary(&[&short[..], &["--cpus", "0", "--hold", "50"]].concat());
    assert!(hold["total_load_percent"].is_number());
}

#[test]
fn a_deadline_bounds_what_a_worker_gets() {
    let output = cpuload(&["--json", "--workers", "1", "--deadline", "20ms/100ms", "--duration", "1s"]);
    if output.status.code() == Some(3) {
        eprintln!("skipped: {}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let summary = records(&output).pop().unwrap();
    let duty = summary["duty_percent"].as_f64().unwrap();
    assert!((10.0..=23.0).contains(&duty), "{summary}");
    assert!(summary["workers"][0]["denied_ns"].as_u64().unwrap() > 700_000_000);
}

#[test]
fn a_load_that_was_required_and_not_reached_is_not_trusted() {
    let arguments =
        ["--json", "--workers", "1", "--deadline", "20ms/100ms", "--duration", "300ms", "--require", "1"];
    let output = cpuload(&arguments);
    if output.status.code() == Some(3) {
        eprintln!("skipped: {}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert!(!records(&output).pop().unwrap()["warnings"].as_array().unwrap().is_empty());
    let late = cpuload(&["--cpus", "0", "--operations", "1000000000000", "--duration", "100ms"]);
    assert_eq!(late.status.code(), Some(4), "{late:?}");
}

#[test]
fn a_full_folder_is_an_error_with_the_summary_of_what_was_done() {
    let output = cpuload(&["--json", "--kernel", "disk", "--path", "/no/such/folder", "--duration", "1s"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(records(&output).pop().unwrap()["record"], "error");
}

#[test]
fn what_contradicts_itself_is_refused() {
    for arguments in [
        &["--hold", "50", "--duty", "20"][..],
        &["--random"],
        &["--random", "--duty", "50", "--phase", "50%"],
        &["--seed", "3"],
        &["--workers", "2", "--cpus", "0"],
        &["--workers", "0"],
        &["--nice", "20"],
        &["--nice", "5", "--sched", "fifo:3"],
        &["--deadline", "10ms/100ms"],
        &["--deadline", "10ms/100ms", "--cpus", "0"],
        &["--deadline", "2s/1s", "--workers", "1"],
        &["--deadline", "1ms/10ms", "--workers", "1", "--kernel", "switch"],
        &["--working-set", "1MiB"],
        &["--working-set", "1", "--kernel", "memory"],
        &["--path", "/tmp"],
        &["--phase", "200ms"],
        &["--start-at", "1"],
        &["--start-at", "yesterday"],
        &["--operations", "0"],
        &["--require", "0"],
    ] {
        let output = cpuload(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(!output.stderr.is_empty());
    }
    let too_much = cpuload(&["--kernel", "memory", "--working-set", "1000TiB"]);
    assert_eq!(too_much.status.code(), Some(3), "{too_much:?}");
}

#[test]
fn a_total_that_others_exceed_is_not_held() {
    let mut other = Command::new(env!("CARGO_BIN_EXE_cpuload"))
        .args(["--cpus", "0", "--duration", "60s", "--controlled"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // It goes on until its input closes.
    let mut orders = other.stdin.take().unwrap();
    orders.write_all(b"go\n").unwrap();
    let hold = ["--json", "--cpus", "0", "--hold", "10", "--period", "20ms", "--duration", "1s"];
    let output = cpuload(&[&hold[..], &["--require", "20"]].concat());
    drop(orders);
    other.wait().unwrap();
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let summary = records(&output).pop().unwrap();
    assert!(summary["warnings"][0].as_str().unwrap().contains("others load these CPUs"), "{summary}");
}

#[test]
fn nobody_to_read_the_errors_is_no_crash() {
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut refused = Command::new(env!("CARGO_BIN_EXE_cpuload"));
    refused.args(["--cpus", "9999"]).stderr(full());
    assert_eq!(refused.status().unwrap().code(), Some(3));
    refused.stderr(Stdio::null()).stdout(full());
    assert_eq!(refused.args(["--json"]).status().unwrap().code(), Some(3));
    let mut untrusted = Command::new(env!("CARGO_BIN_EXE_cpuload"));
    untrusted.args(["--cpus", "0", "--operations", "1000000000000", "--duration", "50ms"]).stderr(full());
    assert_eq!(untrusted.stdout(Stdio::null()).status().unwrap().code(), Some(4));
}
