//! Whoever misbehaves costs the server nothing but that session.

mod support;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use netprobe::protocol::{
    hello::Hello,
    message::{Reply, Request},
};
use support::{
    NETPROBE, Server, eventually, probe, summary_of,
    talk::{control, is_closed, order, reply, say},
};

#[test]
fn orders_beyond_the_limits_are_refused_with_the_reason() {
    let server = Server::start(&["--max-flows", "4", "--max-duration", "5s", "--max-buffer", "1MiB"]);
    for (changes, reason) in [
        (("\"flows\":1", "\"flows\":5"), "1 to 4"),
        (("\"flows\":1", "\"flows\":0"), "1 to 4"),
        (("\"flows\":1", "\"flows\":4294967295"), "1 to 4"),
        (("\"request_bytes\":1", "\"request_bytes\":1048577"), "1 MiB"),
        (("\"request_bytes\":1", "\"request_bytes\":18446744073709551615"), "1 MiB"),
        (("\"response_bytes\":1", "\"response_bytes\":0"), "1 byte"),
        (("\"send_buffer_bytes\":null", "\"send_buffer_bytes\":99999999"), "1 MiB"),
        (("\"duration_ns\":1000000000", "\"duration_ns\":6000000000"), "5 s"),
        (("\"warmup_ns\":0", "\"warmup_ns\":18446744073709551615"), "5 s"),
        (("\"interval_ns\":null", "\"interval_ns\":10"), "1 ms"),
        (("\"outstanding\":1", "\"outstanding\":1000000"), "outstanding"),
        (("\"peer_threads\":null", "\"peer_threads\":1000"), "threads"),
        (("\"peer_cpus\":null", "\"peer_cpus\":[]"), "CPUs"),
        (
            (
                "\"pace\":null",
                "\"pace\":{\"rate\":{\"operations\":0,\"per_ns\":1},\"poisson\":false,\"seed\":1}",
            ),
            "load",
        ),
    ] {
        let mut stream = control(&server);
        say(&mut stream, &order(&[changes]));
        match reply(&mut stream) {
            Some(Reply::Refused { reason: told, .. }) => assert!(told.contains(reason), "{told}"),
            other => panic!("{changes:?}: {other:?}"),
        }
        assert!(is_closed(&mut stream));
    }
    summary_of(&server, "rr", &[]);
}

#[test]
fn bytes_that_are_no_protocol_end_their_connection_only() {
    let server = Server::start(&[]);
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n                        "[..], &[0; 64], &[0xff; 4096]] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(bytes).unwrap();
        assert!(is_closed(&mut stream));
    }
    for frame in ["", "{}", "[]", "{\"open\":{}}", "\"start\"", "\"stop\"", "nonsense", &"[".repeat(10_000)] {
        let mut stream = control(&server);
        say(&mut stream, frame);
        assert!(matches!(reply(&mut stream), Some(Reply::Refused { .. })), "{frame:.40}");
        assert!(is_closed(&mut stream));
    }
    let mut stream = control(&server);
    stream.write_all(&[0xff, 0xff, 0xff, 0xff]).unwrap();
    assert!(matches!(reply(&mut stream), Some(Reply::Refused { .. })), "a frame of 4 GiB is not waited for");
    // A data connection of no session.
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(&Hello::Data { cookie: [7; 16], flow: 0 }.encode()).unwrap();
    assert!(is_closed(&mut stream));
    summary_of(&server, "rr", &[]);
    let summary = server.stop();
    assert_eq!((&summary["malformed"], &summary["foreign"]), (&3.into(), &1.into()));
}

#[test]
fn a_client_that_says_nothing_is_shown_the_door() {
    let server = Server::start(&["--max-hello", "300ms", "--max-idle", "300ms"]);
    let mut silent = TcpStream::connect(server.address).unwrap();
    let mut slow = TcpStream::connect(server.address).unwrap();
    slow.write_all(&Hello::Control.encode()[..10]).unwrap();
    let mut greeted = control(&server);
    let mut opened = control(&server);
    say(&mut opened, &order(&[]));
    assert!(matches!(reply(&mut opened), Some(Reply::Opened { .. })));
    let begun = Instant::now();
    for stream in [&mut silent, &mut slow, &mut greeted, &mut opened] {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert!(is_closed(stream));
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    summary_of(&server, "rr", &[]);
    assert_eq!(server.stop()["too_slow"], 3);
}

#[test]
fn a_client_that_dies_frees_its_session_at_once() {
    let server = Server::start(&["--max-sessions", "1"]);
    let before = server.threads();
    for kind in ["stream", "rr", "crr"] {
        let mut client = std::process::Command::new(NETPROBE)
            .args([kind, &server.name(), "--duration", "1min"])
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        eventually("the session", || server.threads() > before + 1);
        let refused = probe(&["rr", &server.name()]);
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains("taken"), "{}", refused.stderr);
        client.kill().unwrap();
        client.wait().unwrap();
        eventually("the end of the session", || server.threads() == before);
    }
    summary_of(&server, "rr", &[]);
    let summary = server.stop();
    assert_eq!((&summary["broken"], &summary["refused_busy"]), (&3.into(), &3.into()));
}

#[test]
fn a_server_that_dies_leaves_the_client_with_what_it_saw() {
    let server = Server::start(&[]);
    let client = std::process::Command::new(NETPROBE)
        .args(["rr", &server.name(), "--duration", "1min", "--json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(500));
    server.stop();
    let output = client.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let summary = text.lines().find(|line| line.contains("\"summary\"")).expect("what was seen is told");
    let summary: serde_json::Value = serde_json::from_str(summary).unwrap();
    assert!(summary["transactions"].as_u64().unwrap() > 0);
    assert!(summary["peer"].is_null(), "what the server saw is missing, not zero");
}

#[test]
fn a_thousand_clients_at_once_and_ten_thousand_connects_leave_nothing_behind() {
    let server = Server::start(&[]);
    summary_of(&server, "rr", &[]);
    let (descriptors, threads) = (server.descriptors(), server.threads());
    let half_open: Vec<TcpStream> =
        (0..1000).filter_map(|_| TcpStream::connect(server.address).ok()).collect();
    assert!(half_open.len() > 900, "{}", half_open.len());
    let told = probe(&["rr", &server.name(), "--duration", "100ms"]);
    assert_eq!(told.code, 0, "a real client gets through: {}", told.stderr);
    drop(half_open);
    for _ in 0..10_000 {
        drop(TcpStream::connect(server.address).unwrap());
    }
    eventually("the descriptors' release", || server.descriptors() <= descriptors);
    eventually("the threads' end", || server.threads() <= threads);
    assert!(server.resident_bytes() < 10 << 20, "{}", server.resident_bytes());
    summary_of(&server, "rr", &[]);
    let summary = server.stop();
    assert!(summary["connections"].as_u64().unwrap() > 10_900, "{summary}");
    assert!(summary["displaced"].as_u64().unwrap() > 400, "{summary}");
}

#[test]
fn a_session_is_its_own_clients_alone() {
    // The cookie of one session is worth nothing without its client's address: from 127.0.0.2 it is refused.
    let server = Server::start(&["--max-idle", "1s"]);
    let mut stream = control(&server);
    say(&mut stream, &order(&[]));
    let Some(Reply::Opened { cookie, .. }) = reply(&mut stream) else { panic!("not opened") };
    let cookie = u128::from_str_radix(&cookie, 16).unwrap().to_be_bytes();
    let thief = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    thief.bind(&std::net::SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    thief.connect(&server.address.into()).unwrap();
    let mut thief = TcpStream::from(thief);
    thief.write_all(&Hello::Data { cookie, flow: 0 }.encode()).unwrap();
    assert!(is_closed(&mut thief));
    // The owner's own connection is taken, once.
    let mut flow = TcpStream::connect(server.address).unwrap();
    flow.write_all(&Hello::Data { cookie, flow: 0 }.encode()).unwrap();
    assert_eq!(reply(&mut stream), Some(Reply::Ready));
}

#[test]
fn datagrams_go_to_the_client_of_the_session_and_to_no_one_else() {
    let server = Server::start(&["--max-idle", "2s"]);
    let mut stream = control(&server);
    say(&mut stream, &order(&[("\"tcp\"", "\"udp\"")]));
    let Some(Reply::Opened { cookie, ports }) = reply(&mut stream) else { panic!("not opened") };
    let cookie = u128::from_str_radix(&cookie, 16).unwrap().to_be_bytes();
    let to = std::net::SocketAddr::from(([127, 0, 0, 1], ports[0]));
    let stranger = UdpSocket::bind("127.0.0.2:0").unwrap();
    stranger.send_to(&Hello::Data { cookie, flow: 0 }.encode(), to).unwrap();
    let owner = UdpSocket::bind("127.0.0.1:0").unwrap();
    owner.send_to(&Hello::Data { cookie: [0; 16], flow: 0 }.encode(), to).unwrap();
    owner.send_to(&Hello::Data { cookie, flow: 0 }.encode(), to).unwrap();
    assert_eq!(reply(&mut stream), Some(Reply::Ready));
    say(&mut stream, &serde_json::to_string(&Request::Start).unwrap());
    assert_eq!(reply(&mut stream), Some(Reply::Started));
    for socket in [&stranger, &owner] {
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        socket.send_to(b"x", to).unwrap();
    }
    let mut answer = [0; 10];
    assert_eq!(owner.recv(&mut answer).unwrap(), 1);
    assert!(stranger.recv(&mut answer).is_err(), "a stranger is not answered");
}

#[test]
fn a_connection_of_crr_that_says_nothing_delays_the_others_by_a_second_at_most() {
    let server = Server::start(&["--max-idle", "5s"]);
    let mut stream = control(&server);
    let from = "{\"transactions\":{\"transport\":\"tcp\",\"request_bytes\":1,\"response_bytes\":1,\"outstanding\":1,\"pace\":null}}";
    let to = "{\"connections\":{\"request_bytes\":1,\"response_bytes\":1}}";
    say(&mut stream, &order(&[(from, to), ("\"duration_ns\":1000000000", "\"duration_ns\":9000000000")]));
    let Some(Reply::Opened { ports, .. }) = reply(&mut stream) else { panic!("not opened") };
    assert_eq!(reply(&mut stream), Some(Reply::Ready));
    say(&mut stream, &serde_json::to_string(&Request::Start).unwrap());
    assert_eq!(reply(&mut stream), Some(Reply::Started));
    let to = std::net::SocketAddr::from(([127, 0, 0, 1], ports[0]));
    let silent = TcpStream::connect(to).unwrap();
    let mut honest = TcpStream::connect(to).unwrap();
    honest.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    honest.write_all(b"x").unwrap();
    assert_eq!(honest.read(&mut [0; 10]).unwrap(), 1);
    // The server closes a connection once it has counted its transaction.
    assert_eq!(honest.read(&mut [0; 10]).unwrap(), 0);
    drop(silent);
    say(&mut stream, &serde_json::to_string(&Request::Stop).unwrap());
    let Some(Reply::Report(report)) = reply(&mut stream) else { panic!("no report") };
    assert_eq!(report.transactions, Some(1), "the silent one is none");
}

#[test]
fn a_client_that_never_reads_its_stream_ends_with_its_time() {
    let server = Server::start(&["--max-idle", "1s"]);
    let mut stream = control(&server);
    let from = "{\"transactions\":{\"transport\":\"tcp\",\"request_bytes\":1,\"response_bytes\":1,\"outstanding\":1,\"pace\":null}}";
    let to = "{\"stream\":{\"direction\":\"receive\",\"write_bytes\":100000,\"read_bytes\":1,\"send_with\":\"copy\",\"receive_with\":\"copy\"}}";
    say(&mut stream, &order(&[(from, to)]));
    let Some(Reply::Opened { cookie, .. }) = reply(&mut stream) else { panic!("not opened") };
    let cookie = u128::from_str_radix(&cookie, 16).unwrap().to_be_bytes();
    let mut flow = TcpStream::connect(server.address).unwrap();
    flow.write_all(&Hello::Data { cookie, flow: 0 }.encode()).unwrap();
    assert_eq!(reply(&mut stream), Some(Reply::Ready));
    let threads = server.threads();
    say(&mut stream, &serde_json::to_string(&Request::Start).unwrap());
    assert_eq!(reply(&mut stream), Some(Reply::Started));
    // Neither the stream is read, nor is the end asked for.
    eventually("the end of the session", || server.threads() < threads);
    assert!(matches!(reply(&mut stream), Some(Reply::Refused { .. })));
    summary_of(&server, "rr", &[]);
    assert_eq!(server.stop()["broken"], 1);
}

#[test]
fn a_token_is_asked_for_and_never_sent() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (right, wrong) = (file("right", "0123456789abcdef0123\n"), file("wrong", "0123456789abcdef0124\n"));
    let server = Server::start(&["--token-file", &right]);
    summary_of(&server, "rr", &["--token-file", &right]);
    let without = probe(&["rr", &server.name()]);
    assert_eq!((without.code, without.stderr.contains("--token-file")), (3, true), "{}", without.stderr);
    let refused = probe(&["rr", &server.name(), "--token-file", &wrong]);
    assert_eq!((refused.code, refused.stderr.contains("wrong")), (3, true), "{}", refused.stderr);
    // An order before the proof.
    let mut stream = control(&server);
    say(&mut stream, &order(&[]));
    assert!(matches!(reply(&mut stream), Some(Reply::Refused { .. })));
    assert_eq!(server.stop()["refused_token"], 2);
    let short = file("short", "abc");
    assert_eq!(probe(&["serve", "--token-file", &short]).code, 2);
}

#[test]
fn the_token_does_not_cross_the_wire() {
    // A listener in between sees every byte of the client's side.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "a secret of some length").unwrap();
    let server = Server::start(&["--token-file", path.to_str().unwrap()]);
    let between = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = between.local_addr().unwrap().to_string();
    let to = server.address;
    let relay = std::thread::spawn(move || {
        let (mut client, _) = between.accept().unwrap();
        let mut server = TcpStream::connect(to).unwrap();
        let (mut back, mut forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut back, &mut forth));
        let mut seen = Vec::new();
        let mut bytes = [0; 4096];
        while let Ok(count) = client.read(&mut bytes) {
            if count == 0 || server.write_all(&bytes[..count]).is_err() {
                break;
            }
            seen.extend_from_slice(&bytes[..count]);
            if seen.windows(6).any(|window| window == b"\"open\"") {
                break;
            }
        }
        seen
    });
    probe(&["rr", &name, "--token-file", path.to_str().unwrap(), "--duration", "50ms"]);
    let seen = relay.join().unwrap();
    let text = String::from_utf8_lossy(&seen);
    assert!(text.contains("\"proof\"") && text.contains("\"open\""), "the client was let in: {text}");
    assert!(!text.contains("secret") && !text.contains("6120736563726574"), "{text}");
}

#[test]
fn a_taken_port_is_a_clear_error() {
    let server = Server::start(&[]);
    let told = probe(&["serve", "--listen", &server.name()]);
    assert_eq!(told.code, 1);
    assert!(told.stderr.contains("--listen"), "{}", told.stderr);
}
