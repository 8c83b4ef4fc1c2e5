//! The sink against trouble that is injected on purpose and must be found again, number for number.

mod lab;

use std::{
    net::UdpSocket,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use lab::{Place, count};
use meter::socket_buffer::Buffer;
use udpsend::payload::{self, Origin};

const HERE: Place = Place::Here;

/// Sends hand-made datagrams with these numbers to a sink and gives its summary.
fn summary_of(numbers: &[u64], origin: Origin) -> serde_json::Value {
    let sink = HERE.sink("--listen 127.0.0.1:0");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for &number in numbers {
        let mut payload = [payload::FILLER; 64];
        payload::stamp(&mut payload, number, meter::clock::now_ns(), origin);
        socket.send_to(&payload, ("127.0.0.1", sink.port())).unwrap();
    }
    sink.finish().summary().clone()
}

#[test]
fn hand_made_trouble_is_found_again() {
    let arrived = summary_of(&[0, 1, 2, 5, 3, 5, 7, 9, 8, 8], Origin::here());
    let expected = [
        ("delivered_datagrams", 10),
        ("lost_datagrams", 2),
        ("reordered_datagrams", 2),
        ("duplicated_datagrams", 2),
        ("dropped_at_socket", 0),
        ("flows", 1),
    ];
    for (key, value) in expected {
        assert_eq!(count(&arrived, key), value, "{key}");
    }
}

#[test]
fn without_a_common_clock_it_says_that_it_cannot_tell_the_delay() {
    let arrived = summary_of(&[0, 1, 2], Origin { clock: payload::local_clock() ^ 1, run: 1 });
    assert!(arrived["one_way_delay"].is_null());
    assert!(arrived["delay_variation"].is_null());
    assert!(arrived["notes"][0].as_str().unwrap().contains("clock"), "{arrived}");
    let arrived = summary_of(&[0, 1, 2], Origin::here());
    assert_eq!(count(&arrived["one_way_delay"], "count"), 3);
    assert_eq!(count(&arrived["delay_variation"]["inter_packet"], "count"), 2);
}

#[test]
fn a_flow_joined_late_and_datagrams_of_others_are_told() {
    let arrived = summary_of(&[1_000_000, 1_000_001], Origin::here());
    assert_eq!(count(&arrived, "lost_datagrams"), 0);
    assert!(arrived["notes"][0].as_str().unwrap().contains("joined late"), "{arrived}");

    let sink = HERE.sink("--listen 127.0.0.1:0");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for payload in [&[0_u8; 100][..], &[1; 3], &[]] {
        socket.send_to(payload, ("127.0.0.1", sink.port())).unwrap();
    }
    let arrived = sink.finish();
    assert_eq!(count(arrived.summary(), "foreign_datagrams"), 1);
    assert_eq!(count(arrived.summary(), "delivered_datagrams"), 2);
    assert_eq!(count(arrived.summary(), "unnumbered_datagrams"), 2);
}

#[test]
fn counting_begins_with_the_first_to_arrive_and_the_record_says_where() {
    // Numbers of a sender that has sent for a while; 65 535 of them were counted as lost once.
    for first in [1, 65_535] {
        let arrived = summary_of(&[first, first + 1, first - 1, first + 3], Origin::here());
        assert_eq!(count(&arrived, "lost_datagrams"), 1, "{arrived}");
        assert_eq!(count(&arrived, "reordered_datagrams"), 1, "{arrived}");
        assert_eq!(count(&arrived["first_numbers"], "lowest"), first);
        assert_eq!(count(&arrived["first_numbers"], "highest"), first);
        assert!(arrived["notes"][0].as_str().unwrap().contains(&format!("at number {first}")), "{arrived}");
    }
    let sink = HERE.sink("--listen 127.0.0.1:0 --expect-from 0");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let origin = Origin::here();
    for number in [5, 6] {
        let mut payload = [payload::FILLER; 64];
        payload::stamp(&mut payload, number, meter::clock::now_ns(), origin);
        socket.send_to(&payload, ("127.0.0.1", sink.port())).unwrap();
    }
    let arrived = sink.finish();
    assert_eq!(count(arrived.summary(), "lost_datagrams"), 5, "{}", arrived.summary());
    assert_eq!(count(&arrived.summary()["first_numbers"], "lowest"), 0);
    assert_eq!(arrived.summary()["notes"], serde_json::json!([]));
}

#[test]
fn datagrams_without_a_number_are_no_loss_and_stand_apart() {
    for method in ["send", "sendmmsg", "gso", "io_uring"] {
        for size in ["1-40", "4:1,64:9"] {
            let sink = HERE.sink("--listen 127.0.0.1:0 --expect-from 0");
            let port = sink.port();
            let args = format!(
                "127.0.0.1:{port} --size {size} --method {method} --flows 2 --datagrams 2000 --load 20kpps"
            );
            let sent = HERE.udpsend(&args);
            if method == "io_uring" && sent.code == Some(3) {
                eprintln!("skipped: this kernel has no {method}: {}", sent.stderr);
                continue;
            }
            let arrived = sink.finish();
            let (sent, arrived) = (sent.summary(), arrived.summary());
            assert!(count(sent, "unnumbered_datagrams") > 100, "{args}: {sent}");
            assert_eq!(count(arrived, "unnumbered_datagrams"), count(sent, "unnumbered_datagrams"), "{args}");
            assert_eq!(count(arrived, "delivered_datagrams"), 2000, "{args}");
            assert_eq!(count(arrived, "lost_datagrams"), 0, "{args}: {arrived}");
            assert_eq!(count(arrived, "reordered_datagrams"), 0, "{args}: {arrived}");
        }
    }
}

#[test]
fn a_rate_is_that_of_the_run_and_the_rate_of_the_arrivals_stands_beside_it() {
    // Two bursts, one second apart, in a run of three seconds.
    let sink = HERE.sink("--listen 127.0.0.1:0 --idle 1500ms");
    let burst = "--burst 100 --burst-period 1s --datagrams 200 --catch-up 60s";
    HERE.udpsend(&format!("127.0.0.1:{} {burst}", sink.port()));
    let arrived = sink.finish();
    let arrived = arrived.summary();
    assert_eq!(count(arrived, "delivered_datagrams"), 200, "{arrived}");
    let number = |key: &str| arrived[key].as_f64().unwrap();
    assert!(number("elapsed_s") > 2.5, "{arrived}");
    assert!((number("delivered_pps") - 200.0 / number("elapsed_s")).abs() < 1e-6, "{arrived}");
    let goodput_bps = 200.0 * 64.0 * 8.0 / number("elapsed_s");
    assert!((number("goodput_bps") - goodput_bps).abs() < 1e-3, "{arrived}");
    assert!(number("arrival_span_s") > 0.9 && number("arrival_span_s") < number("elapsed_s"), "{arrived}");
    // What came with the first read belongs to no time between the first and the last.
    let later = number("arrival_pps") * number("arrival_span_s");
    assert!((later - later.round()).abs() < 1e-6 && later < 200.0, "{arrived}");

    // One burst alone: its own rate is millions, that of the run is not.
    let sink = HERE.sink("--listen 127.0.0.1:0 --idle 1500ms");
    HERE.udpsend(&format!(
        "127.0.0.1:{} --burst 500 --burst-period 10s --datagrams 500 --catch-up 60s",
        sink.port()
    ));
    let arrived = sink.finish();
    let pps = arrived.summary()["delivered_pps"].as_f64().unwrap();
    assert!(pps < 500.0, "{}", arrived.summary());

    // Nothing at all is a rate of zero.
    let arrived = HERE.udpsend("sink --listen 127.0.0.1:0 --duration 100ms");
    assert_eq!(arrived.summary()["delivered_pps"], 0.0);
    assert!(arrived.summary()["arrival_span_s"].is_null() && arrived.summary()["arrival_pps"].is_null());
}

#[test]
fn more_flows_than_it_can_follow_make_the_result_untrusted() {
    let sink = HERE.sink("--listen 127.0.0.1:0 --flows 2");
    // One by one, the flows in turn: a batch of late ones belongs to one flow.
    let args = format!("127.0.0.1:{} --flows 3 --datagrams 30 --load 1kpps --method send", sink.port());
    let sent = HERE.udpsend(&args);
    assert_eq!(sent.code, Some(0));
    let arrived = sink.finish();
    assert_eq!(arrived.code, Some(4), "{arrived:?}");
    assert_eq!(count(arrived.summary(), "delivered_datagrams"), 30);
    assert!(arrived.summary()["warnings"][0].as_str().unwrap().contains("--flows"));
}

/// The socket of a relay, with room for all that it will get while it is kept from its CPU; without root it is
/// as much as there is.
fn relay() -> UdpSocket {
    let relay = socket2::Socket::from(UdpSocket::bind("127.0.0.1:0").unwrap());
    Buffer::Receive.request(relay.as_fd(), 4 << 20).unwrap();
    relay.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    relay.into()
}

/// A relay between sender and sink does what a bad network does, at known datagrams.
#[test]
fn what_a_bad_network_does_is_found_again() {
    const DATAGRAMS: u64 = 2000;
    let sink = HERE.sink("--listen 127.0.0.1:0 --expect-from 0");
    let relay = relay();
    let (relay_port, sink_port) = (relay.local_addr().unwrap().port(), sink.port());
    let relaying = std::thread::spawn(move || {
        let mut held: Option<Vec<u8>> = None;
        let (mut lost, mut duplicated, mut swapped) = (0, 0, 0);
        let mut buffer = [0; 2000];
        for number in 0..DATAGRAMS {
            let len = relay.recv(&mut buffer).unwrap();
            let send = |payload: &[u8]| relay.send_to(payload, ("127.0.0.1", sink_port)).unwrap();
            match number {
                // The last ones pass, so that what is missing lies below a number that arrived.
                number if number >= DATAGRAMS - 20 => drop(send(&buffer[..len])),
                number if number % 13 == 0 => lost += 1,
                number if number % 17 == 0 => {
                    send(&buffer[..len]);
                    send(&buffer[..len]);
                    duplicated += 1;
                }
                number if number % 19 == 0 && held.is_none() => {
                    held = Some(buffer[..len].to_vec());
                    continue;
                }
                _ => drop(send(&buffer[..len])),
            }
            // What was held goes behind the next one that was not lost.
            if number % 13 != 0
                && let Some(late) = held.take()
            {
                send(&late);
                swapped += 1;
            }
        }
        (lost, duplicated, swapped)
    });
    let sent = HERE
        .udpsend(&format!("127.0.0.1:{relay_port} --datagrams {DATAGRAMS} --load 10kpps --method sendmmsg"));
    assert_eq!(count(sent.summary(), "sent_datagrams"), DATAGRAMS);
    let (lost, duplicated, swapped) = relaying.join().unwrap();
    let arrived = sink.stop();
    let arrived = arrived.summary();
    assert!(lost > 100 && duplicated > 100 && swapped > 80);
    assert_eq!(count(arrived, "lost_datagrams"), lost);
    assert_eq!(count(arrived, "duplicated_datagrams"), duplicated);
    assert_eq!(count(arrived, "reordered_datagrams"), swapped);
    assert_eq!(count(arrived, "delivered_datagrams"), DATAGRAMS - lost + duplicated);
}

#[test]
fn a_known_delay_is_found_again() {
    const DELAY: Duration = Duration::from_millis(20);
    let sink = HERE.sink("--listen 127.0.0.1:0");
    let relay = relay();
    let (relay_port, sink_port) = (relay.local_addr().unwrap().port(), sink.port());
    let relaying = std::thread::spawn(move || {
        let mut buffer = [0; 2000];
        for number in 0..20 {
            let len = relay.recv(&mut buffer).unwrap();
            let arrived = Instant::now();
            let delay = if number % 2 == 0 { DELAY } else { 2 * DELAY };
            std::thread::sleep(delay.saturating_sub(arrived.elapsed()));
            relay.send_to(&buffer[..len], ("127.0.0.1", sink_port)).unwrap();
        }
    });
    HERE.udpsend(&format!("127.0.0.1:{relay_port} --datagrams 20 --gap 100ms --method send"));
    relaying.join().unwrap();
    let arrived = sink.stop();
    let arrived = arrived.summary();
    let at_least = |record: &serde_json::Value, key: &str, ms: u64| {
        let found = count(record, key);
        assert!(found >= ms * 1_000_000, "{key} is {found} ns, not {ms} ms: {arrived}");
    };
    at_least(&arrived["one_way_delay"], "min_ns", 20);
    at_least(&arrived["one_way_delay"], "p90_ns", 40);
    assert_eq!(count(&arrived["delay_variation"]["packet"], "min_ns"), 0);
    assert_eq!(count(&arrived["delay_variation"]["inter_packet"], "count"), 19);
    assert_eq!(count(arrived, "lost_datagrams"), 0);
}
