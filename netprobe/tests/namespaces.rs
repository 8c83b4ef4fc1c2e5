//! Two namespaces and a link between them: what is injected there must be found again.
//!
//! Needs root and ip(8); where they are missing each test says so and passes.

mod support;

use std::process::Command;

use serde_json::Value;
use support::{
    Server,
    pair::{Pair, run},
    tun::{Fate, TCP, UDP},
};

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn what_arrived_agrees_with_the_interfaces_own_count() {
    let Some(pair) = Pair::veth("c") else { return };
    let server = pair.server(&["--no-token"]);
    let before = pair.received_bytes(1);
    let told = pair.probe(&["stream", "10.99.7.2:12865", "--duration", "300ms"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    let on_the_wire = (pair.received_bytes(1) - before) as f64;
    let payload = number(&told.summary()["received_bytes"]);
    // Headers and what was on its way when the measured time ended come on top.
    assert!(payload <= on_the_wire && payload > 0.8 * on_the_wire, "{payload} of {on_the_wire}");
    drop(server);
}

/// What every packet of the client takes longer.
const DELAY: std::time::Duration = std::time::Duration::from_millis(20);

#[test]
fn an_injected_delay_is_found_in_every_kind_of_latency() {
    let Some(pair) = Pair::disturbed("d", |_, _| Fate::Late(DELAY)) else { return };
    let server = pair.server(&["--no-token"]);
    for flags in [&["rr"][..], &["rr", "--transport", "udp"], &["rr", "--rate", "100"], &["crr"]] {
        // Long enough that a last response that comes late is less than a hundredth of all.
        let words = [&flags[..1], &["10.99.7.2:12865", "--duration", "3s"], &flags[1..]].concat();
        let told = pair.probe(&words);
        assert_eq!(told.code, 0, "{words:?} {}", told.stderr);
        // One delay per request; a connection takes one more for its handshake.
        let expected_ns = if flags[0] == "crr" { 40e6 } else { 20e6 };
        let found_ns = number(&told.summary()["service_time"]["p50_ns"]);
        assert!((expected_ns..expected_ns + 15e6).contains(&found_ns), "{words:?} {found_ns}");
    }
    let told = pair.probe(&["stream", "10.99.7.2:12865", "--duration", "500ms", "--interval", "100ms"]);
    let rtt_ns = number(&told.samples()[0]["tcp"][0]["rtt_ns"]);
    assert!((20e6..60e6).contains(&rtt_ns), "TCP_INFO sees it too: {rtt_ns}");
    drop(server);
}

#[test]
fn lost_datagrams_are_counted_as_lost_and_not_as_slow() {
    let Some(pair) =
        Pair::disturbed(
            "l",
            |protocol, number| if protocol == UDP && number % 10 == 9 { Fate::Drop } else { Fate::Pass },
        )
    else {
        return;
    };
    let server = pair.server(&["--no-token"]);
    let sizes = ["--transport", "udp", "--request-size", "16", "--response-size", "16", "--duration", "2s"];
    let told =
        pair.probe(&[&["rr", "10.99.7.2:12865", "--rate", "500", "--warmup", "50ms"][..], &sizes].concat());
    assert_eq!(told.code, 4, "a tenth of the load was not answered: {}", told.stderr);
    let summary = told.summary();
    let missing = number(&summary["lost"]) + number(&summary["unanswered"]);
    // Two seconds at 500/s; every tenth datagram of the client was dropped.
    assert!((80.0..=120.0).contains(&missing), "{missing}");
    assert!(number(&summary["service_time"]["max_ns"]) < 500e6);
    drop(server);
}

/// Transactions, lost and unanswered of 3 s at 500 requests per second.
fn outcome_of_1500_requests(pair: &Pair, size: &str) -> [f64; 3] {
    let sizes = ["--request-size", size, "--response-size", size];
    let words = ["rr", "10.99.7.2:12865", "--transport", "udp", "--rate", "500", "--duration", "3s"];
    let told = pair.probe(&[&words[..], &sizes].concat());
    assert_eq!(told.code, 0, "{size} bytes: {}", told.stderr);
    ["transactions", "lost", "unanswered"].map(|key| number(&told.summary()[key]))
}

#[test]
fn one_lost_datagram_is_one_lost_request_however_short_they_are() {
    for size in ["1", "2", "3", "16"] {
        // A machine so busy that the wire itself is a second late loses more: it gets three tries.
        let mut outcomes = Vec::new();
        while outcomes.last() != Some(&[1499.0, 1.0, 0.0]) {
            assert!(outcomes.len() < 3, "{size} bytes: {outcomes:?}");
            let lose_one =
                |protocol, number| if protocol == UDP && number == 200 { Fate::Drop } else { Fate::Pass };
            let Some(pair) = Pair::disturbed("o", lose_one) else { return };
            let server = pair.server(&["--no-token"]);
            let outcome = outcome_of_1500_requests(&pair, size);
            assert_eq!(outcome.iter().sum::<f64>(), 1500.0, "each request is in one of them: {outcome:?}");
            outcomes.push(outcome);
            drop(server);
        }
    }
}

#[test]
fn a_response_later_than_all_numbers_of_its_size_is_that_of_its_own_request() {
    // One byte numbers 256 requests: at 500 per second, half a second's.
    let delay_one = |protocol, number| {
        if protocol == UDP && number == 200 {
            Fate::Late(std::time::Duration::from_millis(800))
        } else {
            Fate::Pass
        }
    };
    let Some(pair) = Pair::disturbed("w", delay_one) else { return };
    let server = pair.server(&["--no-token"]);
    assert_eq!(outcome_of_1500_requests(&pair, "1"), [1500.0, 0.0, 0.0]);
    drop(server);
}

#[test]
fn repeated_datagrams_are_stray() {
    let Some(pair) =
        Pair::disturbed(
            "r",
            |protocol, number| if protocol == UDP && number % 2 == 0 { Fate::Twice } else { Fate::Pass },
        )
    else {
        return;
    };
    let server = pair.server(&["--no-token"]);
    let words =
        ["rr", "10.99.7.2:12865", "--transport", "udp", "--request-size", "16", "--response-size", "16"];
    let told = pair.probe(&[&words[..], &["--duration", "500ms"]].concat());
    assert_eq!(told.code, 0, "{}", told.stderr);
    let (stray, transactions) = (number(&told.summary()["stray"]), number(&told.summary()["transactions"]));
    assert!((0.4..0.6).contains(&(stray / transactions)), "{stray} of {transactions}");
    drop(server);
}

#[test]
fn retransmits_show_where_packets_are_lost() {
    let Some(pair) =
        Pair::disturbed(
            "t",
            |protocol, number| if protocol == TCP && number % 50 == 49 { Fate::Drop } else { Fate::Pass },
        )
    else {
        return;
    };
    let server = pair.server(&["--no-token"]);
    let told = pair.probe(&["stream", "10.99.7.2:12865", "--duration", "1s"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert!(number(&told.summary()["tcp"][0]["retransmits"]) > 0.0, "{:?}", told.summary()["tcp"]);
    drop(server);
}

#[test]
fn without_a_token_nobody_routes_to_it_gets_in() {
    let Some(pair) = Pair::veth("p") else { return };
    let server = pair.server(&["--no-token"]);
    // 198.51.100.0/24 is for documentation: an address that could be anyone's.
    assert!(run(&["ip", "-n", &pair.names[0], "addr", "add", "198.51.100.1/24", "dev", "v"]));
    assert!(run(&["ip", "-n", &pair.names[1], "route", "add", "198.51.100.0/24", "dev", "v"]));
    let told = pair.probe(&["rr", "10.99.7.2:12865", "--duration", "100ms"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    let reached = Command::new("ip")
        .args(["netns", "exec", &pair.names[0], "sh", "-c"])
        .arg("ip route change 10.99.7.0/24 dev v src 198.51.100.1 && exec \"$0\" rr 10.99.7.2:12865 --duration 100ms")
        .arg(support::NETPROBE)
        .output()
        .unwrap();
    assert_eq!(reached.status.code(), Some(1), "{}", String::from_utf8_lossy(&reached.stderr));
    assert_eq!(server.stop()["foreign"], 1);
}

#[test]
fn an_interface_by_name_works_for_servers_clients_and_sources() {
    let Some(pair) = Pair::veth("z") else { return };
    for (name, address) in pair.names.iter().zip(["fe80::1/64", "fe80::2/64"]) {
        assert!(run(&["ip", "-n", name, "addr", "add", address, "dev", "v", "nodad"]));
    }
    let address = "[fe80::2]:12865".parse().unwrap();
    let through = ["ip", "netns", "exec", &pair.names[1]];
    let server = Server::start_listening("[fe80::2%v]:12865", address, &through, &["--no-token"]);
    for source in ["fe80::1%v", "fe80::1"] {
        for flags in [&["stream"][..], &["rr"], &["rr", "--transport", "udp"], &["crr"]] {
            let server = ["[fe80::2%v]:12865", "--duration", "200ms", "--source-address", source];
            let words = [&flags[..1], &server, &flags[1..]].concat();
            let told = pair.probe(&words);
            assert_eq!(told.code, 0, "{words:?} {}", told.stderr);
            assert!(!told.summary().is_null(), "{words:?}");
        }
    }
    drop(server);
    for (words, code, hint) in [
        (&["rr", "[fe80::2]:12865"][..], 2, "[fe80::2%eth0]:12865"),
        (&["rr", "[fe80::2%nowhere0]:12865"], 3, "nowhere0"),
        (&["serve", "--no-token", "--listen", "[fe80::1]:12865"], 2, "[fe80::1%eth0]:12865"),
        (&["serve", "--no-token", "--listen", "[fe80::1%nowhere0]:12865"], 3, "nowhere0"),
    ] {
        let told = pair.probe(words);
        assert_eq!(told.code, code, "{words:?} {}", told.stderr);
        assert!(told.stderr.contains(hint), "{words:?} {}", told.stderr);
    }
}
