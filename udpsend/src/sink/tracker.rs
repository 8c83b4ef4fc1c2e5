//! What became of one flow's datagrams, told from their numbers alone.

/// How many numbers below the highest one are remembered one by one.
pub const WINDOW: u64 = 8192;

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
    Reordered {
        /// Whether it was counted as skipped before.
        was_skipped: bool,
    },
    /// It was there before.
    Duplicate,
}

/// Follows the numbers of one flow. Memory and time per datagram are constant.
///
/// Counting begins with the number that arrives first, or with one that is expected: what has a lower number came
/// before anyone counted, and is neither lost nor found again.
///
/// A number more than [`WINDOW`] below the highest can't be told from a duplicate any more; it counts
/// as reordered.
#[derive(Clone, Debug)]
pub struct Tracker {
    /// RFC 4737's NextExp: one above the highest number so far.
    next: u64,
    /// Bit n % WINDOW says whether number n, among the last WINDOW below `next`, has arrived.
    seen: [u64; WORDS],
    /// The number that counting begins with at the latest, where that is known before.
    expected: Option<u64>,
    /// The number that the flow is followed from.
    first: Option<u64>,
    /// Numbers from here on that did not arrive in their turn were counted as skipped.
    skips_from: u64,
}

impl Tracker {
    /// Of a flow that has not begun; with `expected`, counting begins with that number and not with the first to arrive.
    #[must_use]
    pub fn new(expected: Option<u64>) -> Self {
        Self { next: 0, seen: [0; WORDS], expected, first: None, skips_from: 0 }
    }

    /// The flow begins anew.
    pub fn restart(&mut self) {
        *self = Self::new(self.expected);
    }

    /// The number that counting began with; `None` before the first datagram.
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        self.first
    }

    /// What was skipped so far is counted no longer: of that, nothing that still comes is found again.
    pub fn forget_skips(&mut self) {
        self.skips_from = self.next;
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
            let first = self.expected.map_or(number, |expected| expected.min(number));
            (self.first, self.next, self.skips_from) = (Some(first), first, first);
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
        let was_skipped = number >= self.skips_from;
        if self.next - number > WINDOW {
            return Arrival::Reordered { was_skipped };
        }
        if self.has(number) {
            return Arrival::Duplicate;
        }
        self.set(number);
        Arrival::Reordered { was_skipped }
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

    const IN_TURN: Arrival = Arrival::InOrder { skipped: 0 };

    #[test]
    fn loss_reordering_and_duplicates_are_told_apart() {
        let mut tracker = Tracker::new(None);
        let arrivals: Vec<_> = [0, 1, 4, 2, 4, 5].map(|number| tracker.note(number)).to_vec();
        let expected = [
            IN_TURN,
            IN_TURN,
            Arrival::InOrder { skipped: 2 },
            Arrival::Reordered { was_skipped: true },
            Arrival::Duplicate,
            IN_TURN,
        ];
        assert_eq!(arrivals, expected);
    }

    #[test]
    fn counting_begins_with_the_first_to_arrive() {
        for first in [3, 65_535, 1_000_000] {
            let mut tracker = Tracker::new(None);
            assert_eq!(tracker.note(first), IN_TURN);
            assert_eq!(tracker.first(), Some(first));
            let early = Arrival::Reordered { was_skipped: false };
            assert_eq!(tracker.note(first - 2), early, "it was never counted as lost");
            assert_eq!(tracker.note(first - 2), Arrival::Duplicate);
            assert_eq!(tracker.note(first + 1), IN_TURN);
        }
    }

    #[test]
    fn an_expected_number_is_where_counting_begins() {
        let mut tracker = Tracker::new(Some(0));
        assert_eq!(tracker.note(3), Arrival::InOrder { skipped: 3 });
        assert_eq!(tracker.first(), Some(0));
        assert_eq!(tracker.note(1), Arrival::Reordered { was_skipped: true });
        tracker.restart();
        assert_eq!(tracker.note(2), Arrival::InOrder { skipped: 2 });
        assert_eq!(Tracker::new(Some(10)).note(7), IN_TURN, "an earlier one begins as well");
    }

    #[test]
    fn what_was_skipped_before_the_measured_time_is_not_found_again_in_it() {
        let mut tracker = Tracker::new(None);
        tracker.note(0);
        tracker.note(5);
        tracker.forget_skips();
        assert_eq!(tracker.note(3), Arrival::Reordered { was_skipped: false });
        assert_eq!(tracker.note(8), Arrival::InOrder { skipped: 2 });
        assert_eq!(tracker.note(7), Arrival::Reordered { was_skipped: true });
    }

    #[test]
    fn the_highest_number_is_no_trap() {
        let mut tracker = Tracker::new(None);
        tracker.note(u64::MAX);
        tracker.note(0);
        tracker.note(u64::MAX);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_set_of_all_numbers(
            numbers in proptest::collection::vec(0_u64..6000, 1..3000), is_expected: bool
        ) {
            let mut tracker = Tracker::new(is_expected.then_some(0));
            let first = if is_expected { 0 } else { numbers[0] };
            let (mut seen, mut next) = (HashSet::new(), first);
            let (mut skipped_sum, mut found) = (0, 0);
            for number in numbers {
                let expected = match (seen.insert(number), number >= next) {
                    (false, _) => Arrival::Duplicate,
                    (true, false) => Arrival::Reordered { was_skipped: number >= first },
                    (true, true) => Arrival::InOrder { skipped: number - next },
                };
                next = next.max(number + 1);
                let arrival = tracker.note(number);
                prop_assert_eq!(arrival, expected);
                match arrival {
                    Arrival::InOrder { skipped } => skipped_sum += skipped,
                    Arrival::Reordered { was_skipped } => found += u64::from(was_skipped),
                    Arrival::Duplicate => {}
                }
            }
            let missing = (first..next).filter(|number| !seen.contains(number)).count() as u64;
            prop_assert_eq!(skipped_sum - found, missing, "no loss that did not happen");
        }
    }
}
