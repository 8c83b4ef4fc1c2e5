//! What a hostile client can say, as one function: for the fuzz target and for the property tests.

use std::sync::Arc;

use crate::{
    limits::Limits,
    protocol::{
        frame::{self, Assembler},
        hello::Hello,
        message::{Refusal, Reply, Request},
        order::Order,
        report::{IntervalReport, TcpInfo},
        token::{Nonce, Token},
    },
    server::door::{Decision, Door},
};

/// An order that a server takes.
const ORDER: &str = r#"{"open":{"workload":{"transactions":{"transport":"udp","request_bytes":16,"response_bytes":16,"outstanding":4,"pace":{"rate":{"operations":1,"per_ns":1000000},"poisson":true,"seed":3}}},"flows":2,"peer_threads":null,"peer_cpus":[0,1],"warmup_ns":0,"duration_ns":1000000000,"interval_ns":1000000,"wait":"block","cpu_dma_latency_us":5,"socket":{"congestion":"cubic","segment_bytes":536,"delay_small_writes":false,"quick_ack":false,"send_buffer_bytes":null,"receive_buffer_bytes":null}}}"#;

/// Says `data` to a server's door in pieces whose lengths are in the data too, with and without a token,
/// and to a client's reading of replies.
///
/// # Panics
/// When a promise of the protocol is broken: that is what fuzzing looks for.
pub fn say(data: &[u8]) {
    let token = Token::new(b"a token that nobody guesses").map(Arc::new);
    if let Some(order) = enter(Door::new(None, Nonce::default()), data) {
        consider(&order);
    }
    let order = enter(Door::new(token, Nonce::default()), data);
    assert!(order.is_none(), "in without the token");
    read_replies(data);
}

/// Where a fuzzer should begin: what a well-behaved client says, up to an order and after it, and every reply of
/// a server.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![Vec::new(), spoken(31, ORDER.as_bytes())];
    let orders = [
        ("\"udp\"", "\"tcp\""),
        ("\"block\"", "{\"adaptive\":{\"spin_ns\":50000}}"),
        ("\"open\":{", "\"open\":{\"more\":1,"),
    ];
    seeds.extend(orders.iter().map(|(from, to)| spoken(31, ORDER.replacen(from, to, 1).as_bytes())));
    seeds.push(spoken(31, br#"{"open":{"workload":{"stream":{"direction":"both","write_bytes":1,"read_bytes":1,"send_with":"copy","receive_with":"discard"}},"flows":1,"peer_threads":1,"peer_cpus":null,"warmup_ns":0,"duration_ns":1,"interval_ns":null,"wait":"spin","cpu_dma_latency_us":null,"socket":{"congestion":null,"segment_bytes":null,"delay_small_writes":true,"quick_ack":true,"send_buffer_bytes":1,"receive_buffer_bytes":1}}}"#));
    let (nonce, proof) = (Nonce::default(), Nonce::default());
    let requests = [Request::Authenticate { nonce, proof }, Request::Start, Request::Stop];
    seeds.extend(requests.iter().filter_map(|request| Some(spoken(31, &serde_json::to_vec(request).ok()?))));
    seeds.push([&[31][..], &Hello::Data { cookie: [7; 16], flow: 3 }.encode()].concat());
    let replies = [
        Reply::Challenge { nonce, token_needed: true },
        Reply::Authenticated { proof },
        Reply::Opened { cookie: "7".repeat(32), ports: vec![1, 2] },
        Reply::Ready,
        Reply::Interval(IntervalReport {
            index: 1,
            length_ns: 2,
            received_bytes: 3,
            tcp: vec![TcpInfo::default()],
        }),
        Reply::Refused { because: Refusal::Busy, reason: "later".into() },
    ];
    seeds.extend(replies.iter().filter_map(|reply| frame::encode(&serde_json::to_vec(reply).ok()?).ok()));
    seeds
}

/// What a client says that sends one message after its hello, in pieces of `step` + 1 bytes.
fn spoken(step: u8, message: &[u8]) -> Vec<u8> {
    let mut data = vec![step];
    data.extend(Hello::Control.encode());
    data.extend((message.len() as u32).to_be_bytes());
    data.extend(message);
    data
}

/// Goes through the door, if `data` leads there.
fn enter(mut door: Door, data: &[u8]) -> Option<Order> {
    let (&step, mut rest) = data.split_first()?;
    let step = usize::from(step % 64) + 1;
    while !rest.is_empty() {
        let count = step.min(door.appetite()).min(rest.len());
        assert!(count > 0, "a door that takes nothing must have decided");
        let (piece, behind) = rest.split_at(count);
        rest = behind;
        match door.receive(piece) {
            Decision::Wait => {}
            Decision::Say(words) => assert!(words.len() < 1024, "more said than fits an empty buffer"),
            Decision::Refuse(_, words) => {
                assert!(words.len() < 2048, "more said than fits an empty buffer");
                return None;
            }
            Decision::Hang | Decision::Data { .. } => return None,
            Decision::Open(order, _) => return Some(*order),
        }
    }
    None
}

/// What the server does with an order before it makes anything for it.
fn consider(order: &Order) {
    let limits = Limits::default();
    if limits.check(order).is_err() {
        return;
    }
    assert!((1..=limits.flows).contains(&order.all_flows()));
    assert!(order.warmup_ns + order.duration_ns <= limits.duration_ns);
    let again = serde_json::to_vec(order).expect("an order can be written");
    assert_eq!(&serde_json::from_slice::<Order>(&again).expect("and read again"), order);
}

fn read_replies(data: &[u8]) {
    let mut assembler = Assembler::new(frame::REPLY_LIMIT);
    assembler.push(data);
    while let Ok(Some(frame)) = assembler.next_frame() {
        let _ = serde_json::from_slice::<Reply>(&frame);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes(data in prop::collection::vec(any::<u8>(), 0..600)) {
            say(&data);
        }

        #[test]
        fn any_bytes_after_a_hello(step: u8, message in prop::collection::vec(any::<u8>(), 0..600)) {
            say(&spoken(step, &message));
        }

        #[test]
        fn an_order_with_changed_bytes(step: u8, changes in prop::collection::vec((0..ORDER.len(), any::<u8>()), 0..6)) {
            let mut message = ORDER.as_bytes().to_vec();
            for (place, byte) in changes {
                message[place] = byte;
            }
            say(&spoken(step, &message));
        }

        #[test]
        fn an_order_with_other_numbers(numbers in prop::collection::vec(any::<u64>(), 8)) {
            let mut numbers = numbers.iter();
            let message: String = ORDER
                .split_inclusive(':')
                .map(|part| match part.find(|c: char| !c.is_ascii_digit()) {
                    Some(end) if end > 0 => format!("{}{}", numbers.next().unwrap_or(&0), &part[end..]),
                    _ => part.to_owned(),
                })
                .collect();
            say(&spoken(7, message.as_bytes()));
        }
    }

    #[test]
    fn the_seeds_break_nothing_and_some_lead_in() {
        let leads_in = |seed: &Vec<u8>| enter(Door::new(None, Nonce::default()), seed).is_some();
        seeds().iter().for_each(|seed| say(seed));
        assert_eq!(seeds().iter().filter(|seed| leads_in(seed)).count(), 4);
    }

    #[test]
    fn a_right_order_gets_in() {
        let order = enter(Door::new(None, Nonce::default()), &spoken(0, ORDER.as_bytes())).expect("let in");
        assert_eq!(Limits::default().check(&order), Ok(()));
    }
}
