//! A link that goes down and up, and one that goes down for good, under every kind of measurement.
//!
//! Needs root and ip(8); where they are missing each test says so and passes.

mod support;

use std::{
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{
    NETPROBE, eventually,
    pair::{Pair, run},
};

const ADDRESS: &str = "10.99.7.2:12865";

/// A client in the first namespace, with its output in pipes.
fn client(pair: &Pair, words: &[&str]) -> Child {
    Command::new("ip")
        .args(["netns", "exec", &pair.names[0], NETPROBE, "--json", words[0], ADDRESS])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Its exit code, its summary where there is one, and what it said to people.
fn ended(client: Child) -> (Option<i32>, Option<Value>, String) {
    let output = client.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let summary = text.lines().find(|line| line.contains("\"record\":\"summary\""));
    let summary = summary.map(|line| serde_json::from_str(line).unwrap());
    (output.status.code(), summary, String::from_utf8(output.stderr).unwrap())
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

fn sum(errors: &Value) -> u64 {
    errors.as_object().unwrap_or_else(|| panic!("{errors} are no errors")).values().map(count).sum()
}

#[test]
fn a_link_that_goes_down_and_up_ends_no_datagrams_and_no_connects() {
    let Some(pair) = Pair::veth("u") else { return };
    let server = pair.server(&["--no-token"]);
    // The client's own interface: its kernel refuses to send. The server's: datagrams vanish.
    for end in [0, 1] {
        let kinds: [&[&str]; 4] = [
            &["rr", "--transport", "udp", "--duration", "4s"],
            &["rr", "--transport", "udp", "--outstanding", "8", "--duration", "4s"],
            &["rr", "--transport", "udp", "--rate", "200", "--duration", "4s"],
            &["crr", "--duration", "4s"],
        ];
        for words in kinds {
            let running = client(&pair, words);
            thread::sleep(Duration::from_millis(700));
            pair.set_link(end, "down");
            // Longer than a lost request is waited for, so that the next one is refused at once.
            thread::sleep(Duration::from_millis(1300));
            pair.set_link(end, "up");
            let (code, summary, told) = ended(running);
            let summary = summary.unwrap_or_else(|| panic!("{words:?} at {end}: {told}"));
            // An open loop that missed part of its load says so.
            let expected = if words.contains(&"--rate") { 4 } else { 0 };
            assert_eq!(code, Some(expected), "{words:?} at {end}: {told}");
            assert!(count(&summary["transactions"]) > 100, "{words:?} at {end}: {summary}");
            assert!(summary["peer"].is_object(), "both ends lived to tell: {words:?} at {end}");
            let errors = sum(&summary["errors"]);
            if words[0] == "rr" {
                let gone = count(&summary["lost"]) + summary["unanswered"].as_u64().unwrap_or(0);
                assert!(gone > 0, "{words:?} at {end}: {summary}");
                assert!(errors > 0 || end == 1, "{words:?}: this end's kernel refused to send: {summary}");
            } else {
                // A connection that was being made or used waits for the link, if the kernel lets it.
                let longest = count(&summary["service_time"]["max_ns"]);
                assert!(errors > 0 || longest > 400_000_000, "the outage shows: {summary}");
            }
        }
    }
    assert_eq!(server.stop()["broken"], 0);
}

#[test]
fn a_port_that_nobody_listens_on_any_more_is_counted_as_refused() {
    let Some(pair) = Pair::veth("q") else { return };
    let server = pair.server(&["--no-token"]);
    let rule = |verb: &[&str]| run(&[&["ip", "netns", "exec", &pair.names[1], "nft"], verb].concat());
    // Requests are answered as the kernel answers for a closed port.
    let chain = "add table inet t; add chain inet t c { type filter hook input priority 0; }; \
                 add rule inet t c meta l4proto udp reject with icmp port-unreachable";
    let end = ["delete", "table", "inet", "t"];
    if !(rule(&[chain]) && rule(&end)) {
        eprintln!("skipped: nft(8) can't reject here");
        return;
    }
    let running = client(&pair, &["rr", "--transport", "udp", "--duration", "3s"]);
    thread::sleep(Duration::from_millis(700));
    assert!(rule(&[chain]));
    thread::sleep(Duration::from_millis(500));
    assert!(rule(&end));
    let (code, summary, told) = ended(running);
    let summary = summary.unwrap_or_else(|| panic!("{told}"));
    assert_eq!(code, Some(0), "{told}");
    assert!(count(&summary["errors"]["refused"]) > 0, "{summary}");
    assert!(count(&summary["lost"]) > 0 && count(&summary["transactions"]) > 100, "{summary}");
    drop(server);
}

#[test]
fn a_link_that_stays_down_ends_the_client_in_time_and_frees_the_servers_session() {
    let Some(pair) = Pair::veth("s") else { return };
    let server = pair.server(&["--no-token", "--max-idle", "2s"]);
    let (threads, descriptors) = (server.threads(), server.descriptors());
    let kinds: [&[&str]; 6] = [
        &["stream", "--direction", "send"],
        &["stream", "--direction", "receive"],
        &["stream", "--direction", "both", "--interval", "200ms"],
        &["rr"],
        &["rr", "--transport", "udp"],
        &["crr"],
    ];
    for end in [0, 1] {
        let begun = Instant::now();
        let running: Vec<Child> = kinds
            .iter()
            .map(|words| client(&pair, &[words, &["--duration", "3s", "--threads", "1"][..]].concat()))
            .collect();
        eventually("all sessions", || server.threads() >= threads + 2 * kinds.len());
        thread::sleep(Duration::from_millis(500));
        pair.set_link(end, "down");
        for (words, running) in kinds.iter().zip(running) {
            let (code, summary, told) = ended(running);
            assert_eq!(code, Some(1), "{words:?} at {end}: {told}");
            assert!(told.contains("is the link down?"), "{words:?} at {end}: {told}");
            let summary = summary.unwrap_or_else(|| panic!("{words:?}: what was seen is told: {told}"));
            assert!(summary["peer"].is_null(), "what the server saw is missing, not zero");
        }
        // 3 s of measurement, 10 s for the report, and a busy machine.
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        eventually("the sessions' end", || server.threads() <= threads);
        eventually("the descriptors' release", || server.descriptors() <= descriptors);
        pair.set_link(end, "up");
        // The kernel may still hold the neighbour for unreachable for a moment.
        let mut told = pair.probe(&["rr", ADDRESS, "--duration", "100ms"]);
        for _ in 0..50 {
            if !told.stderr.contains("No route to host") {
                break;
            }
            thread::sleep(Duration::from_millis(200));
            told = pair.probe(&["rr", ADDRESS, "--duration", "100ms"]);
        }
        assert_eq!(told.code, 0, "the server is well: {}", told.stderr);
    }
    let summary = server.stop();
    assert_eq!((&summary["broken"], &summary["completed"]), (&12.into(), &2.into()));
}

#[test]
fn a_client_that_vanishes_early_in_a_long_measurement_keeps_its_session_no_longer_than_the_idle_limit() {
    let Some(pair) = Pair::veth("v") else { return };
    let server = pair.server(&["--no-token", "--max-idle", "2s"]);
    let threads = server.threads();
    let mut running = client(&pair, &["rr", "--duration", "10min"]);
    eventually("the session", || server.threads() > threads + 1);
    pair.set_link(0, "down");
    let begun = Instant::now();
    // Its kernel can tell nobody that it is gone.
    running.kill().unwrap();
    running.wait().unwrap();
    eventually("the session's end", || server.threads() == threads);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(server.stop()["broken"], 1);
}

#[test]
fn a_stopped_client_keeps_its_session_no_longer_than_the_idle_limit() {
    let Some(pair) = Pair::veth("z") else { return };
    let server = pair.server(&["--no-token", "--max-idle", "2s"]);
    let threads = server.threads();
    for kind in [&["rr"][..], &["stream"], &["stream", "--direction", "receive"], &["crr"]] {
        let running = client(&pair, &[kind, &["--duration", "10min"]].concat());
        eventually("the session", || server.threads() > threads + 1);
        let signal = |name| assert!(run(&["kill", name, &running.id().to_string()]));
        // Its kernel goes on and answers for it.
        signal("-STOP");
        eventually("the session's end", || server.threads() == threads);
        signal("-CONT");
        let (code, _, told) = ended(running);
        assert_eq!(code, Some(1), "{kind:?}: {told}");
    }
    assert_eq!(server.stop()["broken"], 4);
}

#[test]
fn a_client_from_elsewhere_may_not_spin_unless_the_server_was_told_so() {
    let Some(pair) = Pair::veth("x") else { return };
    let server = pair.server(&["--no-token"]);
    let spin = |wait| pair.probe(&["rr", ADDRESS, "--wait", wait, "--duration", "200ms"]);
    for wait in ["spin", "adaptive"] {
        let told = spin(wait);
        assert_eq!(told.code, 2, "{}", told.stderr);
        assert!(told.stderr.contains("--max-spin-threads 1"), "{}", told.stderr);
    }
    assert_eq!(spin("block").code, 0);
    assert_eq!(server.stop()["refused_order"], 2);
    let server = pair.server(&["--no-token", "--max-spin-threads", "1"]);
    assert_eq!(spin("spin").code, 0);
    let told = pair.probe(&["rr", ADDRESS, "--wait", "spin", "--flows", "2", "--duration", "200ms"]);
    assert_eq!(told.code, 2, "{}", told.stderr);
    drop(server);
}

#[test]
fn a_rate_with_pauses_longer_than_the_idle_limit_is_refused() {
    let Some(pair) = Pair::veth("y") else { return };
    let server = pair.server(&["--no-token", "--max-idle", "2s"]);
    let at = |rate| pair.probe(&["rr", ADDRESS, "--rate", rate, "--duration", "3s"]);
    let told = at("0.5/s");
    assert_eq!(told.code, 2, "{}", told.stderr);
    assert!(told.stderr.contains("--max-idle"), "{}", told.stderr);
    let told = at("1/s");
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert_eq!(told.summary()["transactions"], 3);
    drop(server);
}
