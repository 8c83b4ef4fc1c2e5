//! Every kind of measurement, by the real binary over loopback.

mod support;

use serde_json::Value;
use support::{Server, probe, summary_of};

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_stream_counts_what_arrived_in_each_direction() {
    let server = Server::start(&[]);
    let send = summary_of(&server, "stream", &["--direction", "send"]);
    assert!(number(&send["received_bytes"]) > 1e6);
    assert_eq!(send["received_bytes"], send["peer"]["received_bytes"], "the server counts");
    assert!(send["receive_goodput_bps"].is_null());

    let receive = summary_of(&server, "stream", &["--direction", "receive"]);
    assert!(number(&receive["received_bytes"]) > 1e6);
    assert!(receive["peer"]["received_bytes"].is_null());
    assert_eq!(receive["sent_bytes"], receive["peer"]["sent_bytes"]);

    let both = summary_of(&server, "stream", &["--direction", "both"]);
    let sum = number(&both["send_goodput_bps"]) + number(&both["receive_goodput_bps"]);
    assert!((number(&both["goodput_bps"]) / sum - 1.0).abs() < 1e-9);
    assert_eq!(server.stop()["completed"], 3);
}

#[test]
fn goodput_is_bytes_over_time() {
    let server = Server::start(&[]);
    let told = summary_of(&server, "stream", &[]);
    let expected = 8.0 * number(&told["received_bytes"]) / number(&told["elapsed_s"]);
    assert!((number(&told["goodput_bps"]) / expected - 1.0).abs() < 1e-9);
    assert!(number(&told["elapsed_s"]) >= 0.19);
}

#[test]
fn both_ends_tell_their_cost() {
    let server = Server::start(&[]);
    let told = summary_of(&server, "stream", &[]);
    for end in [&told, &told["peer"]] {
        let cpu_ns = number(&end["usage"]["cpu_user_ns"]) + number(&end["usage"]["cpu_system_ns"]);
        assert!(cpu_ns > 0.0);
        assert!(number(&end["interrupts"]["count"]) > 0.0);
        assert_eq!(end["interrupts"]["sources"], serde_json::json!(["NET_TX", "NET_RX"]));
    }
    for cost in ["cost", "peer_cost"] {
        assert!(number(&told[cost]["cpu_ns_per_kb"]) > 0.0);
        assert!(number(&told[cost]["interrupts_per_mb"]) > 0.0);
    }
    let told = summary_of(&server, "rr", &[]);
    for cost in ["cost", "peer_cost"] {
        assert!(number(&told[cost]["cpu_ns_per_transaction"]) > 0.0);
        assert!(number(&told[cost]["interrupts_per_transaction"]) > 0.0);
    }
}

#[test]
fn ways_without_copying_are_marked() {
    let server = Server::start(&[]);
    let told = summary_of(&server, "stream", &["--send-with", "zerocopy"]);
    assert_eq!(told["send_with"], "zerocopy");
    let (completed, copied) = (&told["zerocopy"]["completed"], &told["zerocopy"]["copied"]);
    assert!(number(completed) > 0.0);
    assert_eq!(completed, copied, "over loopback the kernel copies after all, and says so");

    let told = summary_of(&server, "stream", &["--send-with", "sendfile", "--receive-with", "discard"]);
    assert_eq!((&told["send_with"], &told["receive_with"]), (&"sendfile".into(), &"discard".into()));
    assert!(told["zerocopy"].is_null());
    assert!(number(&told["received_bytes"]) > 1e6);
}

#[test]
fn transactions_of_any_size_over_both_transports() {
    let server = Server::start(&[]);
    for sizes in [["1", "1"], ["100", "3000"], ["7", "60000"]] {
        for transport in ["tcp", "udp"] {
            let flags = ["--transport", transport, "--request-size", sizes[0], "--response-size", sizes[1]];
            let told = summary_of(&server, "rr", &flags);
            assert!(number(&told["transactions"]) > 10.0, "{flags:?}");
            assert_eq!(told["loop"], "closed");
            assert!(told["response_time"].is_null(), "a closed loop has no response times");
            assert_eq!(told["service_time"]["count"], told["transactions"]);
        }
    }
    let told = summary_of(&server, "rr", &["--request-size", "3MiB", "--response-size", "2MiB"]);
    assert!(number(&told["transactions"]) > 1.0);
}

#[test]
fn several_requests_under_way_flows_and_threads() {
    let server = Server::start(&[]);
    for transport in ["tcp", "udp"] {
        let sizes = ["--request-size", "64", "--response-size", "64", "--transport", transport];
        let shapes: [&[&str]; 3] = [
            &["--outstanding", "16"],
            &["--flows", "5", "--threads", "2", "--peer-threads", "1"],
            &["--flows", "3", "--outstanding", "4", "--busy-poll", "--threads", "1", "--peer-threads", "1"],
        ];
        for shape in shapes {
            let told = summary_of(&server, "rr", &[&sizes, shape].concat());
            assert!(number(&told["transactions"]) > 10.0, "{transport} {shape:?}");
        }
    }
    // More under way than the buffers hold: both ends must go on reading while they write.
    let told = summary_of(
        &server,
        "rr",
        &["--outstanding", "8", "--request-size", "1MiB", "--response-size", "1MiB"],
    );
    assert!(number(&told["transactions"]) > 1.0);
    let told = summary_of(
        &server,
        "stream",
        &["--direction", "both", "--flows", "3", "--threads", "1", "--peer-threads", "2"],
    );
    assert_eq!((&told["threads"], &told["peer"]["threads"]), (&1.into(), &2.into()));
    assert!(number(&told["receive_goodput_bps"]) > 0.0 && number(&told["send_goodput_bps"]) > 0.0);
}

#[test]
fn every_transaction_a_connection_and_no_port_is_used_up() {
    let server = Server::start(&[]);
    let told = summary_of(&server, "crr", &["--flows", "3"]);
    assert!(number(&told["transactions"]) > 10.0);
    let told = summary_of(&server, "crr", &["--request-size", "2000", "--response-size", "100000"]);
    assert!(number(&told["transactions"]) > 10.0);
}

#[test]
fn a_paced_loop_keeps_its_rate_and_measures_from_the_intended_time() {
    let server = Server::start(&[]);
    for arrivals in [&[][..], &["--poisson", "--seed", "7"]] {
        for transport in ["tcp", "udp"] {
            let flags = [
                "--rate",
                "2000",
                "--flows",
                "2",
                "--transport",
                transport,
                "--request-size",
                "16",
                "--response-size",
                "16",
            ];
            let told = summary_of(&server, "rr", &[&flags, arrivals].concat());
            assert_eq!(told["loop"], "open");
            let due = number(&told["transactions"]) + number(&told["unanswered"]);
            let is_fixed = arrivals.is_empty();
            assert!(
                if is_fixed { due == 400.0 } else { (300.0..500.0).contains(&due) },
                "{due} {arrivals:?}"
            );
            let (response, service) = (&told["response_time"], &told["service_time"]);
            assert_eq!(response["count"], service["count"]);
            assert!(number(&response["mean_ns"]) >= number(&service["mean_ns"]));
        }
    }
}

#[test]
fn a_rate_that_is_not_reached_is_not_trusted() {
    let server = Server::start(&[]);
    let told = probe(&["rr", &server.name(), "--duration", "200ms", "--rate", "50M", "--outstanding", "1"]);
    assert_eq!(told.code, 4, "{}", told.stderr);
    assert!(told.summary()["warnings"][0].as_str().unwrap().contains("intended"));
    assert!(number(&told.summary()["unanswered"]) > 0.0, "what was not sent in time has not vanished");
}

#[test]
fn intervals_percentiles_and_the_interval_log() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("out.hlog");
    let name = server.name();
    let words = [
        "rr",
        &name,
        "--duration",
        "400ms",
        "--warmup",
        "100ms",
        "--interval",
        "100ms",
        "--percentiles",
        "75,99.999",
    ];
    let told = probe(&[&words[..], &["--hlog", log.to_str().unwrap()]].concat());
    assert_eq!(told.code, 0, "{}", told.stderr);
    let samples = told.samples();
    // An interval whose end is looked at late is longer, and so there may be fewer.
    assert!((1..=4).contains(&samples.len()), "{}", samples.len());
    for sample in &samples {
        assert!(number(&sample["transactions"]) > 0.0);
        assert!(number(&sample["tcp"][0]["rtt_ns"]) > 0.0, "TCP_INFO over time");
        assert!(number(&sample["peer_tcp"][0]["congestion_window_segments"]) > 0.0);
    }
    let percentiles = told.summary()["service_percentiles"].as_array().unwrap();
    assert_eq!(percentiles.len(), 2);
    assert!(number(&percentiles[1]["value_ns"]) >= number(&percentiles[0]["value_ns"]));
    let text = std::fs::read_to_string(log).unwrap();
    assert!(
        text.lines().filter(|line| line.starts_with("Tag=service_time,")).count() >= samples.len(),
        "{text}"
    );

    let told = probe(&["stream", &name, "--duration", "400ms", "--interval", "100ms", "--direction", "both"]);
    assert!((1..=4).contains(&told.samples().len()), "{:?}", told.records);
    let length: f64 = told.samples().iter().map(|sample| number(&sample["length_s"])).sum();
    assert!((length - number(&told.summary()["elapsed_s"])).abs() < 1e-6, "{:?}", told.records);
    for sample in told.samples() {
        assert!(number(&sample["received_bytes"]) > 0.0);
        assert_eq!(
            (sample["tcp"].as_array().unwrap().len(), sample["peer_tcp"].as_array().unwrap().len()),
            (1, 1)
        );
    }
}

#[test]
fn the_samples_add_up_to_the_summary() {
    let server = Server::start(&[]);
    let told = probe(&[
        "stream",
        &server.name(),
        "--duration",
        "400ms",
        "--interval",
        "100ms",
        "--direction",
        "receive",
    ]);
    let sum: f64 = told.samples().iter().map(|sample| number(&sample["received_bytes"])).sum();
    let total = number(&told.summary()["received_bytes"]);
    assert_eq!(sum, total);
}

#[test]
fn repetitions_say_how_sure_the_mean_is() {
    let server = Server::start(&[]);
    let name = server.name();
    let told = probe(&["rr", &name, "--duration", "50ms", "--repeat", "3", "--confidence", "90"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    let confidence = &told.summary()["confidence"];
    assert_eq!(
        (&confidence["repetitions"], &confidence["metric"]),
        (&3.into(), &"transactions_per_s".into())
    );
    let rates: Vec<f64> = told.samples().iter().map(|sample| number(&sample["transactions_per_s"])).collect();
    assert!((rates.iter().sum::<f64>() / 3.0 / number(&confidence["mean"]) - 1.0).abs() < 1e-9);
    assert!(number(&told.summary()["elapsed_s"]) > 0.14);

    let told = probe(&["stream", &name, "--duration", "50ms", "--until-ci", "10000", "--repeat-min", "2"]);
    assert_eq!((told.code, &told.summary()["confidence"]["repetitions"]), (0, &2.into()), "{}", told.stderr);
    let told = probe(&["rr", &name, "--duration", "20ms", "--until-ci", "0.000001", "--repeat-max", "5"]);
    assert_eq!(told.code, 4, "not sure enough is not trusted");
    assert_eq!(told.summary()["confidence"]["repetitions"], 5);
}

#[test]
fn both_ends_are_pinned_as_asked() {
    let server = Server::start(&[]);
    let told = summary_of(&server, "rr", &["--cpus", "0", "--peer-cpus", "0"]);
    assert_eq!((&told["cpus"], &told["peer"]["cpus"]), (&serde_json::json!([0]), &serde_json::json!([0])));
    let told = probe(&["rr", &server.name(), "--peer-cpus", "4000"]);
    assert_eq!(told.code, 3, "{}", told.stderr);
    assert!(told.stderr.contains("4000"));
}

#[test]
fn socket_options_are_set_or_refused() {
    let server = Server::start(&["--max-buffer", "8GiB"]);
    let flags = ["--congestion", "reno", "--mss", "1000", "--nagle", "--quick-ack", "--send-buffer", "64KiB"];
    let told = summary_of(&server, "stream", &[&flags[..], &["--receive-buffer", "64KiB"]].concat());
    let segment = number(&told["tcp"][0]["segment_bytes"]);
    assert!(segment <= 1000.0, "{segment}");
    let port = support::free_address().port().to_string();
    let local = ["--source-address", "127.0.0.1", "--source-port", &port, "--dont-route", "--device", "lo"];
    summary_of(&server, "rr", &local);
    for (flags, words) in [
        (["--congestion", "nonsense"], "nonsense"),
        // More than root may have either.
        (["--receive-buffer", "3GiB"], "net.core.rmem_max"),
        (["--device", "nowhere0"], "nowhere0"),
        (["--source-address", "203.0.113.9"], "203.0.113.9"),
    ] {
        let told = probe(&["rr", &server.name(), flags[0], flags[1]]);
        assert_eq!(told.code, 3, "{flags:?}: {}", told.stderr);
        assert!(told.stderr.contains(words), "{}", told.stderr);
    }
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_starts() {
    for words in [
        &["rr", "127.0.0.1:1", "--request-size", "0"][..],
        &["rr", "127.0.0.1:1", "--transport", "udp", "--request-size", "65508"],
        &["rr", "127.0.0.1:1", "--transport", "udp", "--outstanding", "129"],
        &["rr", "127.0.0.1:1", "--rate", "0"],
        &["rr", "127.0.0.1:1", "--percentiles", "101"],
        &["rr", "127.0.0.1:1", "--flows", "0"],
        &["crr", "127.0.0.1:1", "--busy-poll"],
        &["stream", "127.0.0.1:1", "--hlog", "/tmp/x"],
        &["stream", "no port"],
        &["stream", "127.0.0.1:1", "--until-ci", "-1"],
        &["serve", "--listen", "0.0.0.0:0"],
        &["serve", "--max-sessions", "0"],
    ] {
        let told = probe(words);
        assert_eq!(told.code, 2, "{words:?}: {}", told.stderr);
    }
    let told = probe(&["rr", "127.0.0.1:1"]);
    assert_eq!(told.code, 1);
    assert!(told.stderr.contains("netprobe serve"), "{}", told.stderr);
}
