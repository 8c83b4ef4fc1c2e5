//! The real binary: records, filters, exit codes, bad arguments.

mod support;

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use support::{IRQWATCH, irqwatch, records, summary};

#[test]
fn a_watch_gives_the_samples_that_were_asked_for() {
    let output = irqwatch(&["--interval", "50ms", "--count", "3", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let records = records(&output);
    let kinds: Vec<&str> = records.iter().map(|record| record["record"].as_str().unwrap()).collect();
    // On a busy machine an interval may be missed, which is told.
    let summary = records.last().unwrap();
    let samples = kinds.iter().filter(|kind| **kind == "sample").count();
    assert_eq!((kinds[0], kinds[1], kinds.len()), ("start", "ready", samples + 3));
    assert_eq!(summary["missed"].as_u64().unwrap() + samples as u64, 3);
    assert!(!summary["sources"].as_array().unwrap().is_empty(), "some interrupt came in 150 ms");
    assert_eq!(summary["own"]["timer_interrupts"], samples);
    assert!(summary["own"]["usage"]["cpu_user_ns"].is_u64());
    let by_class: u64 =
        summary["classes"].as_array().unwrap().iter().map(|class| class["count"].as_u64().unwrap()).sum();
    let all = summary["interrupts"].as_u64().unwrap() + summary["softirqs"].as_u64().unwrap();
    assert_eq!(by_class, all);
}

#[test]
fn a_filter_keeps_what_it_names() {
    let summary =
        summary(&["--interval", "100ms", "--count", "1", "--json", "--class", "timer,softirq", "--top", "2"]);
    let sources = summary["sources"].as_array().unwrap();
    assert!(sources.len() <= 2);
    for source in sources {
        assert!(["timer", "softirq"].contains(&source["class"].as_str().unwrap()), "{source}");
    }
}

#[test]
fn a_watch_is_no_longer_than_asked_for() {
    let output = irqwatch(&["--duration", "100ms", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let records = records(&output);
    assert_eq!(records[0]["config"]["interval_ns"], 100_000_000);
    assert_eq!(records[0]["config"]["count"], 1);
}

#[test]
fn a_command_is_run_and_its_exit_code_told() {
    let output = irqwatch(&["--json", "run", "--", "sh", "-c", "sleep 0.05; exit 7"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let summary = records(&output).pop().unwrap();
    assert_eq!(summary["command"]["exit_code"], 7);
    assert!(summary["elapsed_s"].as_f64().unwrap() >= 0.05);
}

#[test]
fn a_command_ends_when_the_controller_goes_away() {
    let mut child = Command::new(IRQWATCH)
        .args(["--json", "--controlled", "run", "--", "sh", "-c", "echo begun; exec sleep 600"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut orders = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut orders, b"go\n").unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "begun"), "the command was not started");
    drop(orders);
    let last = lines.map(Result::unwrap).last().unwrap();
    assert!(child.wait().unwrap().success());
    let summary: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!(summary["command"]["signal"], 15);
}

#[test]
fn what_makes_no_sense_is_refused() {
    for arguments in [
        &["--interval", "0"][..],
        &["--count", "0"],
        &["--count", "2", "--duration", "1s"],
        &["--matching", "("],
        &["--class", "nothing"],
        &["--min-rate", "nan"],
        &["--live", "--json"],
        &["--hlog", "/tmp/x"],
        &["run"],
        &["run", "--", "/no/such/program"],
        &["--count", "2", "run", "--", "true"],
        &["--cpus", "0"],
        &["--warmup", "1s"],
        &["--interval", "1s", "--duration", "100ms"],
        &["--duration", "1s", "run", "--", "true"],
        &["--sched", "fifo:1", "run", "--", "true"],
        &["wakeup", "--class", "msi"],
        &["wakeup", "--warmup", "1s"],
        &["gaps", "--matching", "eth0"],
        &["gaps", "--live"],
        &["handlers", "--interval", "1s"],
        &["affinity", "--top", "2"],
        &["host", "--sort", "device"],
        &["wakeup", "--period", "1us"],
        &["wakeup", "--priority", "100"],
        &["wakeup", "--dma-latency", "-1"],
        &["gaps", "--threshold", "1ns"],
        &["handlers", "--buffer", "1"],
        &["affinity", "--to", "0"],
        &["affinity", "--matching", "no such device"],
    ] {
        let output = irqwatch(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn what_this_machine_lacks_is_named() {
    for (arguments, what) in [
        (&["--live"][..], "terminal"),
        (&["wakeup", "--cpus", "9999"], "CPU 9999"),
        (&["handlers", "--tracefs", "/no/such/folder"], "tracefs"),
        (&["host", "--kvm", "/no/such/folder"], "KVM"),
    ] {
        let output = irqwatch(arguments);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(what), "{output:?}");
    }
}

#[test]
fn a_host_is_read_where_there_is_one() {
    use std::{fs, os::unix::fs::PermissionsExt};
    let folder = tempfile::tempdir().unwrap();
    let (kvm, bin) = (folder.path().join("kvm"), folder.path().join("bin"));
    fs::create_dir_all(&kvm).unwrap();
    fs::create_dir_all(&bin).unwrap();
    fs::write(kvm.join("exits"), "100\n").unwrap();
    // A stand-in whose virtual CPU gets a second between two calls. The first one only shows that it is there;
    // with the second the measurement has begun, and the counter of KVM grows.
    let xl = bin.join("xl");
    let times = folder.path().join("called");
    let script = format!(
        "#!/bin/sh\necho x >> {0}\nn=$(wc -l < {0})\n[ $n -eq 2 ] && echo 142 > {1}\necho 'Name ID VCPU CPU State Time(s) Affinity'\necho \"guest 3 0 1 -b- 1$n.5 all / all\"\n",
        times.display(),
        kvm.join("exits").display()
    );
    fs::write(&xl, script).unwrap();
    fs::set_permissions(&xl, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = Command::new(IRQWATCH)
        .args(["host", "--kvm", kvm.to_str().unwrap(), "--duration", "50ms", "--json"])
        .env("PATH", path)
        .output()
        .unwrap();
    let summary = records(&output).pop().unwrap();
    assert_eq!(summary["kvm"][0]["name"], "exits");
    assert_eq!(summary["kvm"][0]["count"], 42);
    assert_eq!(summary["xen_vcpus"][0]["cpu_ns"], 1_000_000_000_u64);
    assert_eq!(summary["own"]["timer_interrupts"], 1);
}
