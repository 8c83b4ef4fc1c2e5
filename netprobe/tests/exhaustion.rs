//! Clients that take their time, or come in floods, get no more of the server than its limits allow.

mod support;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use netprobe::protocol::{
    channel::Channel,
    frame::{Assembler, REPLY_LIMIT},
    message::{Reply, Request},
};
use proptest::{prelude::*, test_runner::TestRunner};
use socket2::SockRef;
use support::{
    Server, eventually, summary_of,
    talk::{control, order, reply, request, say},
};

const TRANSACTIONS: &str = "{\"transactions\":{\"transport\":\"tcp\",\"request_bytes\":1,\"response_bytes\":1,\"outstanding\":1,\"pace\":null}}";

/// A session of `crr` with these sizes that has started: its control connection, and where its transactions go.
fn started_crr(server: &Server, request_bytes: u64, response_bytes: u64) -> (TcpStream, SocketAddr) {
    let mut stream = control(server);
    let sizes = format!(
        "{{\"connections\":{{\"request_bytes\":{request_bytes},\"response_bytes\":{response_bytes}}}}}"
    );
    say(&mut stream, &order(&[(TRANSACTIONS, &sizes)]));
    let Some(Reply::Opened { ports, .. }) = reply(&mut stream) else { panic!("not opened") };
    assert_eq!(reply(&mut stream), Some(Reply::Ready));
    request(&mut stream, &Request::Start);
    assert_eq!(reply(&mut stream), Some(Reply::Started));
    (stream, SocketAddr::from(([127, 0, 0, 1], ports[0])))
}

#[test]
fn a_request_that_comes_byte_by_byte_ends_with_its_session() {
    let server = Server::start(&["--max-idle", "1s"]);
    let threads = server.threads();
    let (_control, to) = started_crr(&server, 1 << 20, 1);
    let mut slow = TcpStream::connect(to).unwrap();
    slow.set_nodelay(true).unwrap();
    // A byte before each timeout of the server's read: that read never fails.
    let dripping = thread::spawn(move || {
        while slow.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(5));
        }
    });
    eventually("the end of the session", || server.threads() == threads);
    dripping.join().unwrap();
    assert_eq!(server.stop()["broken"], 1);
}

#[test]
fn a_response_that_is_read_byte_by_byte_ends_with_its_session() {
    let server = Server::start(&["--max-idle", "1s"]);
    let threads = server.threads();
    let (_control, to) = started_crr(&server, 1, 64 << 20);
    let mut slow = TcpStream::connect(to).unwrap();
    slow.write_all(b"x").unwrap();
    let reading = thread::spawn(move || {
        let mut bytes = [0; 16 << 10];
        while slow.read(&mut bytes).is_ok_and(|count| count > 0) {
            thread::sleep(Duration::from_millis(5));
        }
    });
    eventually("the end of the session", || server.threads() == threads);
    reading.join().unwrap();
    assert_eq!(server.stop()["broken"], 1);
}

#[test]
fn a_message_that_is_read_a_little_at_a_time_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut slow = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    let silence = Duration::from_secs(30);
    let mut channel = Channel::new(stream, Assembler::new(REPLY_LIMIT), silence).unwrap();
    let reading = thread::spawn(move || {
        let mut bytes = vec![0; 64 << 10];
        while slow.read(&mut bytes).is_ok_and(|count| count > 0) {
            thread::sleep(Duration::from_millis(50));
        }
    });
    // More than both ends' kernels hold, and a minute's work for such a reader.
    let error = channel.send(&"x".repeat(64 << 20)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
    drop(channel);
    reading.join().unwrap();
}

/// Connects to `address` from three threads without a word, as fast as they can, while `during` runs.
fn flooded<T>(address: SocketAddr, during: impl FnOnce() -> T) -> T {
    /// Raised when dropped, so that the threads end when an assertion fails, too.
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut held = std::collections::VecDeque::new();
                while !ended.load(Ordering::Relaxed) {
                    let Ok(stream) = TcpStream::connect(address) else { continue };
                    // Reset when dropped: no port stays behind in TIME_WAIT.
                    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                    held.push_back(stream);
                    if held.len() > 100 {
                        held.pop_front();
                    }
                }
            });
        }
        let _end = End(&ended);
        during()
    })
}

#[test]
fn a_flood_of_connections_holds_few_descriptors_and_keeps_the_server_from_no_stop() {
    let server = Server::start(&["--max-pending", "64"]);
    let descriptors = server.descriptors();
    flooded(server.address, || {
        for _ in 0..10 {
            thread::sleep(Duration::from_millis(50));
            let open = server.descriptors();
            assert!(open <= descriptors + 64 + 8, "{open} descriptors");
        }
    });
    summary_of(&server, "rr", &[]);
    let address = server.address;
    let summary = flooded(address, || {
        thread::sleep(Duration::from_millis(200));
        server.stop()
    });
    let count = |key: &str| summary[key].as_u64().unwrap();
    assert_eq!(count("completed"), 1);
    assert!(count("displaced") > 0, "{summary}");
    assert!(count("displaced") + count("malformed") <= count("connections"), "{summary}");
}

#[test]
fn whatever_an_order_asks_for_it_is_refused_or_its_session_ends() {
    let server = Server::start(&["--max-idle", "200ms", "--max-duration", "2s", "--max-buffer", "64KiB"]);
    let threads = server.threads();
    let value = prop::sample::select(vec![
        "0",
        "1",
        "2",
        "255",
        "65535",
        "65536",
        "4294967295",
        "18446744073709551615",
        "-1",
        "1.5",
        "1e308",
        "null",
        "true",
        "[]",
        "[0]",
        "[1,0]",
        "[4095,18446744073709551615]",
        "{}",
        "\"\"",
        "\"reno\"",
        "\"\\u0000\\u001b[2J\"",
        "\"spin\"",
        "\"udp\"",
        "{\"adaptive\":{\"spin_ns\":1000}}",
    ]);
    let key = prop::sample::select(vec![
        "\"transport\":\"tcp\"",
        "\"request_bytes\":1",
        "\"response_bytes\":1",
        "\"outstanding\":1",
        "\"pace\":null",
        "\"flows\":1",
        "\"peer_threads\":null",
        "\"peer_cpus\":null",
        "\"warmup_ns\":0",
        "\"duration_ns\":1000000000",
        "\"interval_ns\":null",
        "\"wait\":\"block\"",
        "\"cpu_dma_latency_us\":null",
        "\"congestion\":null",
        "\"segment_bytes\":null",
        "\"delay_small_writes\":false",
        "\"quick_ack\":false",
        "\"send_buffer_bytes\":null",
        "\"receive_buffer_bytes\":null",
    ]);
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 250,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let changes = prop::collection::vec((key, value), 1..4);
    let asked = std::cell::Cell::new(0_u64);
    runner
        .run(&changes, |changes| {
            let mut text = order(&[]);
            for (from, to) in changes {
                let name = from.split_once(':').unwrap().0;
                text = text.replace(from, &format!("{name}:{to}"));
            }
            let mut stream = control(&server);
            say(&mut stream, &text);
            let told = reply(&mut stream);
            asked.set(asked.get() + 1);
            prop_assert!(
                matches!(told, Some(Reply::Refused { .. } | Reply::Opened { .. })),
                "{text}: {told:?}"
            );
            Ok(())
        })
        .unwrap();
    eventually("the end of all sessions", || server.threads() == threads);
    summary_of(&server, "rr", &[]);
    let summary = server.stop();
    let count = |key: &str| summary[key].as_u64().unwrap();
    // A session whose thread panicked would be in none of these.
    let ended = count("refused_order") + count("refused_busy") + count("broken");
    assert_eq!((ended, count("completed")), (asked.get(), 1), "{summary}");
}
