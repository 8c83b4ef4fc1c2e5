//! Start and stop from outside.

mod support;

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{NETPROBE, Server};

/// A controlled client that is ready.
fn ready(server: &Server, flags: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = Command::new(NETPROBE)
        .args([&["rr", &server.name(), "--json", "--controlled"][..], flags].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("\"ready\"") {
        line.clear();
        assert!(stdout.read_line(&mut line).unwrap() > 0, "not ready");
    }
    (child, stdout)
}

fn summary(stdout: BufReader<std::process::ChildStdout>) -> Value {
    let last = stdout.lines().map(Result::unwrap).last().expect("a summary");
    serde_json::from_str(&last).unwrap()
}

#[test]
fn it_begins_at_go_and_ends_with_its_standard_input() {
    let server = Server::start(&[]);
    let (mut child, stdout) = ready(&server, &["--duration", "1min"]);
    std::thread::sleep(Duration::from_millis(200));
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "go").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    drop(stdin);
    let summary = summary(stdout);
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert!(child.wait().unwrap().success());
    let elapsed = summary["elapsed_s"].as_f64().unwrap();
    assert!((0.01..1.0).contains(&elapsed), "{elapsed}: from go to the end");
    assert!(summary["peer"]["transactions"].as_u64().unwrap() > 0);
}

#[test]
fn without_go_nothing_is_done() {
    let server = Server::start(&[]);
    let (mut child, stdout) = ready(&server, &[]);
    drop(child.stdin.take());
    let summary = summary(stdout);
    assert!(child.wait().unwrap().success());
    assert_eq!(summary["transactions"], 0);
    assert!(summary["service_time"].is_null());
}

#[test]
fn a_signal_ends_it_with_a_summary() {
    let server = Server::start(&[]);
    for kind in ["stream", "rr", "crr"] {
        let child = Command::new(NETPROBE)
            .args([kind, &server.name(), "--json", "--duration", "1min"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(300));
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{kind}");
        let text = String::from_utf8(output.stdout).unwrap();
        let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(summary["record"], "summary");
        assert!(summary["peer"].is_object(), "{kind}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_it() {
    let server = Server::start(&[]);
    for words in [&["stream"][..], &["rr"], &["rr", "--transport", "udp"], &["crr"], &["serve"]] {
        let mut command = Command::new(NETPROBE);
        if words == ["serve"] {
            command.args(["serve", "--listen", &support::free_address().to_string()]);
        } else {
            command.args([words[0], &server.name()]).args(&words[1..]);
        }
        let mut child = command
            .args(["--json", "--duration", "1min"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(200));
        let begun = Instant::now();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(1), "{words:?}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{words:?} went on to its end");
    }
}

#[test]
fn a_dry_run_resolves_and_leaves() {
    let told = support::probe(&["rr", "192.0.2.1:1", "--dry-run", "--rate", "5k", "--transport", "udp"]);
    assert_eq!((told.code, told.records.len()), (0, 1), "{}", told.stderr);
    let workload = &told.records[0]["config"]["order"]["workload"]["transactions"];
    assert_eq!(workload["pace"]["rate"], serde_json::json!({"operations": 1, "per_ns": 200_000}));
    assert_eq!(workload["outstanding"], 128, "what was left open is resolved");
}
