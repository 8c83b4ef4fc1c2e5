//! Link-local IPv6 addresses with the interface by name, at every place that takes an address. Needs root, or a user
//! namespace with it; else it says so and passes.

mod lab;

use lab::{Lab, count};

#[test]
fn an_interface_by_name_works_for_targets_sources_and_listeners() {
    let Some(lab) = Lab::new() else { return };
    lab.sender
        .shell("ip addr add fe80::1/64 dev vs nodad; ip neigh add fe80::2 lladdr 02:00:00:00:00:02 dev vs");
    lab.receiver
        .shell("ip addr add fe80::2/64 dev vr nodad; ip neigh add fe80::1 lladdr 02:00:00:00:00:01 dev vr");
    for (target, options) in [
        ("[fe80::2%vs]:5010", "--source fe80::1%vs"),
        ("[fe80::2%vs]:5010", "--source fe80::1"),
        ("[fe80::2]:5010", "--device vs"),
        ("[fe80::2]:5010", "--source fe80::1 --device vs"),
    ] {
        for method in ["sendmmsg", "gso", "packet"] {
            let sink = lab.receiver.sink("--listen [fe80::2%vr]:5010");
            let args = format!("{target} {options} --method {method} --datagrams 20 --load 1kpps");
            let sent = lab.sender.udpsend(&args);
            assert_eq!(sent.code, Some(0), "{args}: {}", sent.stderr);
            assert_eq!(count(sink.finish().summary(), "delivered_datagrams"), 20, "{args}");
        }
    }
    let refused = lab.sender.udpsend("[fe80::2%vs]:5010 --source fe80::1%lo");
    assert_ne!(refused.code, Some(0), "{refused:?}");
}
