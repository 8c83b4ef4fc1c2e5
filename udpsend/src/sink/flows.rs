//! The flows that a sink knows, found by sender and run in constant time and memory.

use crate::sink::{incoming::Source, tracker::Tracker};

/// Who sends: the source address and port, and the run of the sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowKey {
    /// Address and port, as the kernel wrote them.
    pub source: Source,
    /// The sender's run; 0 for datagrams without room for it.
    pub run: u16,
}

/// One flow.
#[derive(Clone, Debug, Default)]
pub struct FlowState {
    key: FlowKey,
    /// What its numbers tell.
    pub tracker: Tracker,
    /// Number and delay of its latest datagram, for the delay variation.
    pub latest: Option<(u64, u64)>,
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
    /// Room for `capacity` flows, at least one, faulted in.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        let slots = vec![0; (capacity * 2).next_power_of_two()];
        Self { states: vec![FlowState::default(); capacity], used: 0, slots, latest: 0 }
    }

    /// The state of a flow, new if need be; `None` when the table is full.
    #[inline]
    pub fn entry(&mut self, key: &FlowKey) -> Option<&mut FlowState> {
        if self.used == 0 || self.states[self.latest].key != *key {
            self.latest = self.find(key)?;
        }
        Some(&mut self.states[self.latest])
    }

    /// The flows so far.
    #[must_use]
    pub fn known(&self) -> &[FlowState] {
        &self.states[..self.used]
    }

    fn find(&mut self, key: &FlowKey) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let mut slot = hash(key) as usize & mask;
        loop {
            match self.slots[slot] {
                0 if self.used == self.states.len() => return None,
                0 => {
                    let index = self.used;
                    self.states[index].key = *key;
                    self.used += 1;
                    self.slots[slot] = self.used as u32;
                    return Some(index);
                }
                taken if self.states[taken as usize - 1].key == *key => return Some(taken as usize - 1),
                _ => slot = (slot + 1) & mask,
            }
        }
    }
}

/// FNV-1a over 64-bit words, with a final mix: spread enough for a table that is half empty.
fn hash(key: &FlowKey) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ u64::from(key.run);
    for word in key.source.0.chunks(4) {
        let word = word.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
        hash = (hash ^ word).wrapping_mul(0x100_0000_01b3);
    }
    hash ^ hash >> 29
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u16) -> FlowKey {
        let mut source = Source::default();
        source.0[2..4].copy_from_slice(&number.to_be_bytes());
        FlowKey { source, run: 7 }
    }

    #[test]
    fn flows_are_kept_apart_until_the_table_is_full() {
        let mut flows = Flows::new(100);
        for round in 0..3 {
            for number in 0..100 {
                flows.entry(&key(number)).unwrap().latest = Some((number.into(), round));
            }
        }
        assert!((0..100).all(|number| flows.entry(&key(number)).unwrap().latest == Some((number.into(), 2))));
        assert!(flows.entry(&key(100)).is_none());
        assert!(flows.entry(&key(5)).is_some());
        assert_eq!(flows.known().len(), 100);
    }
}
