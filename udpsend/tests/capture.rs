//! A packet capture beside the sink agrees with it, with the sender and with the interfaces, to the packet.

mod lab;

use lab::{
    Lab, Place, RECEIVER, RECEIVER6,
    capture::{Capture, Captured},
    count,
};

const METHODS: [&str; 6] = ["send", "sendmmsg", "gso", "io_uring", "packet", "xdp"];
const PORT: u16 = 5010;
/// So few that a socket and a link hold them all, when a busy machine sends them at once.
const DATAGRAMS: u64 = 200;

/// A capture at the receiving end of the link.
fn capture(lab: &Lab) -> Capture {
    let Place::Namespace(name) = &lab.receiver else { panic!("the receiver is in a namespace") };
    Capture::start(name, "vr", PORT)
}

/// Each number once, none missing: by what was on the link, not by what the sink says.
fn check_sequences(captured: &Captured, datagrams: u64, what: &str) {
    let mut sequences = captured.sequences.clone();
    sequences.sort_unstable();
    assert!(sequences.iter().copied().eq(0..datagrams), "{what}: {sequences:?}");
}

#[test]
fn a_capture_sees_exactly_what_sender_sink_and_interfaces_count() {
    let Some(lab) = Lab::new() else { return };
    lab.sender.shell("ip link set vs gso_max_segs 1");
    for target in [RECEIVER.to_owned(), format!("[{RECEIVER6}]")] {
        for method in METHODS {
            let sink = lab.receiver.sink("--listen 5010");
            let capture = capture(&lab);
            let args = format!("{target}:{PORT} --method {method} --size 8-1400 --datagrams {DATAGRAMS}");
            let sent = lab.sender.udpsend(&format!("{args} --load 20kpps --catch-up 60s"));
            if sent.code == Some(3) && ["io_uring", "xdp"].contains(&method) {
                eprintln!("skipped: this kernel has no {method}: {}", sent.stderr);
                continue;
            }
            assert_eq!(sent.code, Some(0), "{args}: {}", sent.stderr);
            capture.wait_for(DATAGRAMS);
            let arrived = sink.stop();
            let captured = capture.stop();
            let (sent, arrived) = (sent.summary(), arrived.summary());
            assert_eq!(captured.missed, 0, "{args}: the capture itself was too slow");
            assert_eq!(captured.frames, DATAGRAMS, "{args}: {captured:?}");
            assert_eq!(captured.frames, count(sent, "sent_datagrams"), "{args}");
            assert_eq!(captured.frames, count(arrived, "delivered_datagrams"), "{args}");
            assert_eq!(captured.payload_bytes, count(sent, "sent_bytes"), "{args}");
            assert_eq!(captured.payload_bytes, count(arrived, "delivered_bytes"), "{args}");
            assert_eq!(captured.frames, lab::frames(arrived, "vr", "rx_frames"), "{args}");
            check_sequences(&captured, DATAGRAMS, &args);
        }
    }
}

#[test]
fn what_a_filter_takes_away_is_what_the_capture_saw_and_the_sink_did_not() {
    let Some(lab) = Lab::new() else { return };
    // The capture looks before the filter.
    lab.receiver.shell(
        "nft 'add table netdev t; add chain netdev t c { type filter hook ingress device vr priority 0; }; \
         add rule netdev t c udp dport 5010 numgen inc mod 10 == 3 drop'",
    );
    let sink = lab.receiver.sink("--listen 5010");
    let capture = capture(&lab);
    let sent = lab.sender.udpsend(&format!(
        "{RECEIVER}:{PORT} --method sendmmsg --datagrams {DATAGRAMS} --load 20kpps --catch-up 60s"
    ));
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    capture.wait_for(DATAGRAMS);
    let arrived = sink.stop();
    let captured = capture.stop();
    let delivered = count(arrived.summary(), "delivered_datagrams");
    assert_eq!((captured.missed, captured.frames), (0, count(sent.summary(), "sent_datagrams")));
    assert_eq!(captured.frames - delivered, DATAGRAMS / 10, "{}", arrived.summary());
    assert_eq!(count(arrived.summary(), "lost_datagrams"), captured.frames - delivered);
    check_sequences(&captured, DATAGRAMS, "what was on the link");
}

#[test]
fn with_segmentation_offload_the_capture_sees_the_frames_and_all_of_their_payload() {
    let Some(lab) = Lab::new() else { return };
    let sink = lab.receiver.sink("--listen 5010");
    let capture = capture(&lab);
    let sent = lab.sender.udpsend(&format!(
        "{RECEIVER}:{PORT} --method gso --size 100 --burst 32 --burst-period 10ms --datagrams 640 --catch-up 60s"
    ));
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    let frames = lab::frames(sent.summary(), "vs", "tx_frames");
    capture.wait_for(frames);
    let arrived = sink.stop();
    let captured = capture.stop();
    assert_eq!(captured.missed, 0, "the capture itself was too slow");
    assert_eq!(captured.frames, frames, "{captured:?}");
    assert_eq!(captured.frames, lab::frames(arrived.summary(), "vr", "rx_frames"));
    assert!(captured.frames < 640, "several datagrams in one frame: {}", captured.frames);
    assert_eq!(captured.payload_bytes, 64_000);
    assert_eq!(count(arrived.summary(), "delivered_datagrams"), 640);
    assert_eq!(count(arrived.summary(), "delivered_bytes"), captured.payload_bytes);
}
