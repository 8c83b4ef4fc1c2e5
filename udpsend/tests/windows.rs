//! What counts: from the start on, to the end, each datagram once.

mod lab;

use std::{net::UdpSocket, time::Duration};

use lab::{Finished, Place, Running, count};
use udpsend::payload::{self, Origin};

const HERE: Place = Place::Here;

fn cpu_ns(ended: &Finished) -> u64 {
    let usage = &ended.summary()["usage"];
    count(usage, "cpu_user_ns") + count(usage, "cpu_system_ns")
}

/// Frames that the loopback device carried by a summary.
fn frames(ended: &Finished) -> u64 {
    lab::frames(ended.summary(), "lo", "tx_frames")
}

/// Sends hand-made datagrams with these numbers.
fn send(socket: &UdpSocket, port: u16, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let mut payload = [payload::FILLER; 64];
        payload::stamp(
            &mut payload,
            number,
            meter::clock::now_ns(),
            Origin { clock: payload::local_clock(), run: 3 },
        );
        socket.send_to(&payload, ("127.0.0.1", port)).unwrap();
    }
}

#[test]
fn a_sink_under_control_counts_from_go_on() {
    for options in ["", "--no-timestamps", "--cpus 0", "--warmup 50ms"] {
        let mut command = HERE.command(env!("CARGO_BIN_EXE_udpsend"));
        let args = format!("sink --json --controlled --listen 127.0.0.1:0 --duration 60s {options}");
        let mut sink = Running::start(&mut command, &args);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        send(&socket, sink.port(), 0..1000);
        sink.go();
        std::thread::sleep(Duration::from_millis(500));
        send(&socket, sink.port(), 1000..1100);
        let arrived = sink.stop();
        let summary = arrived.summary();
        assert_eq!(arrived.code, Some(0), "{options}: {arrived:?}");
        assert_eq!(count(summary, "delivered_datagrams"), 100, "{options}: {summary}");
        assert_eq!(count(summary, "discarded_datagrams"), 1000, "{options}: {summary}");
        assert_eq!(count(summary, "lost_datagrams"), 0, "{options}: {summary}");
        assert!(summary["notes"].to_string().contains("1000 datagrams had arrived before"), "{summary}");
    }
}

#[test]
fn drops_before_go_are_not_those_of_the_run() {
    let mut command = HERE.command(env!("CARGO_BIN_EXE_udpsend"));
    let args = "sink --json --controlled --listen 127.0.0.1:0 --buffer 16KiB --duration 60s";
    let mut sink = Running::start(&mut command, args);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    send(&socket, sink.port(), 0..1000);
    sink.go();
    std::thread::sleep(Duration::from_millis(500));
    send(&socket, sink.port(), 1000..1005);
    let arrived = sink.stop();
    let summary = arrived.summary();
    assert_eq!(count(summary, "delivered_datagrams"), 5, "{summary}");
    assert_eq!(count(summary, "dropped_at_socket"), 0, "{summary}");
    assert_eq!(count(summary, "lost_datagrams"), 0, "{summary}");
    assert!((1..1000).contains(&count(summary, "discarded_datagrams")), "{summary}");
}

#[test]
fn the_wait_for_the_start_costs_no_cpu_and_counts_nothing() {
    let sink = HERE.sink("--listen 127.0.0.1:0 --idle 60s");
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let mut command = HERE.command(env!("CARGO_BIN_EXE_udpsend"));
    let args =
        format!("127.0.0.1:{} --json --start-at +2s --datagrams 1 --duration 1s --load 10pps", sink.port());
    let sender = Running::start(&mut command, &args);
    let mut command = HERE.command(env!("CARGO_BIN_EXE_udpsend"));
    let late_sink = "sink --json --listen 127.0.0.1:0 --start-at +2s --duration 300ms";
    let late_sink = Running::start(&mut command, late_sink);
    // Frames on the same device, before either starts.
    for _ in 0..500 {
        other.send_to(&[0; 64], ("127.0.0.1", port)).unwrap();
    }
    send(&other, late_sink.port(), 0..10);
    let (sent, arrived) = (sender.finish(), late_sink.finish());
    assert_eq!(sent.code, Some(0), "{sent:?}");
    // A worker that spun for the two seconds took two seconds of CPU time.
    for (what, ended) in [("sender", &sent), ("sink", &arrived)] {
        assert!(cpu_ns(ended) < 1_000_000_000, "{what}: {}", ended.summary());
        assert!(frames(ended) < 500, "{what}: {}", ended.summary());
        let elapsed_s = ended.summary()["elapsed_s"].as_f64().unwrap();
        assert!(elapsed_s < 1.9, "{what}: the wait is no part of it: {}", ended.summary());
    }
    assert_eq!(count(arrived.summary(), "discarded_datagrams"), 10, "{}", arrived.summary());
    assert_eq!(count(arrived.summary(), "delivered_datagrams"), 0, "{}", arrived.summary());
}

/// Demands that samples partition the run, and that all that is counted is in one of them.
fn check_sums(ended: &Finished, keys: &[&str], what: &str) {
    let summary = ended.summary();
    for key in keys {
        let sum: i64 = ended.samples().iter().map(|sample| sample[key].as_i64().unwrap()).sum();
        assert_eq!(sum, summary[key].as_i64().unwrap(), "{what}: {key} in {ended:?}");
    }
    let sum: f64 = ended.samples().iter().map(|sample| sample["interval_s"].as_f64().unwrap()).sum();
    let elapsed_s = summary["elapsed_s"].as_f64().unwrap();
    assert!((sum - elapsed_s).abs() < 1e-6, "{what}: {sum} s of {elapsed_s} s");
}

/// How many values the lines of a histogram log hold.
fn logged(path: &std::path::Path) -> usize {
    std::fs::read_to_string(path).unwrap().lines().filter(|line| line.contains("HIST")).count()
}

#[test]
fn samples_partition_the_run_whatever_happens_to_it() {
    const SENT: &[&str] = &["sent_datagrams", "sent_bytes", "missed_slots"];
    const ARRIVED: &[&str] = &[
        "delivered_datagrams",
        "delivered_bytes",
        "lost_datagrams",
        "reordered_datagrams",
        "dropped_at_socket",
    ];
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("sent.hlog");
    for (options, signals) in [
        ("--duration 250ms", &[][..]),
        ("--duration 60s", &["INT"]),
        ("--duration 60s", &["STOP", "CONT", "INT"]),
        ("--duration 900ms", &["STOP", "CONT"]),
        ("--duration 250ms --warmup 130ms", &[]),
        ("--duration 60s --warmup 60s", &["TERM"]),
    ] {
        let sink = HERE.sink("--listen 127.0.0.1:0 --interval 100ms --expect-from 0");
        let mut command = HERE.command(env!("CARGO_BIN_EXE_udpsend"));
        let args = format!(
            "127.0.0.1:{} --json --load 2kpps --interval 100ms --hlog {} {options}",
            sink.port(),
            log.display()
        );
        let sender = Running::start(&mut command, &args);
        for signal in signals {
            std::thread::sleep(Duration::from_millis(350));
            sender.signal(signal);
        }
        let (sent, arrived) = (sender.finish(), sink.finish());
        let what = format!("{options} {signals:?}");
        check_sums(&sent, SENT, &what);
        check_sums(&arrived, ARRIVED, &what);
        let pacing = &sent.summary()["pacing_error"];
        let paced = if pacing.is_null() { 0 } else { count(pacing, "count") };
        assert_eq!(paced, count(sent.summary(), "sent_datagrams"), "{what}: {}", sent.summary());
        if paced > 0 {
            assert_eq!(logged(&log), sent.samples().len(), "{what}: a line for each sample");
        }
        if signals == ["STOP", "CONT"] {
            let elapsed_s = sent.summary()["elapsed_s"].as_f64().unwrap();
            assert!(elapsed_s < 1.5, "{what}: a stop does not lengthen the run: {}", sent.summary());
        }
    }
}

#[test]
fn every_slot_of_the_measured_time_is_sent_or_missed() {
    let sink = HERE.sink("--listen 127.0.0.1:0 --idle 60s");
    for options in ["", "--warmup 100ms", "--warmup 100ms --arrivals fixed --burst 20", "--flows 3"] {
        for method in ["sendmmsg", "gso", "send"] {
            let args = format!(
                "127.0.0.1:{} --load 10kpps --duration 200ms --method {method} {options}",
                sink.port()
            );
            let sent = HERE.udpsend(&args);
            let slots = count(sent.summary(), "sent_datagrams") + count(sent.summary(), "missed_slots");
            assert_eq!(slots, 2000, "{args}: {}", sent.summary());
        }
    }
}
