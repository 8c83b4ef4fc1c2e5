//! A known number of interrupts is caused and must be found again.

mod support;

use std::{
    process::Command,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use meter::{
    clock,
    placement::{Placement, Policy},
};
use support::{IRQWATCH, count, is_root, summary};

#[test]
fn every_timer_interrupt_of_a_thread_is_counted() {
    let inner = [IRQWATCH, "--json", "wakeup", "--cpus", "0", "--period", "1ms", "--priority", "0"];
    let more = ["--duration", "400ms", "--no-lock-memory"];
    let output = support::irqwatch(&[&["--json", "run", "--"], &inner[..], &more].concat());
    assert!(output.status.success(), "{output:?}");
    let records = support::records(&output);
    let woken = records.iter().find_map(|record| record["wakeup_latency"]["count"].as_u64()).unwrap();
    assert!(woken > 50, "{woken} wake-ups in 400 ms");
    // Each wake-up is a timer interrupt of that CPU; whatever else the machine does comes on top.
    let summary = records.last().unwrap();
    let timers: u64 = ["LOC", "arch_timer"].iter().map(|name| count(summary, name, Some(0))).sum();
    assert!(timers >= woken, "{woken} wake-ups: {summary}");
}

#[test]
fn every_read_of_a_disk_is_counted() {
    let Some(interrupts) = meter::interrupts::Table::interrupts()
        .ok()
        .filter(|table| table.rows.iter().any(|row| row.device().contains("-req.")))
    else {
        eprintln!("skipped: this machine has no disk whose interrupts are known");
        return;
    };
    drop(interrupts);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data");
    std::fs::write(&file, vec![7; 300 * 4096]).unwrap();
    let input = format!("if={}", file.display());
    Command::new("sync").status().unwrap();
    let arguments = [
        "--json",
        "--matching",
        "virtio.*-req",
        "run",
        "--",
        "dd",
        &input,
        "of=/dev/null",
        "bs=4096",
        "iflag=direct",
    ];
    let output = support::irqwatch(&arguments);
    let summary = support::records(&output).pop().unwrap();
    if summary["command"]["exit_code"] != 0 {
        eprintln!("skipped: this file system has no direct reads");
        return;
    }
    // One after the other: each read is an interrupt of its own.
    assert!(summary["interrupts"].as_u64().unwrap() >= 295, "{summary}");
}

#[test]
fn every_packet_of_a_veth_pair_is_counted() {
    if !is_root("a pair of virtual network devices") {
        return;
    }
    let (one, other) = (format!("iwa{}", std::process::id()), format!("iwb{}", std::process::id()));
    let names = Namespaces([one.clone(), other.clone()]);
    let lines = [
        format!("ip netns add {one}"),
        format!("ip netns add {other}"),
        format!("ip link add veth0 netns {one} type veth peer name veth0 netns {other}"),
        format!("ip -n {one} addr add 192.168.77.1/24 dev veth0"),
        format!("ip -n {other} addr add 192.168.77.2/24 dev veth0"),
        format!("ip -n {one} link set veth0 up"),
        format!("ip -n {other} link set veth0 up"),
    ];
    for line in lines {
        if !Command::new("sh").args(["-c", &line]).status().is_ok_and(|status| status.success()) {
            eprintln!("skipped: `{line}` failed");
            return;
        }
    }
    let send = "for i in $(seq 300); do echo $i > /dev/udp/192.168.77.2/9; sleep 0.001; done";
    let summary = summary(&[
        "--json",
        "--matching",
        "NET_RX",
        "run",
        "--",
        "ip",
        "netns",
        "exec",
        &one,
        "bash",
        "-c",
        send,
    ]);
    assert!(count(&summary, "NET_RX", None) >= 300, "{summary}");
    drop(names);
}

/// Network namespaces that are gone at the end.
struct Namespaces([String; 2]);

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.0 {
            // One that was never made can't be removed.
            let _: std::io::Result<_> = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

#[test]
fn a_task_that_steals_a_millisecond_in_ten_is_found() {
    let thief = Placement { cpu: Some(0), policy: Policy::Fifo(50) };
    let may = std::thread::spawn(move || thief.apply().is_ok()).join().unwrap();
    if !may {
        eprintln!("skipped: a thief needs SCHED_FIFO");
        return;
    }
    let over = AtomicBool::new(false);
    let (summary, stolen) = std::thread::scope(|scope| {
        let thief = scope.spawn(|| {
            thief.apply().unwrap();
            let mut stolen = Vec::new();
            let mut next_ns = clock::now_ns();
            while !over.load(Relaxed) {
                clock::sleep_until_ns(next_ns).unwrap();
                let began_ns = clock::now_ns();
                while clock::now_ns() < began_ns + 1_000_000 {}
                stolen.push(began_ns);
                next_ns += 10_000_000;
            }
            stolen
        });
        let summary = summary(&[
            "--json",
            "gaps",
            "--cpus",
            "0",
            "--sched",
            "fifo:1",
            "--threshold",
            "900us",
            "--duration",
            "1s",
        ]);
        over.store(true, Relaxed);
        (summary, thief.join().unwrap())
    });
    let cpu = &summary["cpus"][0];
    let found = cpu["count"].as_u64().unwrap();
    // As many as there were while the search ran; a busy machine adds gaps of its own.
    assert!(stolen.len() > 100 && (95..160).contains(&found), "{cpu}");
    let median_ms = |key: &str| cpu[key]["p50_ns"].as_f64().unwrap() / 1e6;
    assert!((0.95..1.5).contains(&median_ms("length")), "{cpu}");
    assert!((9.0..11.0).contains(&median_ms("spacing")), "{cpu}");
    assert!(cpu["not_running_ns"].as_u64().unwrap() > 90_000_000, "{cpu}");
    assert!(cpu["context_switches"].as_u64().unwrap() >= 90, "{cpu}");
}

#[test]
fn handlers_are_timed() {
    if !is_root("tracing") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // In a mount namespace of its own, so that nothing stays mounted.
    let script = format!(
        "mount -t tracefs nodev {0} && {IRQWATCH} --json --duration 300ms handlers --tracefs {0}; code=$?; ls {0}/instances >&2; exit $code",
        folder.path().display()
    );
    let output = Command::new("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("mount:") || errors.contains("unshare:") {
        eprintln!("skipped: {errors}");
        return;
    }
    assert!(output.status.success(), "{output:?}");
    assert!(!errors.contains("irqwatch-"), "the trace instance is gone: {errors}");
    let summary = support::records(&output).pop().unwrap();
    let handlers = summary["handlers"].as_array().unwrap();
    assert!(handlers.iter().any(|handler| handler["kind"] == "softirq"), "{summary}");
    for handler in handlers {
        let (total, count) =
            (handler["total_ns"].as_u64().unwrap(), handler["time"]["count"].as_u64().unwrap());
        assert!(count > 0 && total < 1_000_000_000, "{handler}");
    }
}
