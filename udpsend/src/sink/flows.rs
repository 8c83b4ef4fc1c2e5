//! The flows that a sink knows, found by their source in constant time and memory.

use crate::sink::{incoming::Source, tracker::Tracker};

/// One flow: a source address and port.
#[derive(Clone, Debug)]
pub struct FlowState {
    source: Source,
    /// The sender's run, known from the first datagram with room for it.
    run: Option<u16>,
    /// What its numbers tell.
    pub tracker: Tracker,
    /// Number and delay, in nanoseconds, of its latest datagram.
    pub latest: Option<(u64, u64)>,
}

impl FlowState {
    fn new(expected: Option<u64>) -> Self {
        Self { source: Source::default(), run: None, tracker: Tracker::new(expected), latest: None }
    }

    /// Takes notice of the run that a datagram says it belongs to: another one than before has taken
    /// over the port, and its numbers begin anew.
    #[inline]
    pub fn note_run(&mut self, run: u16) {
        if self.run != Some(run) {
            if self.run.is_some() {
                self.tracker.restart();
                self.latest = None;
            }
            self.run = Some(run);
        }
    }
}

/// A table of flows that never grows: open addressing, half full at most.
#[derive(Debug)]
pub struct Flows {
    states: Vec<FlowState>,
    used: usize,
    /// Index into `states` plus one; 0 is empty.
    slots: Vec<u32>,
    latest: usize,
}

impl Flows {
    /// Room for `capacity` flows, at least one, faulted in; with `expected`, the numbers of each are counted from there on.
    #[must_use]
    pub fn new(capacity: usize, expected: Option<u64>) -> Self {
        let capacity = capacity.max(1);
        let slots = vec![0; (capacity * 2).next_power_of_two()];
        Self { states: vec![FlowState::new(expected); capacity], used: 0, slots, latest: 0 }
    }

    /// The state of a flow, new if need be; `None` when the table is full.
    #[inline]
    pub fn entry(&mut self, source: &Source) -> Option<&mut FlowState> {
        if self.used == 0 || self.states[self.latest].source != *source {
            self.latest = self.find(source)?;
        }
        Some(&mut self.states[self.latest])
    }

    /// The flows so far.
    #[must_use]
    pub fn known(&self) -> &[FlowState] {
        &self.states[..self.used]
    }

    /// The measured time begins: what any flow has skipped before is counted no longer.
    pub fn forget_skips(&mut self) {
        self.states[..self.used].iter_mut().for_each(|flow| flow.tracker.forget_skips());
    }

    fn find(&mut self, source: &Source) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let mut slot = hash(source) as usize & mask;
        loop {
            match self.slots[slot] {
                0 if self.used == self.states.len() => return None,
                0 => {
                    let index = self.used;
                    self.states[index].source = *source;
                    self.used += 1;
                    self.slots[slot] = self.used as u32;
                    return Some(index);
                }
                taken if self.states[taken as usize - 1].source == *source => {
                    return Some(taken as usize - 1);
                }
                _ => slot = (slot + 1) & mask,
            }
        }
    }
}

/// FNV-1a over 64-bit words, with a final mix: spread enough for a table that is half empty.
fn hash(source: &Source) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for word in source.0.chunks(4) {
        let word = word.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
        hash = (hash ^ word).wrapping_mul(0x100_0000_01b3);
    }
    hash ^ hash >> 29
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::tracker::Arrival;

    fn source(number: u16) -> Source {
        let mut source = Source::default();
        source.0[2..4].copy_from_slice(&number.to_be_bytes());
        source
    }

    #[test]
    fn flows_are_kept_apart_until_the_table_is_full() {
        let mut flows = Flows::new(100, None);
        for round in 0..3 {
            for number in 0..100 {
                flows.entry(&source(number)).unwrap().latest = Some((number.into(), round));
            }
        }
        assert!(
            (0..100).all(|number| flows.entry(&source(number)).unwrap().latest == Some((number.into(), 2)))
        );
        assert!(flows.entry(&source(100)).is_none());
        assert!(flows.entry(&source(5)).is_some());
        assert_eq!(flows.known().len(), 100);
    }

    #[test]
    fn another_run_on_the_same_port_begins_anew() {
        let mut flows = Flows::new(1, None);
        let flow = flows.entry(&source(1)).unwrap();
        flow.tracker.note(0);
        flow.note_run(1);
        assert_eq!(flow.tracker.note(0), Arrival::Duplicate, "the first run to be named is the one so far");
        flow.note_run(2);
        assert_eq!(flow.tracker.note(0), Arrival::InOrder { skipped: 0 });
    }
}
