//! Real packets over a veth pair between two network namespaces: the kernel's own counters and
//! filters say what was on the link. Needs root, or a user namespace with it; else it says so and passes.

mod lab;

use lab::{Lab, RECEIVER, RECEIVER6, count, frames};

#[test]
fn every_method_puts_on_the_link_exactly_what_it_says() {
    let Some(lab) = Lab::new() else { return };
    lab.sender.shell("ip link set vs gso_max_segs 1");
    for target in [RECEIVER.to_owned(), format!("[{RECEIVER6}]")] {
        for method in ["send", "sendmmsg", "gso", "io_uring", "packet", "xdp"] {
            for size in ["1", "64", "1452", "8-1400"] {
                let sink = lab.receiver.sink("--listen 5010");
                let args = format!("{target}:5010 --method {method} --size {size} --datagrams 1000");
                let sent = lab.sender.udpsend(&format!("{args} --load 20kpps --catch-up 60s"));
                if sent.code == Some(3) && ["io_uring", "xdp"].contains(&method) {
                    eprintln!("skipped: this kernel has no {method}: {}", sent.stderr);
                    continue;
                }
                assert_eq!(sent.code, Some(0), "{args}: {}", sent.stderr);
                let arrived = sink.finish();
                let (sent, arrived) = (sent.summary(), arrived.summary());
                assert_eq!(count(sent, "sent_datagrams"), 1000, "{args}");
                assert_eq!(frames(sent, "vs", "tx_frames"), 1000, "{args}: a real packet each");
                assert_eq!(frames(arrived, "vr", "rx_frames"), 1000, "{args}");
                assert_eq!(count(arrived, "delivered_datagrams"), 1000, "{args}");
                assert_eq!(count(arrived, "delivered_bytes"), count(sent, "sent_bytes"), "{args}");
                assert_eq!(count(arrived, "lost_datagrams"), 0, "{args}");
            }
        }
    }
}

#[test]
fn with_segmentation_offload_frames_are_fewer_than_datagrams() {
    let Some(lab) = Lab::new() else { return };
    let sink = lab.receiver.sink("--listen 5010");
    let sent = lab
        .sender
        .udpsend(&format!("{RECEIVER}:5010 --method gso --burst 64 --burst-period 10ms --datagrams 640"));
    let arrived = sink.finish();
    assert_eq!(count(arrived.summary(), "delivered_datagrams"), 640, "{sent:?}");
    assert_eq!(frames(sent.summary(), "vs", "tx_frames"), 10);
    assert_eq!(frames(arrived.summary(), "vr", "rx_frames"), 10);
}

#[test]
fn a_known_loss_is_found_again() {
    let Some(lab) = Lab::new() else { return };
    lab.receiver.shell(
        "nft 'add table netdev t; add chain netdev t c { type filter hook ingress device vr priority 0; }; \
         add rule netdev t c udp dport 5010 numgen inc mod 10 == 3 counter drop'",
    );
    for method in ["sendmmsg", "packet"] {
        let sink = lab.receiver.sink("--listen 5010");
        let sent = lab.sender.udpsend(&format!(
            "{RECEIVER}:5010 --method {method} --datagrams 1000 --load 20kpps --catch-up 60s"
        ));
        let arrived = sink.finish();
        assert_eq!(count(sent.summary(), "sent_datagrams"), 1000);
        assert_eq!(count(arrived.summary(), "lost_datagrams"), 100, "{method}");
        assert_eq!(count(arrived.summary(), "dropped_at_socket"), 0, "lost on the way, not at the socket");
    }
}

#[test]
fn a_known_duplication_is_found_again() {
    let Some(lab) = Lab::new() else { return };
    lab.sender.shell(
        "nft 'add table ip t; add chain ip t c { type filter hook output priority 0; }; \
         add rule ip t c udp dport 5010 numgen inc mod 10 == 0 counter dup to 10.99.0.2 device \"vs\"'",
    );
    let sink = lab.receiver.sink("--listen 5010");
    lab.sender
        .udpsend(&format!("{RECEIVER}:5010 --method send --datagrams 1000 --load 20kpps --catch-up 60s"));
    let arrived = sink.finish();
    let rules = lab.sender.shell("nft list ruleset");
    let duplicated = rules.split("counter packets ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    let duplicated: u64 = duplicated.parse().unwrap();
    assert!(duplicated >= 100, "{rules}");
    assert_eq!(count(arrived.summary(), "duplicated_datagrams"), duplicated);
    assert_eq!(count(arrived.summary(), "delivered_datagrams"), 1000 + duplicated);
    assert_eq!(count(arrived.summary(), "lost_datagrams"), 0);
}

#[test]
fn header_fields_are_what_was_asked_for() {
    let Some(lab) = Lab::new() else { return };
    lab.sender.shell("ip addr add 10.99.0.77/24 dev vs; ip link set vs gso_max_segs 1");
    lab.receiver.shell("ip neigh add 10.99.0.77 lladdr 02:00:00:00:00:01 dev vr");
    for method in ["send", "sendmmsg", "gso", "packet", "xdp"] {
        lab.receiver.shell(
            "nft 'flush ruleset; add table ip t; add chain ip t c { type filter hook prerouting priority 0; }; \
             add rule ip t c ip saddr 10.99.0.77 ip dscp ef ip ecn ect0 ip ttl 7 ip frag-off & 0x4000 != 0 \
             udp sport 4321 udp dport 5010 counter'",
        );
        let sink = lab.receiver.sink("--listen 5010");
        let sent = lab.sender.udpsend(&format!(
            "{RECEIVER}:5010 --method {method} --source 10.99.0.77 --device vs --dscp 46 --ecn 2 --hop-limit 7 \
             --dont-fragment --source-port 4321 --datagrams 50 --load 10kpps"
        ));
        assert_eq!(sent.code, Some(0), "{method}: {}", sent.stderr);
        assert_eq!(count(sink.finish().summary(), "delivered_datagrams"), 50, "{method}");
        let rules = lab.receiver.shell("nft list ruleset");
        assert!(rules.contains("counter packets 50 "), "{method}: {rules}");
    }
}

#[test]
fn what_does_not_fit_is_an_error_and_broadcast_is_refused() {
    let Some(lab) = Lab::new() else { return };
    let sent = lab.sender.udpsend(&format!(
        "{RECEIVER}:5010 --size 1473 --dont-fragment --method send --datagrams 5 --load 1kpps"
    ));
    assert_eq!(sent.code, Some(1));
    assert!(count(&sent.summary()["errors"], "EMSGSIZE") >= 5, "{}", sent.summary());
    for method in ["packet", "xdp"] {
        let sent = lab.sender.udpsend(&format!("{RECEIVER}:5010 --size 1473 --method {method}"));
        assert_eq!(sent.code, Some(2), "{}", sent.stderr);
        assert!(sent.stderr.contains("MTU"), "{}", sent.stderr);
        let lo = lab.sender.udpsend(&format!("127.0.0.1:5010 --method {method}"));
        assert_eq!(lo.code, Some(2), "{}", lo.stderr);
    }
    let sent = lab.sender.udpsend("10.99.0.255:5010 --method packet");
    assert_eq!(sent.code, Some(2));
    assert!(sent.stderr.contains("broadcast"), "{}", sent.stderr);
    let nobody = lab.sender.udpsend("10.99.0.50:5010 --method packet");
    assert_eq!(nobody.code, Some(1), "a neighbour that does not answer: {}", nobody.stderr);
}

#[test]
fn a_link_that_goes_down_and_up_costs_only_what_it_was_down() {
    let Some(lab) = Lab::new() else { return };
    for method in ["send", "gso", "packet", "xdp"] {
        let sink = lab.receiver.sink("--listen 5010 --idle 2s");
        let mut command = lab.sender.command(env!("CARGO_BIN_EXE_udpsend"));
        let args = format!("{RECEIVER}:5010 --json --method {method} --load 2kpps --duration 60s");
        let sender = lab::Running::start(&mut command, &args);
        std::thread::sleep(std::time::Duration::from_millis(300));
        lab.sender.shell("ip link set vs down; sleep 0.5; ip link set vs up; ip neigh replace 10.99.0.2 lladdr 02:00:00:00:00:02 dev vs");
        let arrived_by_then = lab.received();
        let begun = std::time::Instant::now();
        while lab.received() < arrived_by_then + 200 {
            assert!(begun.elapsed().as_secs() < 40, "{method}: it did not go on after the link was up again");
        }
        let sent = sender.stop();
        assert!(matches!(sent.code, Some(0 | 4)), "{method}: {sent:?}");
        let arrived = sink.finish();
        let (sent, arrived) = (sent.summary(), arrived.summary());
        let (taken, delivered) = (count(sent, "sent_datagrams"), count(arrived, "delivered_datagrams"));
        let errors: u64 =
            sent["errors"].as_object().unwrap().values().filter_map(serde_json::Value::as_u64).sum();
        assert!(errors > 0, "{method}: {sent}");
        assert!(delivered <= taken, "{method}: {delivered} of {taken}");
    }
}

#[test]
fn kernel_pacing_is_refused_without_its_queueing_discipline() {
    let Some(lab) = Lab::new() else { return };
    for option in ["--kernel-pacing 10Mbps", "--txtime 1ms --load 1kpps"] {
        let refused = lab.sender.udpsend(&format!("{RECEIVER}:5010 {option}"));
        assert_eq!(refused.code, Some(3), "{}", refused.stderr);
        assert!(refused.stderr.contains("tc qdisc replace dev vs root fq"), "{}", refused.stderr);
    }
    if lab
        .sender
        .command("sh")
        .args(["-c", "tc qdisc replace dev vs root fq 2>/dev/null"])
        .status()
        .unwrap()
        .success()
    {
        let sink = lab.receiver.sink("--listen 5010");
        let sent = lab.sender.udpsend(&format!("{RECEIVER}:5010 --txtime 5ms --load 1kpps --datagrams 100"));
        assert_eq!(sent.code, Some(0), "{}", sent.stderr);
        assert_eq!(count(sink.finish().summary(), "delivered_datagrams"), 100);
    } else {
        eprintln!("skipped: this kernel has no fq");
    }
}

#[test]
fn each_thread_of_xdp_has_a_queue_of_its_own() {
    let cpus = std::thread::available_parallelism().unwrap().get();
    if cpus < 2 {
        eprintln!("skipped: this machine has no second CPU");
        return;
    }
    let args = format!(
        "{RECEIVER}:5010 --method xdp --cpus 0-1 --flows 4 --datagrams 200 --load 4kpps --catch-up 60s"
    );
    let Some(lab) = Lab::with("numtxqueues 2 numrxqueues 2") else { return };
    let sink = lab.receiver.sink("--listen 5010");
    let sent = lab.sender.udpsend(&args);
    if sent.code == Some(3) && !sent.stderr.contains("transmit queue") {
        eprintln!("skipped: this kernel has no AF_XDP: {}", sent.stderr);
    } else {
        assert_eq!(sent.code, Some(0), "{}", sent.stderr);
        let arrived = sink.finish();
        // So few that a link holds them all, when a thread that was kept from its CPU sends them at once.
        assert_eq!(count(sent.summary(), "sent_datagrams"), 200);
        assert_eq!(count(arrived.summary(), "delivered_datagrams"), 200, "{}", arrived.summary());
        assert_eq!(count(arrived.summary(), "lost_datagrams"), 0);
        assert_eq!(count(arrived.summary(), "flows"), 4);
        let tc = lab.sender.shell("ethtool -l vs 2>/dev/null || true");
        assert!(tc.is_empty() || tc.contains("TX:\t\t2"), "both queues are in use: {tc}");
    }
    drop(lab);
    let Some(lab) = Lab::with("numtxqueues 1 numrxqueues 1") else { return };
    let refused = lab.sender.udpsend(&args);
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    for hint in ["2 threads", "vs has 1", "--cpus", "ethtool -L vs tx 2"] {
        assert!(refused.stderr.contains(hint), "{hint}: {}", refused.stderr);
    }
}

#[test]
fn xdp_runs_follow_one_another_at_once_and_two_at_a_time_are_refused() {
    let Some(lab) = Lab::new() else { return };
    let args = format!("{RECEIVER}:5010 --method xdp --datagrams 100 --load 100kpps");
    for run in 0..6 {
        let sent = lab.sender.udpsend(&args);
        if sent.code == Some(3) && run == 0 {
            eprintln!("skipped: this kernel has no AF_XDP: {}", sent.stderr);
            return;
        }
        assert_eq!(sent.code, Some(0), "run {run}: {}", sent.stderr);
    }
    let mut command = lab.sender.command(env!("CARGO_BIN_EXE_udpsend"));
    let first = lab::Running::start(
        &mut command,
        &format!("{RECEIVER}:5010 --json --method xdp --load 1kpps --duration 60s --catch-up 60s"),
    );
    let second = lab.sender.udpsend(&args);
    assert_eq!(second.code, Some(3), "{}", second.stderr);
    assert!(second.stderr.contains("queue 0 of vs"), "{}", second.stderr);
    first.signal("INT");
    assert_eq!(first.finish().code, Some(0));
}
