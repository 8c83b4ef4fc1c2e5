//! What the kernel refuses is counted as an error, and its number goes to the next datagram: a sink that
//! gets everything that was sent finds nothing lost and nothing out of order.

mod lab;

use lab::{Finished, Lab, Place, RECEIVER, Running, count};

/// How many sends were refused.
fn refused(sent: &Finished) -> u64 {
    sent.summary()["errors"].as_object().unwrap().values().filter_map(serde_json::Value::as_u64).sum()
}

/// Demands that all that was sent arrived, without a gap, and that something was refused.
fn check(sent: &Finished, arrived: &Finished, what: &str) {
    assert_eq!(sent.code, Some(0), "{what}: {sent:?}");
    assert!(refused(sent) > 0, "{what}: {}", sent.summary());
    let (sent, arrived) = (sent.summary(), arrived.summary());
    assert!(count(sent, "sent_datagrams") > 100, "{what}: {sent}");
    assert_eq!(count(arrived, "delivered_datagrams"), count(sent, "sent_datagrams"), "{what}: {arrived}");
    assert_eq!(count(arrived, "delivered_bytes"), count(sent, "sent_bytes"), "{what}: {arrived}");
    for trouble in ["lost_datagrams", "reordered_datagrams", "duplicated_datagrams"] {
        assert_eq!(count(arrived, trouble), 0, "{what}: {trouble} in {arrived}");
    }
}

/// Whether the machine lacks what a method needs, which is told.
fn lacks(sent: &Finished, method: &str) -> bool {
    let lacks = sent.code == Some(3) && ["io_uring", "xdp"].contains(&method);
    if lacks {
        eprintln!("skipped: this kernel has no {method}: {}", sent.stderr);
    }
    lacks
}

#[test]
fn a_filter_that_refuses_some_leaves_no_gap() {
    let Some(lab) = Lab::new() else { return };
    // Two in a row of every seven: the second attempt is refused too, now and then.
    lab.sender.shell(
        "nft 'add table ip t; add chain ip t c { type filter hook output priority 0; }; \
         add rule ip t c udp dport 5010 numgen inc mod 7 < 2 drop'",
    );
    for method in ["send", "sendmmsg", "gso", "io_uring"] {
        for (size, flows) in [("64", 1), ("64-1400", 3)] {
            let sink = lab.receiver.sink("--listen 5010 --idle 20s");
            let sent = lab.sender.udpsend(&format!(
                "{RECEIVER}:5010 --method {method} --size {size} --flows {flows} --burst 32 --burst-period 5ms \
                 --datagrams 1000 --catch-up 60s"
            ));
            if lacks(&sent, method) {
                continue;
            }
            assert!(count(&sent.summary()["errors"], "EPERM") > 0, "{method}: {}", sent.summary());
            check(&sent, &sink.stop(), &format!("{method} {size}"));
        }
    }
}

#[test]
fn frames_that_the_driver_drops_leave_no_gap() {
    let Some(lab) = Lab::new() else { return };
    lab.receiver.shell("ip link set vr mtu 1000");
    for method in ["packet", "xdp"] {
        for (load, flows) in
            [("--burst 32 --burst-period 5ms", 1), ("--burst 7 --burst-period 2ms", 3), ("", 2)]
        {
            let sink = lab.receiver.sink("--listen 5010 --idle 20s");
            let sent = lab.sender.udpsend(&format!(
                "{RECEIVER}:5010 --method {method} --size 64:5,1400:2 --flows {flows} {load} --datagrams 1000 --catch-up 60s"
            ));
            if lacks(&sent, method) {
                continue;
            }
            check(&sent, &sink.stop(), &format!("{method} {load}"));
        }
    }
}

#[test]
fn a_receiver_whose_link_goes_down_and_up_finds_no_gap_in_what_was_sent() {
    let Some(lab) = Lab::new() else { return };
    for method in ["packet", "xdp"] {
        let sink = lab.receiver.sink("--listen 5010 --idle 20s");
        let mut command = lab.sender.command(env!("CARGO_BIN_EXE_udpsend"));
        let args = format!(
            "{RECEIVER}:5010 --json --method {method} --flows 2 --load 2kpps --duration 60s --catch-up 60s"
        );
        let sender = Running::start(&mut command, &args);
        std::thread::sleep(std::time::Duration::from_millis(300));
        lab.receiver.shell("ip link set vr down; sleep 0.5; ip link set vr up; sleep 1");
        let sent = sender.stop();
        check(&sent, &sink.stop(), method);
    }
}

#[test]
fn a_sink_that_comes_back_sees_no_gap_of_its_own() {
    for method in ["send", "sendmmsg", "gso", "io_uring"] {
        let first = Place::Here.sink("--listen 127.0.0.1:0");
        let port = first.port();
        let mut command = Place::Here.command(env!("CARGO_BIN_EXE_udpsend"));
        let args =
            format!("127.0.0.1:{port} --json --method {method} --load 2kpps --duration 60s --catch-up 60s");
        let sender = Running::start(&mut command, &args);
        std::thread::sleep(std::time::Duration::from_millis(300));
        first.signal("KILL");
        drop(first);
        std::thread::sleep(std::time::Duration::from_secs(1));
        let second = Place::Here.sink(&format!("--listen 127.0.0.1:{port} --idle 20s"));
        std::thread::sleep(std::time::Duration::from_secs(1));
        let sent = sender.stop();
        assert_eq!(sent.code, Some(0), "{method}: {sent:?}");
        assert!(count(&sent.summary()["errors"], "ECONNREFUSED") > 0, "{method}: {}", sent.summary());
        let arrived = second.stop();
        assert!(count(arrived.summary(), "delivered_datagrams") > 100, "{method}: {}", arrived.summary());
        assert_eq!(count(arrived.summary(), "reordered_datagrams"), 0, "{method}: {}", arrived.summary());
    }
}
