//! Requests that have been sent and not answered, with their times: a ring of fixed size.

/// Times of one request, in nanoseconds of CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// When it was meant to be sent.
    pub intended_ns: u64,
    /// When it was.
    pub begun_ns: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    sent: Sent,
    is_open: bool,
}

/// The requests of one flow under way, numbered from 0 in the order of their sending.
#[derive(Debug)]
pub struct InFlight {
    slots: Box<[Slot]>,
    /// Number of the first that may be open.
    first: u64,
    /// Number of the next to be sent.
    next: u64,
    open: u32,
    limit: u32,
}

impl InFlight {
    /// Room for `limit` open requests among the last `window`, a power of two and at least `limit`.
    ///
    /// # Panics
    /// When `window` is no power of two, or smaller than `limit`.
    #[must_use]
    pub fn new(limit: u32, window: usize) -> Self {
        assert!(window.is_power_of_two() && window >= limit as usize, "{window} slots for {limit} requests");
        Self { slots: vec![Slot::default(); window].into(), first: 0, next: 0, open: 0, limit }
    }

    fn slot(&mut self, number: u64) -> &mut Slot {
        let mask = self.slots.len() as u64 - 1;
        &mut self.slots[(number & mask) as usize]
    }

    /// Whether another may be sent.
    #[must_use]
    #[inline]
    pub fn has_room(&self) -> bool {
        self.open < self.limit && self.next - self.first < self.slots.len() as u64
    }

    /// How many are open.
    #[must_use]
    #[inline]
    pub fn open(&self) -> u32 {
        self.open
    }

    /// Number of the next request.
    #[must_use]
    #[inline]
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// Opens the next request; there must be room.
    #[inline]
    pub fn push(&mut self, sent: Sent) {
        debug_assert!(self.has_room());
        *self.slot(self.next) = Slot { sent, is_open: true };
        self.next += 1;
        self.open += 1;
    }

    /// Closes the oldest request, where responses come in order; `None` when none is open.
    #[inline]
    pub fn close_first(&mut self) -> Option<Sent> {
        if self.open == 0 {
            return None;
        }
        let first = self.first;
        self.close(first)
    }

    /// Closes the request whose number ends in the `tag` bytes; `None` when it is not open.
    #[inline]
    pub fn close_tagged(&mut self, tag: &[u8]) -> Option<Sent> {
        let mut bytes = [0; 8];
        bytes[..tag.len()].copy_from_slice(tag);
        let bits = 8 * tag.len() as u32;
        let distance = u64::from_le_bytes(bytes).wrapping_sub(self.first);
        let distance = if bits == 64 { distance } else { distance & ((1 << bits) - 1) };
        (distance < self.next - self.first).then(|| self.close(self.first + distance)).flatten()
    }

    fn close(&mut self, number: u64) -> Option<Sent> {
        let slot = self.slot(number);
        if !slot.is_open {
            return None;
        }
        slot.is_open = false;
        let sent = slot.sent;
        self.open -= 1;
        self.skip_closed();
        Some(sent)
    }

    fn skip_closed(&mut self) {
        while self.first < self.next && !self.slot(self.first).is_open {
            self.first += 1;
        }
    }

    /// Gives up all requests sent before `before_ns`, and says how many those are.
    pub fn give_up(&mut self, before_ns: u64) -> u64 {
        let mut given_up = 0;
        while self.first < self.next {
            let first = self.first;
            let slot = self.slot(first);
            if slot.is_open && slot.sent.begun_ns >= before_ns {
                break;
            }
            given_up += u64::from(slot.is_open);
            self.open -= u32::from(std::mem::take(&mut self.slot(first).is_open));
            self.first += 1;
        }
        given_up
    }

    /// The intended times of all open requests.
    pub fn intended_of_open(&self) -> impl Iterator<Item = u64> + '_ {
        self.slots.iter().filter(|slot| slot.is_open).map(|slot| slot.sent.intended_ns)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a plain map from number to time.
        #[test]
        fn it_is_a_map_of_the_open_requests(steps in prop::collection::vec((0_u8..4, any::<u8>()), 0..300)) {
            let mut ring = InFlight::new(64, 128);
            let mut model = BTreeMap::new();
            for (time, (kind, value)) in (0_u64..).zip(steps) {
                let sent = Sent { intended_ns: time, begun_ns: time };
                match kind {
                    0 | 1 if ring.has_room() => {
                        model.insert(ring.next_number(), sent);
                        ring.push(sent);
                    }
                    2 => {
                        let number = model.keys().nth(usize::from(value) % model.len().max(1)).copied();
                        let tag = number.unwrap_or(u64::from(value)).to_le_bytes();
                        let expected = number.and_then(|number| model.remove(&number));
                        prop_assert_eq!(ring.close_tagged(&tag[..1]), expected);
                    }
                    3 => {
                        let before = time.saturating_sub(u64::from(value));
                        // In order of sending, as times ascend with numbers.
                        let old: Vec<u64> = model.iter().filter(|(_, sent)| sent.begun_ns < before).map(|(number, _)| *number).collect();
                        prop_assert_eq!(ring.give_up(before), old.len() as u64);
                        model.retain(|number, _| !old.contains(number));
                    }
                    _ => {}
                }
                prop_assert_eq!(ring.open() as usize, model.len());
            }
        }
    }

    #[test]
    fn in_order_the_oldest_closes_first() {
        let mut ring = InFlight::new(2, 2);
        ring.push(Sent { intended_ns: 1, begun_ns: 2 });
        ring.push(Sent { intended_ns: 3, begun_ns: 4 });
        assert!(!ring.has_room());
        assert_eq!(ring.close_first(), Some(Sent { intended_ns: 1, begun_ns: 2 }));
        assert_eq!(ring.close_first(), Some(Sent { intended_ns: 3, begun_ns: 4 }));
        assert_eq!(ring.close_first(), None);
    }
}
