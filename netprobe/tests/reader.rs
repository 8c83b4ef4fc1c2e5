//! A reader that goes away ends the tool: nobody would learn what it measures.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
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
    let mut tool = Command::new(env!("CARGO_BIN_EXE_netprobe"))
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
fn client_and_server_end_with_their_readers() {
    assert_eq!(left_alone(&["serve", "--listen", "127.0.0.1:0"]), Some(1));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let target = format!("127.0.0.1:{port}");
    let mut server = Command::new(env!("CARGO_BIN_EXE_netprobe"))
        .args(["serve", "--listen", &target, "--json", "--duration", "300s"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut records = BufReader::new(server.stdout.take().unwrap());
    let mut record = String::new();
    while !record.contains("\"ready\"") {
        record.clear();
        assert!(records.read_line(&mut record).unwrap() > 0, "the server ended before it was ready");
    }
    assert_eq!(left_alone(&["rr", &target]), Some(1));
    assert_eq!(left_alone(&["stream", &target]), Some(1));
    assert_eq!(left_alone(&["stream", &target, "--interval", "100ms"]), Some(1));
    server.kill().unwrap();
    server.wait().unwrap();
}
