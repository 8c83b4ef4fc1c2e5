//! What people do to a tool: wrong versions, any port, interrupts in every phase, ends that are killed.

mod support;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use netprobe::protocol::hello::Hello;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use support::{NETPROBE, Server, eventually, probe, summary_of, talk::control};

fn spawn(words: &[&str]) -> Child {
    Command::new(NETPROBE)
        .args(words)
        .arg("--json")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Interrupts it as Ctrl-C does; its exit code, its records, and what it said to people.
fn interrupted(child: Child) -> (i32, Vec<Value>, String) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let begun = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?} after the interrupt", begun.elapsed());
    let text = String::from_utf8(output.stdout).unwrap();
    let records = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap(), records, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn it_works_over_ipv6() {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: no IPv6 here");
        return;
    }
    let address = TcpListener::bind("[::1]:0").unwrap().local_addr().unwrap();
    let server = Server::start_at(address, &[], &[]);
    for flags in [&["stream", "--direction", "both"][..], &["rr"], &["rr", "--transport", "udp"], &["crr"]] {
        let told = summary_of(&server, flags[0], &flags[1..]);
        assert!(told["peer"].is_object(), "{flags:?}");
    }
}

#[test]
fn a_port_that_is_chosen_is_told() {
    let mut server = spawn(&["serve", "--listen", "127.0.0.1:0", "--duration", "20s"]);
    let mut line = String::new();
    BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let start: Value = serde_json::from_str(&line).unwrap();
    let address: SocketAddr = start["config"]["listen"].as_str().unwrap().parse().unwrap();
    assert_ne!(address.port(), 0);
    let told = probe(&["rr", &address.to_string(), "--duration", "1s"]);
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(told.code, 0, "{}", told.stderr);
}

#[test]
fn another_version_is_told_at_both_ends() {
    let server = Server::start(&[]);
    let mut stream = TcpStream::connect(server.address).unwrap();
    let mut hello = Hello::Control.encode();
    hello[4] += 1;
    stream.write_all(&hello).unwrap();
    let mut told = Vec::new();
    stream.read_to_end(&mut told).unwrap();
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("version 4 of the protocol, the client version 5"), "{told}");
    // A server that closes at the first word, as an older one does.
    let older = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = older.local_addr().unwrap().to_string();
    let closing = thread::spawn(move || drop(older.accept().unwrap()));
    let told = probe(&["rr", &name]);
    closing.join().unwrap();
    assert_eq!(told.code, 1);
    assert!(told.stderr.contains(&name), "{}", told.stderr);
}

#[test]
fn an_interrupt_ends_every_phase() {
    // Nobody answers: a listener whose queue is full.
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let limit = Duration::from_millis(100);
    let _waiting: Vec<_> = (0..3).map(|_| TcpStream::connect_timeout(&address, limit)).collect();
    let connecting = spawn(&["rr", &address.to_string()]);
    // Somebody accepts, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let greeting = spawn(&["rr", &silent.local_addr().unwrap().to_string()]);
    // The warm-up, the measurement, and repetitions without an end.
    let server = Server::start(&[]);
    let name = server.name();
    let warming = spawn(&["rr", &name, "--warmup", "1min"]);
    let measuring = spawn(&["stream", &name, "--duration", "1min", "--direction", "both"]);
    let repeating = spawn(&["rr", &name, "--duration", "50ms", "--until-ci", "0.0000001"]);
    thread::sleep(Duration::from_secs(1));
    for child in [connecting, greeting] {
        let (code, records, told) = interrupted(child);
        assert_eq!(code, 1, "{told}");
        assert!(told.contains("stopped before"), "{told}");
        assert!(records.iter().all(|record| record["record"] != "summary"), "nothing was measured");
    }
    for child in [warming, measuring, repeating] {
        let (code, records, told) = interrupted(child);
        assert_eq!(code, 0, "{told}");
        let summary = records.last().unwrap();
        assert!(summary["record"] == "summary" && summary["peer"].is_object(), "{summary}");
    }
    assert!(server.stop()["completed"].as_u64().unwrap() >= 4);
}

#[test]
fn a_server_that_is_killed_ends_its_clients_at_once() {
    let server = Server::start(&[]);
    let name = server.name();
    let kinds: [&[&str]; 4] = [&["stream"], &["rr"], &["rr", "--transport", "udp"], &["crr"]];
    let clients: Vec<Child> = kinds
        .iter()
        .map(|kind| spawn(&[&[kind[0], &name, "--duration", "1min"], &kind[1..]].concat()))
        .collect();
    eventually("all sessions", || server.threads() > 2 * kinds.len());
    thread::sleep(Duration::from_millis(300));
    assert!(Command::new("kill").args(["-KILL", &server.pid().to_string()]).status().unwrap().success());
    let begun = Instant::now();
    for (kind, client) in kinds.iter().zip(clients) {
        let output = client.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{kind:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains(&name), "{kind:?}: {told}");
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn sizes_beyond_the_servers_limit_are_refused_before_anything_is_allocated() {
    let server = Server::start(&[]);
    for words in [["rr", "--request-size"], ["crr", "--response-size"], ["stream", "--write-size"]] {
        let told = probe(&[words[0], &server.name(), words[1], "1GiB"]);
        assert_eq!(told.code, 2, "{words:?}: {}", told.stderr);
        assert!(told.stderr.contains("64 MiB"), "{}", told.stderr);
    }
    assert_eq!(server.stop()["refused_order"], 3);
}

#[test]
fn waiting_as_asked_and_only_where_it_makes_sense() {
    let server = Server::start(&[]);
    let name = server.name();
    for transport in ["tcp", "udp"] {
        for more in [&[][..], &["--outstanding", "4"], &["--rate", "1k"], &["--flows", "2", "--threads", "1"]]
        {
            let words = [&["--wait", "adaptive", "--spin-time", "20us", "--transport", transport][..], more];
            let told = summary_of(
                &server,
                "rr",
                &[&words.concat()[..], &["--request-size", "16", "--response-size", "16"]].concat(),
            );
            assert!(told["transactions"].as_u64().unwrap() > 10, "{transport} {more:?}");
        }
    }
    let told = probe(&["rr", &name, "--wait", "adaptive", "--dry-run"]);
    assert_eq!(told.records[0]["config"]["order"]["wait"]["adaptive"]["spin_ns"], 50_000);
    for words in [
        &["rr", "--spin-time", "1us"][..],
        &["stream", "--wait", "adaptive"],
        &["crr", "--wait", "spin"],
        &["crr", "--busy-poll"],
        &["rr", "--wait", "block", "--busy-poll"],
        &["rr", "--wait", "adaptive", "--spin-time", "2s"],
    ] {
        let told = probe(&[&[words[0], &name], &words[1..]].concat());
        assert_eq!(told.code, 2, "{words:?}: {}", told.stderr);
    }
}

#[test]
fn a_token_that_others_can_read_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "0123456789abcdef0123").unwrap();
    let server = Server::start(&[]);
    for (mode, warned) in [(0o644, true), (0o600, false)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let told = probe(&["rr", &server.name(), "--duration", "1s", "--token-file", path.to_str().unwrap()]);
        assert_eq!(told.code, 0, "{}", told.stderr);
        assert_eq!(told.stderr.contains("chmod 600"), warned, "{}", told.stderr);
    }
}

#[test]
fn a_pending_connection_is_no_session() {
    // Let in, greeted, and then cut in the middle of a frame.
    let server = Server::start(&[]);
    let mut stream = control(&server);
    stream.write_all(&[0, 0, 1]).unwrap();
    drop(stream);
    summary_of(&server, "rr", &[]);
    assert_eq!(server.stop()["malformed"], 1);
}
