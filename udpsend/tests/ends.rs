//! A run ends on time whatever the link does, and what was not sent is told as that. Needs root, or a user namespace
//! with it; else it says so and passes.

mod lab;

use std::process::{Command, Stdio};

use lab::{Finished, Lab, Place, RECEIVER, Running, count};

/// Nobody has this address.
const ABSENT: &str = "10.99.0.50";
const METHODS: [&str; 4] = ["send", "sendmmsg", "gso", "io_uring"];
/// Where a link that takes nothing made a run of one second three to twelve seconds long.
const MUCH_TOO_LATE_S: f64 = 2.0;

fn elapsed_s(ended: &Finished) -> f64 {
    ended.summary()["elapsed_s"].as_f64().unwrap()
}

/// Runs each method with a paced and an unlimited load for a second, to where the link takes nothing.
fn check_ends(lab: &Lab, target: &str) {
    for method in METHODS {
        for load in ["--load 20kpps", ""] {
            let args =
                format!("{target}:5010 --method {method} {load} --size 1000 --batch 1024 --duration 1s");
            let begun = std::time::Instant::now();
            let mut command = lab.sender.command(env!("CARGO_BIN_EXE_udpsend"));
            let sent = Finished::of(command.args(args.split_whitespace()).arg("--json").output().unwrap());
            if sent.code == Some(3) && method == "io_uring" {
                eprintln!("skipped: this kernel has no {method}: {}", sent.stderr);
                continue;
            }
            assert!(begun.elapsed().as_secs_f64() < 2.0 * MUCH_TOO_LATE_S, "{args}: {sent:?}");
            assert!(elapsed_s(&sent) < MUCH_TOO_LATE_S, "{args}: {}", sent.summary());
            let (taken, missed) =
                (count(sent.summary(), "sent_datagrams"), count(sent.summary(), "missed_slots"));
            if load.is_empty() {
                assert_eq!(missed, 0, "{args}: nothing was owed");
            } else {
                assert_eq!(sent.code, Some(4), "{args}: the load was not reached: {sent:?}");
                assert_eq!(
                    taken + missed,
                    20_000,
                    "{args}: every slot is one or the other: {}",
                    sent.summary()
                );
            }
        }
    }
}

#[test]
fn a_host_that_does_not_answer_keeps_no_run() {
    let Some(lab) = Lab::new() else { return };
    check_ends(&lab, ABSENT);
}

#[test]
fn a_full_queue_keeps_no_run() {
    let Some(lab) = Lab::new() else { return };
    let slow = "tc qdisc replace dev vs root tbf rate 1mbit burst 4kb limit 300kb";
    if !lab.sender.command("sh").args(["-c", slow]).status().unwrap().success() {
        eprintln!("skipped: this kernel has no tbf");
        return;
    }
    check_ends(&lab, RECEIVER);
}

/// Stops each method half a second after its start; says how many slots each missed, of the last run.
fn check_stops(lab: &Lab, target: &str) -> Vec<u64> {
    let stop = |method: &str| {
        let args =
            format!("{target}:5010 --json --method {method} --load 20kpps --batch 1024 --duration 60s");
        let mut missed = 0;
        // The best of three, for a machine that is busy with other things; it was 0.7 s every time.
        let stopped_after_s = (0..3).map(|_| {
            let mut command = lab.sender.command(env!("CARGO_BIN_EXE_udpsend"));
            let sender = Running::start(&mut command, &args);
            std::thread::sleep(std::time::Duration::from_millis(500));
            let begun = std::time::Instant::now();
            sender.signal("INT");
            missed = count(sender.finish().summary(), "missed_slots");
            begun.elapsed().as_secs_f64()
        });
        let best_s = stopped_after_s.fold(f64::INFINITY, f64::min);
        assert!(best_s < 0.5, "{target}, {method}: {best_s} s after the signal");
        missed
    };
    ["send", "sendmmsg", "gso"].map(stop).into()
}

#[test]
fn a_stop_is_seen_while_the_link_takes_nothing() {
    let Some(lab) = Lab::new() else { return };
    // What waits for a host that does not answer the kernel drops when it is too much: not every method waits.
    check_stops(&lab, ABSENT);
    // A queue with more room than a socket: every method waits for the socket's.
    let slow = "tc qdisc replace dev vs root tbf rate 1mbit burst 4kb limit 300kb";
    if !lab.sender.command("sh").args(["-c", slow]).status().unwrap().success() {
        eprintln!("skipped: this kernel has no tbf");
        return;
    }
    let missed = check_stops(&lab, RECEIVER);
    assert!(missed.iter().all(|missed| *missed > 1000), "the link did not hold them up: {missed:?}");
}

#[test]
fn a_stop_is_seen_while_a_neighbor_is_asked_for_its_address() {
    let Some(lab) = Lab::new() else { return };
    for method in ["packet", "xdp"] {
        // The best of three; the neighbor is waited for for two seconds.
        let stopped_after_s = (0..3).map(|_| {
            let mut command = lab.sender.command(env!("CARGO_BIN_EXE_udpsend"));
            let args = format!("{ABSENT}:5010 --method {method} --duration 60s");
            let sender = command.args(args.split_whitespace()).stdout(Stdio::null()).stderr(Stdio::piped());
            let sender = sender.spawn().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(500));
            let begun = std::time::Instant::now();
            let pid = sender.id().to_string();
            assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
            let ended = sender.wait_with_output().unwrap();
            assert_eq!(ended.status.code(), Some(1), "{method}: {ended:?}");
            assert!(String::from_utf8_lossy(&ended.stderr).contains("stopped before"), "{method}: {ended:?}");
            begun.elapsed().as_secs_f64()
        });
        let best_s = stopped_after_s.fold(f64::INFINITY, f64::min);
        assert!(best_s < 0.5, "{method}: {best_s} s after the signal");
    }
}

#[test]
fn what_did_not_leave_the_machine_is_no_valid_result() {
    let Some(lab) = Lab::new() else { return };
    for load in ["", "--load 100pps --catch-up 60s"] {
        let sent = lab.sender.udpsend(&format!("{ABSENT}:5010 {load} --duration 300ms"));
        assert_eq!(sent.code, Some(4), "{sent:?}");
        let warnings = sent.summary()["warnings"].to_string();
        assert!(warnings.contains("10.99.0.50 does not answer on vs"), "{warnings}");
    }
    // Behind a gateway it is the gateway that does not answer.
    lab.sender.shell("ip route add 10.77.0.0/16 via 10.99.0.51");
    let sent = lab.sender.udpsend("10.77.0.1:5010 --duration 300ms");
    assert_eq!(sent.code, Some(4), "{sent:?}");
    let warnings = sent.summary()["warnings"].to_string();
    assert!(warnings.contains("10.99.0.51, the next hop to 10.77.0.1, does not answer"), "{warnings}");

    // A queueing discipline that takes nothing, without an error: the interface has sent next to nothing.
    if lab
        .sender
        .command("sh")
        .args(["-c", "tc qdisc replace dev vs root tbf rate 8bit burst 1600 limit 1600 2>/dev/null"])
        .status()
        .unwrap()
        .success()
    {
        let sent = lab
            .sender
            .udpsend(&format!("{RECEIVER}:5010 --method send --size 1400 --load 10kpps --duration 500ms"));
        assert_eq!(sent.code, Some(4), "{sent:?}");
        let warnings = sent.summary()["warnings"].to_string();
        assert!(warnings.contains("while the kernel took"), "{warnings}");
        let dropped = lab::frames(sent.summary(), "vs", "queue_dropped");
        assert!(dropped > 4000, "{}", sent.summary());
    }
}

#[test]
fn a_neighbor_that_answers_is_no_reason_to_doubt() {
    let Some(lab) = Lab::new() else { return };
    for target in [RECEIVER.to_owned(), format!("[{}]", lab::RECEIVER6), "127.0.0.1".to_owned()] {
        let sent = lab.sender.udpsend(&format!("{target}:5010 --load 1kpps --duration 200ms --catch-up 60s"));
        assert_eq!(sent.code, Some(0), "{target}: {sent:?}");
    }
    // One that is asked for its address by the first datagram of a short run.
    lab.sender.shell("ip neigh flush dev vs; ip neigh del 10.99.0.2 dev vs 2>/dev/null || true");
    let sent = lab.sender.udpsend(&format!("{RECEIVER}:5010 --load 1kpps --datagrams 1"));
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let sent = Place::Here.udpsend("127.0.0.1:9 --duration 200ms");
    assert_eq!(sent.code, Some(0), "{sent:?}");
}

#[test]
fn a_ring_that_takes_nothing_ends_with_the_run() {
    // The part of a kernel that refuses every submission is played by a filter of system calls.
    let lacks = lab::seccomp::Lacks { call: libc::SYS_io_uring_enter, arguments: &[], error: libc::EBUSY };
    for load in ["", "--load 1kpps --warmup 50ms"] {
        let args = format!("127.0.0.1:9 --method io_uring {load} --duration 300ms");
        let Some(ended) = lab::seccomp::run(&Place::Here, &lacks, &args) else { return };
        if ended.code == Some(3) {
            eprintln!("skipped: this kernel has no io_uring: {}", ended.stderr);
            return;
        }
        assert_eq!(ended.code, Some(1), "{args}: {ended:?}");
        assert!(ended.stderr.contains("EBUSY"), "{args}: {}", ended.stderr);
        assert!(elapsed_s(&ended) < MUCH_TOO_LATE_S, "{args}: {}", ended.summary());
    }
}
