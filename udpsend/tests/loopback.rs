//! The sender and the sink over loopback, as anyone can run them.

mod lab;

use lab::{Place, count};

const HERE: Place = Place::Here;

#[test]
fn every_datagram_of_every_size_arrives_by_every_method() {
    for (listen, target) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "[::1]")] {
        for method in ["send", "sendmmsg", "gso", "io_uring"] {
            for size in [1, 7, 64, 1472, 65_507] {
                if method == "gso" && size == 65_507 {
                    continue; // Larger than the MTU of lo allows in one segment.
                }
                let sink = HERE.sink(&format!("--listen {listen}"));
                let args = format!("{target}:{} --method {method} --size {size}", sink.port());
                // No more than a socket holds, for a sink that is kept from its CPU.
                let (load, datagrams) = if size > 2000 { ("1kpps", 20) } else { ("20kpps", 300) };
                let sent = HERE.udpsend(&format!("{args} --datagrams {datagrams} --load {load}"));
                if method == "io_uring" && sent.code == Some(3) {
                    eprintln!("skipped: this kernel has no {method}: {}", sent.stderr);
                    continue;
                }
                assert_eq!(sent.code, Some(0), "{args}: {}", sent.stderr);
                let arrived = sink.finish();
                let arrived = arrived.summary();
                assert_eq!(count(sent.summary(), "sent_datagrams"), datagrams, "{args}");
                assert_eq!(count(sent.summary(), "sent_bytes"), datagrams * size, "{args}");
                assert_eq!(count(arrived, "delivered_datagrams"), datagrams, "{args}");
                assert_eq!(count(arrived, "delivered_bytes"), datagrams * size, "{args}");
                for trouble in
                    ["lost_datagrams", "reordered_datagrams", "duplicated_datagrams", "foreign_datagrams"]
                {
                    assert_eq!(count(arrived, trouble), 0, "{args}: {trouble}");
                }
                assert_eq!(
                    count(arrived, "unnumbered_datagrams"),
                    if size < 8 { datagrams } else { 0 },
                    "{args}"
                );
                assert_eq!(arrived["one_way_delay"].is_null(), size < 24, "{args}");
            }
        }
    }
}

#[test]
fn mixed_sizes_arrive_whole_and_repeat_with_their_seed() {
    let run = |size: &str, seed: u32, method: &str| {
        let sink = HERE.sink("--listen 127.0.0.1:0");
        let target = format!("127.0.0.1:{}", sink.port());
        let sent = HERE.udpsend(&format!(
            "{target} --size {size} --seed {seed} --method {method} --datagrams 1000 --load 50kpps"
        ));
        let arrived = sink.finish();
        assert_eq!(count(arrived.summary(), "lost_datagrams"), 0, "{size} {method}");
        let bytes = count(arrived.summary(), "delivered_bytes");
        assert_eq!(bytes, count(sent.summary(), "sent_bytes"));
        bytes
    };
    for size in ["10-1400", "imix", "100:1,200:1"] {
        let bytes = run(size, 1, "sendmmsg");
        assert_eq!(bytes, run(size, 1, "gso"), "{size}: the same seed, the same sizes, whatever the method");
        assert_ne!(bytes, run(size, 2, "sendmmsg"), "{size}: another seed");
    }
}

#[test]
fn a_schedule_has_exactly_its_slots() {
    let sink = HERE.sink("--listen 127.0.0.1:0 --idle 20s");
    let target = format!("127.0.0.1:{}", sink.port());
    for (load, slots) in [
        ("--load 10kpps", 3000),
        ("--load 5.12Mbps --size 64", 3000),
        ("--gap 1ms", 300),
        ("--burst 32 --burst-period 10ms", 960),
        ("--load 10kpps --burst 10", 3000),
    ] {
        let sent = HERE.udpsend(&format!("{target} {load} --duration 300ms --catch-up 60s"));
        let summary = sent.summary();
        assert_eq!(count(summary, "sent_datagrams"), slots, "{load}");
        assert_eq!(count(summary, "missed_slots"), 0, "{load}");
        assert_eq!(count(&summary["pacing_error"], "count"), slots, "{load}");
    }
    let poisson = |seed| {
        let args = format!(
            "{target} --load 10kpps --arrivals poisson --seed {seed} --duration 300ms --catch-up 60s"
        );
        count(HERE.udpsend(&args).summary(), "sent_datagrams")
    };
    let slots = poisson(1);
    assert!((2700..3300).contains(&slots), "{slots}");
    assert_eq!(slots, poisson(1));
    assert_ne!(slots, poisson(2));
    sink.signal("INT");
    assert_eq!(sink.finish().code, Some(0));
}

#[test]
fn poisson_arrivals_faster_than_a_datagram_are_told() {
    for (load, is_told) in [("1Mpps", true), ("10pps", false)] {
        let args = format!("127.0.0.1:9 --load {load} --arrivals poisson --method send --duration 300ms");
        let sent = HERE.udpsend(&args);
        let notes = sent.summary()["notes"].to_string();
        assert_eq!(notes.contains("not exponential"), is_told, "{args}: {}", sent.summary());
    }
}

#[test]
fn slots_that_are_too_late_are_missed_and_said_so() {
    let sent = HERE.udpsend("127.0.0.1:9 --method send --load 50Mpps --duration 200ms --catch-up 1ms");
    let summary = sent.summary();
    assert!(count(summary, "missed_slots") > 1_000_000, "{summary}");
    assert_eq!(sent.code, Some(4), "the load was not reached");
    assert!(summary["warnings"][0].as_str().unwrap().contains("not reached"));
}

#[test]
fn it_ends_after_so_many_datagrams_or_bytes() {
    for (limit, datagrams) in
        [("--datagrams 1001", 1001), ("--bytes 100kB --size 1000", 100), ("--bytes 1", 1)]
    {
        let sent = HERE.udpsend(&format!("127.0.0.1:9 {limit} --load 100kpps"));
        let refused = count_of_kind(sent.summary(), "ECONNREFUSED");
        assert!(count(sent.summary(), "sent_datagrams") <= datagrams, "{limit}");
        assert!(
            count(sent.summary(), "sent_datagrams") + refused >= datagrams,
            "{limit}: {}",
            sent.summary()
        );
    }
}

fn count_of_kind(summary: &serde_json::Value, kind: &str) -> u64 {
    summary["errors"][kind].as_u64().unwrap_or(0)
}

#[test]
fn refused_sends_are_errors_of_their_kind_and_not_sent() {
    let sink = HERE.sink("--listen 127.0.0.1:0");
    let port = sink.port();
    let mut command = HERE.command(env!("CARGO_BIN_EXE_udpsend"));
    let args = format!("127.0.0.1:{port} --load 1kpps --duration 60s --catch-up 60s --json --method send");
    let sender = lab::Running::start(&mut command, &args);
    std::thread::sleep(std::time::Duration::from_millis(200));
    sink.signal("KILL");
    drop(sink);
    std::thread::sleep(std::time::Duration::from_secs(1));
    let sent = sender.stop();
    assert_eq!(sent.code, Some(0), "a receiver that dies ends nobody: {sent:?}");
    assert!(count_of_kind(sent.summary(), "ECONNREFUSED") > 100, "{}", sent.summary());
    let due = sent.summary()["elapsed_s"].as_f64().unwrap() * 1000.0;
    assert!(count(sent.summary(), "sent_datagrams") as f64 <= due + 1.0, "{}", sent.summary());
    let slots = count(&sent.summary()["pacing_error"], "count");
    assert_eq!(
        count(sent.summary(), "sent_datagrams"),
        slots,
        "a refused try has no slot: {}",
        sent.summary()
    );
}

#[test]
fn a_flood_into_a_full_socket_is_told_apart() {
    let sink = HERE.sink("--listen 127.0.0.1:0 --no-gro --buffer 8KiB --batch 1");
    let target = format!("127.0.0.1:{}", sink.port());
    let sent = HERE.udpsend(&format!("{target} --method sendmmsg --datagrams 50000"));
    let arrived = sink.finish();
    let arrived = arrived.summary();
    let (delivered, dropped) = (count(arrived, "delivered_datagrams"), count(arrived, "dropped_at_socket"));
    assert!(dropped > 0, "{arrived}");
    assert_eq!(
        count(sent.summary(), "sent_datagrams"),
        delivered + dropped,
        "every datagram is accounted for"
    );
    assert!(count(arrived, "lost_datagrams") <= dropped);
}

#[test]
fn flows_and_workers_are_followed_apart() {
    let cpus = std::thread::available_parallelism().unwrap().get();
    let cpus = if cpus > 1 { "0-1" } else { "0" };
    let sink = HERE.sink(&format!("--listen 127.0.0.1:0 --cpus {cpus}"));
    let port = sink.port();
    let sent = HERE.udpsend(&format!(
        "127.0.0.1:{port} 127.0.0.2:{port} --flows 8 --cpus {cpus} --load 20kpps --duration 200ms --catch-up 60s"
    ));
    if sent.code == Some(3) {
        eprintln!("skipped: {}", sent.stderr);
        return;
    }
    // The sink listens on the first address only: half of the flows must be refused there.
    let arrived = sink.finish();
    assert_eq!(count(arrived.summary(), "flows"), 4);
    assert_eq!(count(arrived.summary(), "lost_datagrams"), 0, "{}", arrived.summary());
    assert_eq!(count(arrived.summary(), "delivered_datagrams"), 2000);
    assert!(count_of_kind(sent.summary(), "ECONNREFUSED") > 0);
}

#[test]
fn source_ports_and_target_ports_count_up() {
    let sent = HERE.udpsend("127.0.0.1:4000 --target-ports 2 --flows 4 --source-port 39100 --dry-run");
    let flows = sent.records[0]["config"]["flows"].as_array().unwrap().clone();
    let ends: Vec<_> =
        flows.iter().map(|f| (f["source_port"].as_u64().unwrap(), f["target"].as_str().unwrap())).collect();
    let expected = [
        (39100, "127.0.0.1:4000"),
        (39101, "127.0.0.1:4001"),
        (39102, "127.0.0.1:4000"),
        (39103, "127.0.0.1:4001"),
    ];
    assert_eq!(ends, expected);
    assert_eq!(sent.records.len(), 1, "nothing was sent");
}

#[test]
fn intervals_add_up_to_the_whole_and_logs_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let (sent_log, arrived_log) = (folder.path().join("sent.hlog"), folder.path().join("arrived.hlog"));
    let sink = HERE.sink(&format!("--listen 127.0.0.1:0 --interval 100ms --hlog {}", arrived_log.display()));
    let target = format!("127.0.0.1:{}", sink.port());
    let sent = HERE.udpsend(&format!(
        "{target} --load 5kpps --duration 500ms --interval 100ms --catch-up 60s --hlog {}",
        sent_log.display()
    ));
    let arrived = sink.finish();
    for (tool, key) in [(&sent, "sent_datagrams"), (&arrived, "delivered_datagrams")] {
        let sum: u64 = tool.samples().iter().map(|sample| count(sample, key)).sum();
        assert_eq!(sum, 2500, "{key}");
    }
    for log in [sent_log, arrived_log] {
        let text = std::fs::read_to_string(&log).unwrap();
        assert!(text.contains("#[StartTime") && text.contains("HIST"), "{}: {text}", log.display());
    }
}

#[test]
fn it_starts_at_the_time_of_day_and_not_before() {
    let sink = HERE.sink("--listen 127.0.0.1:0 --idle 20s --interval 100ms");
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let start = wall + 2.0;
    let sent =
        HERE.udpsend(&format!("127.0.0.1:{} --start-at {start:.6} --datagrams 1 --load 1kpps", sink.port()));
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    let ended = count(sent.summary(), "wall_ns") as f64 / 1e9;
    assert!(ended >= start, "{ended} is before {start}");
    assert_eq!(HERE.udpsend("127.0.0.1:9 --start-at 2001-01-01T00:00:00Z").code, Some(2));
    sink.signal("TERM");
    let arrived = sink.finish();
    assert_eq!(arrived.code, Some(0));
    assert_eq!(count(arrived.summary(), "delivered_datagrams"), 1);
}

#[test]
fn a_controller_starts_it_and_takes_it_down_with_itself() {
    for mode in ["sink --listen 127.0.0.1:0", "127.0.0.1:9 --method send"] {
        let mut command = HERE.command(env!("CARGO_BIN_EXE_udpsend"));
        let mut tool =
            lab::Running::start(&mut command, &format!("{mode} --json --controlled --duration 60s"));
        tool.go();
        std::thread::sleep(std::time::Duration::from_millis(100));
        tool.let_go();
        let ended = tool.finish();
        assert_eq!(ended.code, Some(0), "{mode}");
        assert_eq!(ended.records.last().unwrap()["record"], "summary", "{mode}");

        let mut tool = lab::Running::start(&mut command, "");
        tool.let_go();
        let ended = tool.finish();
        let amount = if mode.starts_with("sink") { "delivered_datagrams" } else { "sent_datagrams" };
        assert_eq!(count(ended.summary(), amount), 0, "{mode}: no go, no work");
    }
}

#[test]
fn what_is_wrong_is_said_before_anything_is_sent() {
    for (args, code, hint) in [
        ("", 2, "HOST:PORT"),
        ("8.8.8.8:9", 2, "--allow-public"),
        ("224.0.0.1:9", 2, "multicast"),
        ("255.255.255.255:9 --allow-public", 2, "broadcast"),
        ("127.0.0.1", 2, "HOST:PORT"),
        ("127.0.0.1:9 --size 0", 2, "payload size"),
        ("127.0.0.1:9 --size 65508", 2, "payload size"),
        ("127.0.0.1:9 --load fast", 2, "50kpps"),
        ("127.0.0.1:9 --datagrams 0", 2, "--datagrams"),
        ("127.0.0.1:9 --bytes 0", 2, "--bytes"),
        ("127.0.0.1:9 --target-ports 0", 2, "--target-ports"),
        ("127.0.0.1:9 --source ::1", 2, "two address families"),
        ("127.0.0.1:9 --source 192.0.2.1", 3, "no interface has"),
        ("[fe80::1]:9", 2, "[fe80::1%eth0]:9"),
        ("127.0.0.1:9 --load 1000000000000Mbps", 2, "can't be timed"),
        ("127.0.0.1:9 --load 200Mpps --arrivals poisson", 2, "can't be timed"),
        ("127.0.0.1:9 --burst 4000000000 --burst-period 1us", 2, "can't be timed"),
        ("127.0.0.1:9 --load 0pps", 2, "above 0"),
        ("127.0.0.1:9 --gap 0s", 2, "above 0"),
        ("127.0.0.1:9 --burst 0", 2, "--burst"),
        ("127.0.0.1:9 --burst 5", 2, "--load"),
        ("127.0.0.1:9 --arrivals poisson", 2, "--load"),
        ("127.0.0.1:9 --method teleport", 2, "sendmmsg"),
        ("127.0.0.1:9 --duration 0s", 2, "--duration"),
        ("127.0.0.1:9 --flows 0", 2, "--flows"),
        ("127.0.0.1:65535 --target-ports 2", 2, "65535"),
        ("127.0.0.1:9 --hop-limit 0", 2, "1..=255"),
        ("127.0.0.1:9 --dscp 64", 2, "0..64"),
        ("127.0.0.1:9 --start-at tomorrow", 2, "1970"),
        ("127.0.0.1:9 --txtime 1ms", 3, "fq"),
        ("127.0.0.1:9 --kernel-pacing 1Mbps", 3, "fq"),
        ("127.0.0.1:9 --device nowhere0", 3, "nowhere0"),
        ("127.0.0.1:9 --cpus 9999", 3, "9999"),
        ("127.0.0.1:9 --buffer 1TiB", 3, "buffer"),
        ("127.0.0.1:9 --hlog /nowhere/x.hlog", 1, "/nowhere/x.hlog"),
        ("sink --listen nowhere", 2, "HOST:PORT"),
        ("sink --listen nowhere0:9", 2, "/etc/hosts"),
        ("sink --listen [fe80::1]:9", 2, "[fe80::1%eth0]:9"),
        ("sink --listen [fe80::1%nowhere0]:9", 3, "nowhere0"),
        ("[::1]:9 --source fe80::1", 2, "fe80::1%eth0"),
        ("[::1]:9 --source fe80::1%nowhere0", 3, "nowhere0"),
        ("sink --listen 192.0.2.1:5010", 1, "192.0.2.1"),
        ("sink --batch 0", 2, "--batch"),
    ] {
        let ended = HERE.udpsend(args);
        assert_eq!(ended.code, Some(code), "{args}: {}", ended.stderr);
        assert!(ended.stderr.contains(hint), "{args}: {}", ended.stderr);
        assert!(ended.records.iter().all(|record| record["record"] != "summary"), "{args}");
    }
    let sink = HERE.sink("--listen 127.0.0.1:0");
    for cpus in ["", "--cpus 0"] {
        let second = HERE.udpsend(&format!("sink --listen 127.0.0.1:{} {cpus}", sink.port()));
        assert_eq!(second.code, Some(1));
        assert!(second.stderr.contains("in use"), "{}", second.stderr);
    }
}

#[test]
fn it_needs_no_privilege_but_for_raw_frames() {
    use std::os::unix::process::CommandExt;
    let run = |args: &str| {
        let mut command = HERE.command(env!("CARGO_BIN_EXE_udpsend"));
        if HERE.shell("id -u").trim() == "0" {
            command.uid(65_534).gid(65_534);
        }
        command.args(args.split_whitespace()).output()
    };
    match run("127.0.0.1:9 --datagrams 10 --load 1kpps") {
        Err(error) => eprintln!("skipped: another user can't run the binary here: {error}"),
        Ok(output) => {
            assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
            let raw = run("127.0.0.1:9 --method packet").unwrap();
            assert_eq!(raw.status.code(), Some(3), "{}", String::from_utf8_lossy(&raw.stderr));
        }
    }
}
