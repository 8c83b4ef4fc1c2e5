//! What a batch of messages tells, added up before it is counted.

use crate::{
    payload::{self, Parsed},
    sink::{counters::Counters, delay::DelayMeter, flows::Flows, incoming::Message, tracker::Arrival},
};

/// Counts of one batch, kept in registers until it is done.
#[derive(Default)]
pub struct Batch {
    pub delivered: u64,
    pub bytes: u64,
    pub skipped: u64,
    pub found: u64,
    pub reordered: u64,
    pub duplicated: u64,
    pub unnumbered: u64,
    pub foreign: u64,
    pub untracked: u64,
}

impl Batch {
    /// Takes one message: counts its datagrams, follows their numbers and, with `delays`, their delays.
    #[inline]
    pub fn take(&mut self, message: &Message<'_>, flows: &mut Flows, mut delays: Option<&mut DelayMeter>) {
        let stride = message.stride();
        if message.payload.is_empty() {
            self.delivered += 1;
            self.unnumbered += 1;
        }
        for payload in message.payload.chunks(stride) {
            let Parsed::Ours { sequence, intended_ns, origin } = payload::parse(payload) else {
                self.foreign += 1;
                continue;
            };
            self.delivered += 1;
            self.bytes += payload.len() as u64;
            let Some(sequence) = sequence else {
                self.unnumbered += 1;
                continue;
            };
            let Some(flow) = flows.entry(&message.source) else {
                self.untracked += 1;
                continue;
            };
            if let Some(origin) = origin {
                flow.note_run(origin.run);
            }
            match flow.tracker.note(sequence) {
                Arrival::InOrder { skipped } => self.skipped = self.skipped.saturating_add(skipped),
                Arrival::Reordered { was_skipped } => {
                    self.reordered += 1;
                    self.found += u64::from(was_skipped);
                }
                Arrival::Duplicate => {
                    self.duplicated += 1;
                    continue;
                }
            }
            let stamps = (origin, intended_ns, message.ancillary.received_wall_ns);
            if let (Some(delays), (Some(origin), Some(intended_ns), Some(received_ns))) =
                (&mut delays, stamps)
            {
                delays.note(flow, sequence, intended_ns, origin, received_ns);
            }
        }
    }

    /// Adds it to a worker's counters.
    #[inline]
    pub fn count(&self, counters: &Counters) {
        counters.delivered.add(self.delivered);
        counters.bytes.add(self.bytes);
        if self.skipped | self.reordered | self.duplicated | self.unnumbered | self.foreign | self.untracked
            != 0
        {
            counters.skipped.add(self.skipped);
            counters.found.add(self.found);
            counters.reordered.add(self.reordered);
            counters.duplicated.add(self.duplicated);
            counters.unnumbered.add(self.unnumbered);
            counters.foreign.add(self.foreign);
            counters.untracked.add(self.untracked);
        }
    }
}
