//! What anyone can send to a sink, as one function: for the fuzz target and for the property test.

use meter::runtime::recorders;

use crate::{
    payload::{self, FILLER, HEADER_BYTES, Origin, Parsed},
    sink::{
        batch::Batch,
        control,
        delay::{DelayMeter, Delays},
        flows::Flows,
        incoming::{Message, Source},
    },
};

/// Flows that can be told apart here; more come.
const FLOWS: usize = 4;

/// Inputs that lead a fuzzer in: datagrams of a good sender, joined ones, and the kernel's words beside them.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let origin = Origin { clock: payload::local_clock(), run: 7 };
    let datagram = |sequence: u64| {
        let mut payload = [FILLER; 32];
        payload::stamp(&mut payload, sequence, 1_000_000, origin);
        payload
    };
    let message = |source: u8, control: &[u8], numbers: &[u64]| {
        let payload: Vec<u8> = numbers.iter().flat_map(|&number| datagram(number)).collect();
        let mut bytes = vec![source, control.len() as u8];
        bytes.extend((payload.len() as u16).to_le_bytes());
        bytes.extend([control, &payload].concat());
        bytes
    };
    let stride = control::message(libc::SOL_UDP, libc::UDP_GRO, &32_u32.to_ne_bytes());
    let time = [1_u64.to_ne_bytes(), 5_u64.to_ne_bytes()].concat();
    let time = control::message(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, &time);
    let drops = control::message(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &9_u32.to_ne_bytes());
    let arrivals = [
        Vec::new(),
        [message(0, &time, &[0]), message(0, &time, &[1]), message(0, &[], &[3]), message(0, &[], &[2])]
            .concat(),
        message(1, &[stride, time, drops].concat(), &[0, 1, 2, 5, 5, 70_000]),
        [message(2, &[], &[u64::MAX]), message(2, &[], &[0])].concat(),
    ];
    [0, 1]
        .iter()
        .flat_map(|&delays| arrivals.iter().map(move |bytes| [&[delays][..], &bytes[..]].concat()))
        .collect()
}

/// Takes `data` for messages that have arrived: each with a source, control data and a payload whose
/// lengths are in the data too. The first byte says whether delays are measured, which costs a fuzzer time.
///
/// # Panics
/// When a datagram is counted twice or not at all: that is what fuzzing looks for.
pub fn receive(data: &[u8]) {
    let Some((with_delays, data)) = data.split_first() else {
        return;
    };
    if with_delays % 2 == 0 {
        return take_all(data, None);
    }
    let (recorders, _) = recorders(1, None, Delays::none);
    for recorder in recorders {
        let mut delays = DelayMeter::new(recorder);
        take_all(data, Some(&mut delays));
        let (finished, packets) = (delays.finish().summaries(), data.len() as u64);
        assert!(finished.is_none_or(|(delay, _)| delay.count <= packets), "more delays than datagrams");
    }
}

fn take_all(mut data: &[u8], mut delays: Option<&mut DelayMeter>) {
    let mut flows = Flows::new(FLOWS, None);
    while let Some((head, rest)) = data.split_first_chunk::<4>() {
        let [source, control_len, low, high] = *head;
        let (control, rest) = rest.split_at(usize::from(control_len).min(rest.len()));
        let payload_len = usize::from(u16::from_le_bytes([low, high]));
        let (payload, rest) = rest.split_at(payload_len.min(rest.len()));
        data = rest;
        let mut from = Source::default();
        from.0[0] = source % 8;
        let message = Message { payload, source: from, ancillary: control::parse(control) };
        take(&message, &mut flows, delays.as_deref_mut());
    }
}

fn take(message: &Message<'_>, flows: &mut Flows, delays: Option<&mut DelayMeter>) {
    let mut batch = Batch::default();
    batch.take(message, flows, delays);
    assert_eq!(batch.delivered + batch.foreign, message.datagrams(), "each datagram is one or the other");
    assert!(batch.bytes <= message.payload.len() as u64, "more bytes than there were");
    let apart = batch.reordered + batch.duplicated + batch.unnumbered + batch.untracked;
    assert!(apart <= batch.delivered, "a datagram is one of these at most");
    assert!(batch.found <= batch.reordered, "what is found again came late");
    message.payload.chunks(message.stride()).for_each(reads_back);
}

/// What was read from a header makes the same header again.
fn reads_back(payload: &[u8]) {
    let Parsed::Ours { sequence, intended_ns, origin: Some(origin) } = payload::parse(payload) else {
        return;
    };
    let mut again = [FILLER; HEADER_BYTES];
    payload::stamp(&mut again, sequence.unwrap_or(0), intended_ns.unwrap_or(0), origin);
    assert_eq!(again, payload[..HEADER_BYTES]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_seeds_break_nothing_and_are_read_as_datagrams() {
        seeds().iter().for_each(|seed| receive(seed));
        let joined = &seeds()[2];
        let control_len = usize::from(joined[2]);
        let ancillary = control::parse(&joined[5..5 + control_len]);
        assert_eq!((ancillary.stride, ancillary.dropped), (Some(32), Some(9)));
        assert!(matches!(
            payload::parse(&joined[5 + control_len..][..32]),
            Parsed::Ours { sequence: Some(0), .. }
        ));
    }

    proptest! {
        #[test]
        fn whatever_arrives_is_counted_once(data in proptest::collection::vec(any::<u8>(), 0..4000)) {
            receive(&data);
        }

        #[test]
        fn whatever_number_arrives_is_counted_once(
            arrivals in proptest::collection::vec((any::<u8>(), any::<u64>(), any::<u64>(), any::<u16>(), 0_usize..80), 0..100)
        ) {
            let mut data = vec![1];
            for (source, sequence, intended_ns, run, len) in arrivals {
                let mut payload = vec![FILLER; len];
                payload::stamp(&mut payload, sequence, intended_ns, Origin { clock: payload::local_clock(), run });
                data.extend([source, 0, len as u8, 0]);
                data.extend(payload);
            }
            receive(&data);
        }
    }
}
