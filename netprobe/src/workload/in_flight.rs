//! Requests that have been sent and not answered, with their times: a table of fixed size.

/// Times of one request, in nanoseconds of CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// When it was meant to be sent.
    pub intended_ns: u64,
    /// When it was.
    pub begun_ns: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// No request has this slot.
    #[default]
    Free,
    /// Sent; it counts against the limit.
    Open,
    /// Sent, and passed by so many later ones that it does not hold up the next; its response is still awaited.
    Overdue,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    sent: Sent,
    number: u64,
    state: State,
}

/// The requests of one flow under way, numbered in the order of their sending.
///
/// A request has the slot of its number, modulo the number of slots, until it is answered or given up. Numbers
/// whose slot is taken are skipped, so that no two requests under way look alike in a tag as short as the slots
/// are many, and one lost request holds up no other.
#[derive(Debug)]
pub struct InFlight {
    slots: Box<[Slot]>,
    /// Number of the first that may be under way.
    first: u64,
    /// Number of the next to be sent, if its slot is free.
    next: u64,
    /// Number of the latest that was answered.
    answered: u64,
    open: u32,
    taken: usize,
    limit: u32,
}

/// Later requests that have to be answered before an earlier one counts as overdue, at most: what is reordered
/// by less is no loss.
const REORDERED: u64 = 64;

impl InFlight {
    /// Room for `limit` open requests in `window` slots, a power of two and at least `limit`.
    ///
    /// # Panics
    /// When `window` is no power of two, or smaller than `limit`.
    #[must_use]
    pub fn new(limit: u32, window: usize) -> Self {
        assert!(window.is_power_of_two() && window >= limit as usize, "{window} slots for {limit} requests");
        let slots = vec![Slot::default(); window].into();
        Self { slots, first: 0, next: 0, answered: 0, open: 0, taken: 0, limit }
    }

    fn index(&self, number: u64) -> usize {
        (number & (self.slots.len() as u64 - 1)) as usize
    }

    /// Whether another may be sent. Where the limit is reached, requests that were passed by many later ones
    /// make room.
    #[must_use]
    #[inline]
    pub fn has_room(&mut self) -> bool {
        self.taken < self.slots.len() && (self.open < self.limit || self.pass_overdue())
    }

    /// Takes the oldest open request out of the count if so many later ones were answered that it is late beyond
    /// reordering; says whether there was one.
    fn pass_overdue(&mut self) -> bool {
        let reordered = REORDERED.min(u64::from(self.limit) / 2).max(1);
        for number in self.first..self.next {
            if number + reordered > self.answered {
                return false;
            }
            let index = self.index(number);
            let slot = &mut self.slots[index];
            if slot.number == number && slot.state == State::Open {
                slot.state = State::Overdue;
                self.open -= 1;
                return true;
            }
        }
        false
    }

    /// How many are open.
    #[must_use]
    #[inline]
    pub fn open(&self) -> u32 {
        self.open
    }

    /// Number of the next request; there must be room.
    #[must_use]
    #[inline]
    pub fn next_number(&mut self) -> u64 {
        debug_assert!(self.taken < self.slots.len());
        while self.slots[self.index(self.next)].state != State::Free {
            self.next += 1;
        }
        self.next
    }

    /// Opens the next request; there must be room.
    #[inline]
    pub fn push(&mut self, sent: Sent) {
        let number = self.next_number();
        let index = self.index(number);
        self.slots[index] = Slot { sent, number, state: State::Open };
        self.next += 1;
        self.open += 1;
        self.taken += 1;
    }

    /// Closes the oldest request, where responses come in order; `None` when none is open.
    #[inline]
    pub fn close_first(&mut self) -> Option<Sent> {
        if self.taken == 0 {
            return None;
        }
        let first = self.first;
        self.close(first)
    }

    /// Closes the request whose number ends in the `tag` bytes; `None` when it is not under way.
    #[inline]
    pub fn close_tagged(&mut self, tag: &[u8]) -> Option<Sent> {
        let mut bytes = [0; 8];
        bytes[..tag.len()].copy_from_slice(tag);
        let low = u64::from_le_bytes(bytes);
        let number = self.slots[self.index(low)].number;
        (number.to_le_bytes()[..tag.len()] == *tag).then(|| self.close(number)).flatten()
    }

    fn close(&mut self, number: u64) -> Option<Sent> {
        let index = self.index(number);
        let Slot { sent, number: at, state } = self.slots[index];
        if at != number || state == State::Free {
            return None;
        }
        self.free(index);
        self.answered = self.answered.max(number);
        while self.first < self.next && !self.is_under_way(self.first) {
            self.first += 1;
        }
        Some(sent)
    }

    fn free(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        self.open -= u32::from(slot.state == State::Open);
        slot.state = State::Free;
        self.taken -= 1;
    }

    fn is_under_way(&self, number: u64) -> bool {
        let slot = &self.slots[self.index(number)];
        slot.number == number && slot.state != State::Free
    }

    /// Gives up all requests sent before `before_ns`, and says how many those are.
    pub fn give_up(&mut self, before_ns: u64) -> u64 {
        let mut given_up = 0;
        while self.first < self.next {
            if self.is_under_way(self.first) {
                let index = self.index(self.first);
                if self.slots[index].sent.begun_ns >= before_ns {
                    break;
                }
                self.free(index);
                given_up += 1;
            }
            self.first += 1;
        }
        given_up
    }

    /// The intended times of all requests under way.
    pub fn intended_of_open(&self) -> impl Iterator<Item = u64> + '_ {
        self.slots.iter().filter(|slot| slot.state != State::Free).map(|slot| slot.sent.intended_ns)
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
                // Some may be overdue: those do not count, but are under way.
                prop_assert!(ring.open() as usize <= model.len());
                prop_assert_eq!(ring.intended_of_open().count(), model.len());
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

    #[test]
    fn a_lost_request_holds_up_no_other_and_its_tag_is_not_used_again() {
        let mut ring = InFlight::new(128, 256);
        let sent = |number| Sent { intended_ns: number, begun_ns: number };
        ring.push(sent(0));
        let lost = 0_u8;
        for number in 1..2000 {
            assert!(ring.has_room(), "after {number}");
            let tag = ring.next_number().to_le_bytes()[0];
            assert_ne!(tag, lost);
            ring.push(sent(number));
            assert_eq!(ring.close_tagged(&[tag]), Some(sent(number)));
        }
        assert_eq!(ring.give_up(1), 1, "the lost one and no other");
        assert!(ring.has_room());
    }

    #[test]
    fn many_lost_requests_make_room_but_an_outage_does_not() {
        let mut ring = InFlight::new(8, 16);
        let mut answered = 0;
        for number in 0..12_u64 {
            assert!(ring.has_room(), "{number}");
            let tag = ring.next_number().to_le_bytes();
            ring.push(Sent { intended_ns: number, begun_ns: number });
            if number % 2 == 1 {
                answered += u32::from(ring.close_tagged(&tag[..1]).is_some());
            }
        }
        assert_eq!(answered, 6);
        let mut ring = InFlight::new(8, 16);
        while ring.has_room() {
            ring.push(Sent::default());
        }
        assert_eq!(ring.open(), 8, "nothing was answered: all count");
        // What comes late is taken for what it is.
        assert!(ring.close_tagged(&[3]).is_some() && ring.close_tagged(&[3]).is_none());
    }
}
