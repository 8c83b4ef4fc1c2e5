//! What became of one flow's datagrams, told from their numbers alone.

/// How many numbers below the highest one are remembered one by one.
pub const WINDOW: u64 = 8192;

/// A flow whose first datagram has a number below this is taken to be seen from its begin.
const BEGIN_WITHIN: u64 = 1 << 16;

const WORDS: usize = WINDOW as usize / 64;

/// How one datagram arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Its number is above all before; that many were skipped.
    InOrder {
        /// Numbers between the highest before and this one: lost, unless they come later.
        skipped: u64,
    },
    /// Its number is below one that came before (RFC 4737 §3), and it is there for the first time.
    Reordered,
    /// It was there before.
    Duplicate,
}

/// Follows the numbers of one flow. Memory and time per datagram are constant.
///
/// A number more than [`WINDOW`] below the highest can't be told from a duplicate any more; it counts
/// as reordered.
#[derive(Clone, Debug)]
pub struct Tracker {
    /// RFC 4737's NextExp: one above the highest number so far.
    next: u64,
    /// Bit n % WINDOW says whether number n, among the last WINDOW below `next`, has arrived.
    seen: [u64; WORDS],
    /// The number that the flow is followed from.
    first: Option<u64>,
}

impl Default for Tracker {
    fn default() -> Self {
        Self { next: 0, seen: [0; WORDS], first: None }
    }
}

impl Tracker {
    /// Whether the flow was joined so late that its begin can't be judged.
    #[must_use]
    pub fn joined_late(&self) -> bool {
        self.first.is_some_and(|first| first > 0)
    }

    /// Takes the number of a datagram that has arrived.
    #[inline]
    pub fn note(&mut self, number: u64) -> Arrival {
        if number == self.next && self.first.is_some() {
            self.set(number);
            self.next = number.wrapping_add(1);
            return Arrival::InOrder { skipped: 0 };
        }
        self.note_jump(number)
    }

    fn note_jump(&mut self, number: u64) -> Arrival {
        if self.first.is_none() {
            let first = if number < BEGIN_WITHIN { 0 } else { number };
            (self.first, self.next) = (Some(first), first);
        }
        if number >= self.next {
            let skipped = number - self.next;
            if skipped >= WINDOW {
                self.seen = [0; WORDS];
            } else {
                (self.next..number).for_each(|missing| self.clear(missing));
            }
            self.set(number);
            self.next = number.wrapping_add(1);
            return Arrival::InOrder { skipped };
        }
        if self.next - number > WINDOW {
            return Arrival::Reordered;
        }
        if self.has(number) {
            return Arrival::Duplicate;
        }
        self.set(number);
        Arrival::Reordered
    }

    #[inline]
    fn place(number: u64) -> (usize, u64) {
        ((number % WINDOW / 64) as usize, 1 << (number % 64))
    }

    #[inline]
    fn set(&mut self, number: u64) {
        let (word, bit) = Self::place(number);
        self.seen[word] |= bit;
    }

    #[inline]
    fn clear(&mut self, number: u64) {
        let (word, bit) = Self::place(number);
        self.seen[word] &= !bit;
    }

    #[inline]
    fn has(&self, number: u64) -> bool {
        let (word, bit) = Self::place(number);
        self.seen[word] & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn loss_reordering_and_duplicates_are_told_apart() {
        let mut tracker = Tracker::default();
        let arrivals: Vec<_> = [0, 1, 4, 2, 4, 5].map(|number| tracker.note(number)).to_vec();
        let in_order = |skipped| Arrival::InOrder { skipped };
        let expected =
            [in_order(0), in_order(0), in_order(2), Arrival::Reordered, Arrival::Duplicate, in_order(0)];
        assert_eq!(arrivals, expected);
    }

    #[test]
    fn a_flow_that_was_joined_late_has_not_lost_what_came_before() {
        let mut tracker = Tracker::default();
        assert_eq!(tracker.note(1_000_000), Arrival::InOrder { skipped: 0 });
        assert!(tracker.joined_late());
        assert_eq!(Tracker::default().note(3), Arrival::InOrder { skipped: 3 });
    }

    #[test]
    fn the_highest_number_is_no_trap() {
        let mut tracker = Tracker::default();
        tracker.note(u64::MAX);
        tracker.note(0);
        tracker.note(u64::MAX);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set_of_all_numbers(numbers in proptest::collection::vec(0_u64..6000, 1..3000)) {
            let mut tracker = Tracker::default();
            let (mut seen, mut next) = (HashSet::new(), 0);
            for number in numbers {
                let expected = match (seen.insert(number), number >= next) {
                    (false, _) => Arrival::Duplicate,
                    (true, false) => Arrival::Reordered,
                    (true, true) => Arrival::InOrder { skipped: number - next },
                };
                next = next.max(number + 1);
                prop_assert_eq!(tracker.note(number), expected);
            }
        }
    }
}
