//! Intervals that partition the measured time.

/// One interval, CLOCK_MONOTONIC in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Its number, from 0.
    pub index: u64,
    /// Begin of the measured time.
    pub zero_ns: u64,
    /// Its begin: the end of the one before.
    pub from_ns: u64,
    /// Its end: when its counters were read.
    pub to_ns: u64,
    nominal_ns: u64,
}

impl Interval {
    /// Its length, in nanoseconds.
    #[must_use]
    pub fn elapsed_ns(&self) -> u64 {
        self.to_ns - self.from_ns
    }

    /// Its length, in seconds.
    #[must_use]
    pub fn elapsed_s(&self) -> f64 {
        self.elapsed_ns() as f64 / 1e9
    }

    /// Its end, in seconds after the begin of the measured time.
    #[must_use]
    pub fn at_s(&self) -> f64 {
        (self.to_ns - self.zero_ns) as f64 / 1e9
    }

    /// `amount` per second of it; 0 for an interval without length.
    #[must_use]
    pub fn per_second(&self, amount: u64) -> f64 {
        if self.elapsed_ns() > 0 { amount as f64 / self.elapsed_s() } else { 0.0 }
    }

    /// Whether it is about as long as was asked for. One that a stall made longer or the end made shorter is
    /// told, but its rate is none to compare with the others'.
    #[must_use]
    pub fn is_regular(&self) -> bool {
        self.elapsed_ns() >= self.nominal_ns / 2 && self.elapsed_ns() / 3 <= self.nominal_ns / 2
    }
}

/// The interval clock: says when the next edge is and cuts the time where it was looked at.
#[derive(Clone, Debug)]
pub struct Intervals {
    zero_ns: u64,
    until_ns: u64,
    nominal_ns: Option<u64>,
    index: u64,
    last_ns: u64,
}

impl Intervals {
    /// Edges at each multiple of `nominal_ns` after `from_ns`, none at or after `until_ns`, where the final
    /// interval ends; with `None` there is only that one.
    #[must_use]
    pub fn new(from_ns: u64, nominal_ns: Option<u64>, until_ns: u64) -> Self {
        Self { zero_ns: from_ns, until_ns, nominal_ns, index: 0, last_ns: from_ns }
    }

    /// Begin of the measured time.
    #[must_use]
    pub fn from_ns(&self) -> u64 {
        self.zero_ns
    }

    /// The next edge, at least half an interval after the last look; `None` when the final interval is next.
    #[must_use]
    pub fn next_edge_ns(&self) -> Option<u64> {
        let nominal_ns = self.nominal_ns?.max(1);
        let least_ns = self.last_ns.saturating_add(nominal_ns.div_ceil(2)) - self.zero_ns;
        let edge_ns =
            least_ns.div_ceil(nominal_ns).max(1).checked_mul(nominal_ns)?.checked_add(self.zero_ns)?;
        (edge_ns < self.until_ns).then_some(edge_ns)
    }

    /// Ends the present interval at `now_ns`, when its counters are read; the next one begins there.
    pub fn end(&mut self, now_ns: u64) -> Interval {
        let to_ns = now_ns.max(self.last_ns);
        let interval = Interval {
            index: self.index,
            zero_ns: self.zero_ns,
            from_ns: self.last_ns,
            to_ns,
            nominal_ns: self.nominal_ns.unwrap_or(to_ns - self.last_ns),
        };
        (self.index, self.last_ns) = (self.index + 1, to_ns);
        interval
    }

    /// Ends the last interval at the end of the measured time.
    pub fn finish(&mut self, end_ns: u64) -> Interval {
        self.end(end_ns)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn edges_are_multiples_of_the_interval_and_the_end_is_none() {
        let mut intervals = Intervals::new(1_000, Some(100), 1_300);
        assert_eq!(intervals.next_edge_ns(), Some(1_100));
        assert!(intervals.end(1_104).is_regular());
        assert_eq!(intervals.next_edge_ns(), Some(1_200));
        intervals.end(1_201);
        assert_eq!(intervals.next_edge_ns(), None, "the final interval ends there");
        let last = intervals.finish(1_302);
        assert_eq!((last.from_ns, last.to_ns, last.index), (1_201, 1_302, 2));
        assert!((last.at_s() - 302e-9).abs() < 1e-12);
    }

    #[test]
    fn after_a_stall_no_interval_is_a_sliver() {
        let mut intervals = Intervals::new(0, Some(1_000), 1_000_000);
        let stalled = intervals.end(3_990);
        assert_eq!((stalled.from_ns, stalled.to_ns, stalled.is_regular()), (0, 3_990, false));
        assert_eq!(intervals.next_edge_ns(), Some(5_000), "and not 4 000, in 10 ns");
        assert!(intervals.end(5_000).is_regular());
        assert!(!intervals.end(5_031).is_regular(), "cut short");
    }

    #[test]
    fn a_run_without_intervals_has_one() {
        let mut intervals = Intervals::new(50, None, 100);
        assert_eq!(intervals.next_edge_ns(), None);
        let whole = intervals.finish(99);
        assert_eq!((whole.from_ns, whole.to_ns), (50, 99));
        assert_eq!(Intervals::new(50, None, 100).finish(40).elapsed_ns(), 0, "stopped before it began");
    }

    proptest! {
        #[test]
        fn intervals_partition_the_time(
            nominal_ns in 1_u64..50,
            delays in proptest::collection::vec(0_u64..200, 0..40),
            tail_ns in 0_u64..100,
        ) {
            let mut intervals = Intervals::new(7, Some(nominal_ns), u64::MAX);
            let (mut at_ns, mut sum_ns) = (7, 0);
            for delay_ns in delays {
                let edge_ns = intervals.next_edge_ns().unwrap();
                prop_assert!(edge_ns >= at_ns + nominal_ns / 2 && (edge_ns - 7).is_multiple_of(nominal_ns));
                let interval = intervals.end(edge_ns + delay_ns);
                prop_assert_eq!(interval.from_ns, at_ns);
                (at_ns, sum_ns) = (interval.to_ns, sum_ns + interval.elapsed_ns());
            }
            let last = intervals.finish(at_ns + tail_ns);
            prop_assert_eq!(sum_ns + last.elapsed_ns(), last.to_ns - 7);
        }
    }
}
