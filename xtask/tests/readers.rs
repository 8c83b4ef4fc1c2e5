//! A reader that goes away ends a tool, whichever it is: nobody would learn what it measures.

mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

/// A tool asked to run for ten minutes, once it is ready; its records come over the reader.
fn ready(tool: &str, arguments: &[&str]) -> (Child, BufReader<std::process::ChildStdout>, Value) {
    let mut child = Command::new(support::binaries().join(tool))
        .args(arguments)
        .args(["--json", "--duration", "600s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut records = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    let mut start = Value::Null;
    while !line.contains("\"record\":\"ready\"") {
        line.clear();
        assert!(records.read_line(&mut line).unwrap() > 0, "{tool} {arguments:?} ended before it was ready");
        let record: Value = serde_json::from_str(&line).unwrap();
        if record["record"] == "start" {
            start = record;
        }
    }
    (child, records, start)
}

/// How a tool ends that is left alone; it gets a minute, far less than it was asked to run.
fn left_alone(tool: &str, arguments: &[&str]) -> Option<i32> {
    let (mut child, records, _) = ready(tool, arguments);
    drop(records);
    for _ in 0..1200 {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    panic!("{tool} {arguments:?} runs on with nobody to read it");
}

/// Left alone, without samples and with them.
fn ends_alone(tool: &str, arguments: &[&str]) {
    assert_eq!(left_alone(tool, arguments), Some(1), "{tool} {arguments:?}");
    let with_samples = [arguments, &["--interval", "100ms"]].concat();
    assert_eq!(left_alone(tool, &with_samples), Some(1), "{tool} {with_samples:?}");
}

#[test]
fn loads_and_observers() {
    ends_alone("cpuload", &["--cpus", "0", "--duty", "10"]);
    for interval in ["300s", "100ms"] {
        assert_eq!(left_alone("irqwatch", &["--interval", interval]), Some(1));
    }
    assert_eq!(left_alone("irqwatch", &["wakeup", "--priority", "0", "--no-lock-memory"]), Some(1));
    assert_eq!(left_alone("irqwatch", &["gaps"]), Some(1));
}

#[test]
fn a_disk_that_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blocks");
    fs::write(&file, vec![7; 1 << 20]).unwrap();
    ends_alone("diskprobe", &["read", file.to_str().unwrap(), "--buffered"]);
}

#[test]
fn both_ends_of_a_network() {
    let (mut server, records, start) = ready("netprobe", &["serve", "--listen", "127.0.0.1:0"]);
    let address = start["config"]["listen"].as_str().unwrap();
    for workload in ["rr", "stream"] {
        ends_alone("netprobe", &[workload, address]);
    }
    drop(records);
    assert_eq!(server.wait().unwrap().code(), Some(1));

    let target = "127.0.0.1:19413";
    let (mut sink, records, _) = ready("udpsend", &["sink", "--listen", target]);
    ends_alone("udpsend", &[target, "--load", "1kpps"]);
    drop(records);
    assert_eq!(sink.wait().unwrap().code(), Some(1));
}
