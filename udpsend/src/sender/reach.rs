//! Whether what was sent left the machine: the kernel takes datagrams for a neighbor that does not answer, and for
//! queues that are full, and drops them without an error.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use meter::Result;

use crate::{
    interfaces::Traffic,
    method::kind::Method,
    netlink::{NeighborState, Netlink},
    sender::config::SendConfig,
};

/// Most targets that are looked at: they are asked for one by one.
const TARGETS_MAX: usize = 256;
/// How long a neighbor that is being asked may still take, of all targets together: a run may be shorter than an answer.
const ANSWER_WAIT: Duration = Duration::from_millis(50);
const ANSWER_CHECK: Duration = Duration::from_millis(5);
/// Most datagrams in one frame: `UDP_MAX_SEGMENTS` of the method `gso`.
const SEGMENTS_MAX: u64 = 64;
/// Where fewer frames than this part of what there must have been left or wait, next to nothing was sent.
const NEXT_TO_NOTHING: f64 = 0.01;

/// Why the datagrams that the kernel took can't be taken for sent: targets whose hardware address is unknown, or
/// interfaces that carried nothing. `sent` is the number that the kernel took, `traffic` what the interfaces carried, as
/// far as that is known.
///
/// # Errors
/// When the kernel does not tell.
pub fn doubts(config: &SendConfig, sent: u64, traffic: Option<&Traffic>) -> Result<Vec<String>> {
    // Raw methods know the hardware address from the beginning, and the driver tells them what it drops.
    if sent == 0 || config.method.is_raw() {
        return Ok(Vec::new());
    }
    let mut netlink = Netlink::open()?;
    let targets: BTreeSet<SocketAddr> =
        config.flows.iter().map(|flow| SocketAddr::new(flow.target.ip(), 0)).collect();
    let deadline = Instant::now() + ANSWER_WAIT;
    let (mut doubts, mut interfaces) = (Vec::new(), BTreeSet::new());
    for target in targets.iter().take(TARGETS_MAX) {
        let scoped = config.flows.iter().map(|flow| flow.target).find(|flow| flow.ip() == target.ip());
        // A route that is gone by now has made errors of its own.
        let Ok(route) = netlink.route(scoped.unwrap_or(*target), config.socket.device.as_deref()) else {
            continue;
        };
        let name = netlink.link(route.interface)?.name;
        let mut state = netlink.neighbor_state(route.interface, route.next_hop)?;
        while state.is_some_and(NeighborState::is_asked) && Instant::now() < deadline {
            thread::sleep(ANSWER_CHECK);
            state = netlink.neighbor_state(route.interface, route.next_hop)?;
        }
        if state.is_some_and(NeighborState::is_unresolved) {
            doubts.push(unresolved(target.ip(), route.next_hop, &name));
        }
        interfaces.insert(name);
    }
    if let Some(traffic) = traffic.filter(|_| doubts.is_empty()) {
        doubts.extend(carried_nothing(config.method, sent, &interfaces, traffic));
    }
    Ok(doubts)
}

fn unresolved(target: IpAddr, next_hop: IpAddr, interface: &str) -> String {
    let through = if target == next_hop { String::new() } else { format!(", the next hop to {target},") };
    format!(
        "{next_hop}{through} does not answer on {interface}: its hardware address is unknown, and the kernel drops what \
         it took for it; `sent_datagrams` is not what left this machine"
    )
}

fn carried_nothing(method: Method, sent: u64, names: &BTreeSet<String>, traffic: &Traffic) -> Option<String> {
    if names.is_empty() {
        return None;
    }
    let frames: u64 = traffic
        .interfaces
        .iter()
        .filter(|interface| names.contains(&interface.name))
        .map(|interface| interface.tx_frames)
        .chain(traffic.waiting.iter().filter(|(name, _)| names.contains(name)).map(|(_, packets)| *packets))
        .sum();
    let segments = if method == Method::Gso { SEGMENTS_MAX } else { 1 };
    let least = sent.div_ceil(segments) as f64;
    ((frames as f64) < least * NEXT_TO_NOTHING).then(|| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        format!(
            "{} sent {frames} frames, while the kernel took {sent} datagrams: the rest was dropped before the link; look at \
             `tc -s qdisc` and the packet filter",
            names.join(" and ")
        )
    })
}
