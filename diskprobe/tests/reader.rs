//! A reader that goes away ends the tool: nobody would learn what it measures.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// Waits a minute at most: far less than the tool was asked to run.
fn exit_code(mut tool: Child) -> Option<i32> {
    for _ in 0..1200 {
        if let Some(status) = tool.try_wait().unwrap() {
            return status.code();
        }
        thread::sleep(Duration::from_millis(50));
    }
    tool.kill().unwrap();
    panic!("it runs on with nobody to read it");
}

fn left_alone(arguments: &[&str]) -> Option<i32> {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_diskprobe"))
        .args(arguments)
        .args(["--json", "--duration", "600s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut records = BufReader::new(tool.stdout.take().unwrap());
    let mut record = String::new();
    while !record.contains("\"ready\"") {
        record.clear();
        assert!(records.read_line(&mut record).unwrap() > 0, "it ended before it was ready");
    }
    drop(records);
    exit_code(tool)
}

#[test]
fn a_read_ends_with_its_reader() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blocks");
    std::fs::write(&file, vec![7; 1 << 20]).unwrap();
    let read = ["read", file.to_str().unwrap(), "--buffered"];
    assert_eq!(left_alone(&read), Some(1), "without samples");
    let with_samples = [&read[..], &["--interval", "100ms"]].concat();
    assert_eq!(left_alone(&with_samples), Some(1), "with samples");
}
