//! When to be busy: windows in absolute time, fixed before anything runs.

use meter::random::Random;

use crate::Duty;

/// One stretch of the schedule, in nanoseconds after the schedule's zero: busy from `begin_ns` for
/// `busy_ns`, idle until `end_ns`, where the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Where the busy part begins.
    pub begin_ns: u64,
    /// How long it is.
    pub busy_ns: u64,
    /// Where the next window begins.
    pub end_ns: u64,
}

impl Window {
    /// The same window, with times of a clock on which the schedule's zero is `start_ns`.
    #[must_use]
    pub fn placed(self, start_ns: u64) -> Self {
        let at = |ns: u64| start_ns.saturating_add(ns);
        Self { begin_ns: at(self.begin_ns), busy_ns: self.busy_ns, end_ns: at(self.end_ns) }
    }

    /// What of it lies `since_ns` after the schedule's zero and later, as seen from there.
    fn cut(self, since_ns: u64) -> Self {
        let begin_ns = self.begin_ns.saturating_sub(since_ns);
        let busy_until_ns = self.begin_ns.saturating_add(self.busy_ns).saturating_sub(since_ns);
        let end_ns = self.end_ns.saturating_sub(since_ns);
        Self { begin_ns, busy_ns: busy_until_ns.saturating_sub(begin_ns), end_ns }
    }

    /// What of it lies before `at_ns` and what from there on.
    #[must_use]
    pub fn split(self, at_ns: u64) -> (Option<Self>, Option<Self>) {
        if at_ns <= self.begin_ns {
            return (None, Some(self));
        }
        if at_ns >= self.end_ns {
            return (Some(self), None);
        }
        let before_ns = self.busy_ns.min(at_ns - self.begin_ns);
        let before = Self { busy_ns: before_ns, end_ns: at_ns, ..self };
        (Some(before), Some(Self { begin_ns: at_ns, busy_ns: self.busy_ns - before_ns, ..self }))
    }

    /// Whether it has no idle part.
    #[must_use]
    pub fn is_full(self) -> bool {
        self.busy_ns == self.end_ns - self.begin_ns
    }
}

/// Windows without end.
#[derive(Clone, Debug)]
pub struct Schedule {
    at_ns: u64,
    /// What of the first windows lies before the schedule's zero.
    cut_ns: u64,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Cycle { duty: Duty, period_ns: u64, number: u64 },
    Random { random: Random, mean_busy_ns: f64, mean_idle_ns: f64 },
}

impl Schedule {
    /// The same share of every period. After any number of periods the sum of the busy parts is off
    /// by less than a nanosecond.
    #[must_use]
    pub fn cycle(duty: Duty, period_ns: u64) -> Self {
        Self { at_ns: 0, cut_ns: 0, kind: Kind::Cycle { duty, period_ns, number: 0 } }
    }

    /// Busy and idle times of random length, exponential and independent, with means of `duty` and the
    /// rest of `period_ns`; the same for the same seed.
    #[must_use]
    pub fn random(duty: Duty, period_ns: u64, seed: u64) -> Self {
        let mean_busy_ns = period_ns as f64 * duty.percent() / 100.0;
        let kind = Kind::Random {
            random: Random::new(seed),
            mean_busy_ns,
            mean_idle_ns: period_ns as f64 - mean_busy_ns,
        };
        Self { at_ns: 0, cut_ns: 0, kind }
    }

    /// The same schedule, entered `since_ns` after its first window began.
    #[must_use]
    pub fn entered(self, since_ns: u64) -> Self {
        Self { cut_ns: since_ns, ..self }
    }

    /// Takes the next window.
    pub fn take(&mut self) -> Window {
        loop {
            let window = self.take_whole();
            if window.end_ns > self.cut_ns {
                return window.cut(self.cut_ns);
            }
        }
    }

    fn take_whole(&mut self) -> Window {
        let begin_ns = self.at_ns;
        let (busy_ns, length_ns) = match &mut self.kind {
            Kind::Cycle { duty, period_ns, number } => {
                // The difference of two exact sums, so that no rounding error adds up.
                let until = |periods: u64| duty.of_ns(period_ns.saturating_mul(periods));
                let busy_ns = until(*number + 1) - until(*number);
                *number += 1;
                (busy_ns, *period_ns)
            }
            Kind::Random { random, mean_busy_ns, mean_idle_ns } => {
                let busy_ns = (*mean_busy_ns * random.exponential()) as u64;
                let idle_ns = (*mean_idle_ns * random.exponential()) as u64;
                (busy_ns, (busy_ns + idle_ns).max(1))
            }
        };
        self.at_ns = begin_ns.saturating_add(length_ns);
        Window { begin_ns, busy_ns, end_ns: self.at_ns }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_busy_parts_add_up_exactly(duty in 1_u32..=100, period_ns in 1_000_u64..1_000_000_000, periods in 1_usize..300) {
            let duty: Duty = format!("{duty}").parse().unwrap();
            let mut schedule = Schedule::cycle(duty, period_ns);
            let windows: Vec<Window> = (0..periods).map(|_| schedule.take()).collect();
            let busy: u64 = windows.iter().map(|window| window.busy_ns).sum();
            prop_assert_eq!(busy, duty.of_ns(period_ns * periods as u64));
            for pair in windows.windows(2) {
                prop_assert_eq!(pair[0].end_ns, pair[1].begin_ns);
                prop_assert!(pair[0].begin_ns + pair[0].busy_ns <= pair[0].end_ns);
            }
        }
    }

    #[test]
    fn a_schedule_can_be_entered_within_a_window() {
        let windows = |since_ns| {
            let mut schedule = Schedule::cycle("50".parse().unwrap(), 100).entered(since_ns);
            [schedule.take(), schedule.take()].map(|window| window.placed(1000))
        };
        let next = |begin_ns| Window { begin_ns, busy_ns: 50, end_ns: begin_ns + 100 };
        assert_eq!(windows(0), [next(1000), next(1100)]);
        assert_eq!(windows(20), [Window { begin_ns: 1000, busy_ns: 30, end_ns: 1080 }, next(1080)]);
        assert_eq!(windows(60), [Window { begin_ns: 1000, busy_ns: 0, end_ns: 1040 }, next(1040)]);
        assert_eq!(windows(220)[0], Window { begin_ns: 1000, busy_ns: 30, end_ns: 1080 });
    }

    #[test]
    fn a_window_that_began_before_the_machine_did_is_entered_where_it_is() {
        // 50 years into a period of a century, on a machine that was started 5 s ago.
        let year_ns = 365 * 86_400_000_000_000;
        let mut schedule = Schedule::cycle(Duty::FULL, 100 * year_ns).entered(50 * year_ns);
        let window = schedule.take().placed(5_000_000_000);
        assert!(window.is_full());
        assert_eq!((window.begin_ns, window.end_ns), (5_000_000_000, 50 * year_ns + 5_000_000_000));
    }

    #[test]
    fn random_windows_keep_the_mean_and_repeat_with_the_seed() {
        let take = |seed| {
            let mut schedule = Schedule::random("30".parse().unwrap(), 1_000_000, seed);
            (0..20_000).map(|_| schedule.take()).collect::<Vec<_>>()
        };
        let windows = take(3);
        assert_eq!(windows, take(3));
        assert_ne!(windows, take(4));
        let busy: u64 = windows.iter().map(|window| window.busy_ns).sum();
        let share = busy as f64 / windows.last().unwrap().end_ns as f64;
        assert!((share - 0.3).abs() < 0.01, "{share}");
    }

    #[test]
    fn random_times_are_exponential() {
        const COUNT: usize = 50_000;
        let mut schedule = Schedule::random("30".parse().unwrap(), 1_000_000_000, 11);
        let windows: Vec<Window> = (0..COUNT).map(|_| schedule.take()).collect();
        let busy: Vec<u64> = windows.iter().map(|window| window.busy_ns).collect();
        let idle: Vec<u64> =
            windows.iter().map(|window| window.end_ns - window.begin_ns - window.busy_ns).collect();
        for (mut times, mean_ns) in [(busy, 0.3e9), (idle, 0.7e9)] {
            times.sort_unstable();
            // Kolmogorov's distance from 1 - exp(-t/mean); 1.95 / sqrt(n) is exceeded once in a thousand.
            let distance = times.iter().enumerate().map(|(rank, &time_ns)| {
                let expected = 1.0 - (-(time_ns as f64) / mean_ns).exp();
                (expected - (rank as f64 + 0.5) / COUNT as f64).abs()
            });
            let farthest = distance.fold(0.0, f64::max);
            assert!(farthest < 1.95 / (COUNT as f64).sqrt(), "{farthest} from a mean of {mean_ns} ns");
        }
    }

    #[test]
    fn the_parts_of_a_window_are_the_window() {
        let window = Window { begin_ns: 100, busy_ns: 50, end_ns: 200 };
        assert_eq!(window.split(100), (None, Some(window)));
        assert_eq!(window.split(200), (Some(window), None));
        for (at_ns, busy) in [(101, [1, 49]), (150, [50, 0]), (199, [50, 0])] {
            let (Some(before), Some(after)) = window.split(at_ns) else { panic!("no two parts at {at_ns}") };
            assert_eq!([before.busy_ns, after.busy_ns], busy);
            assert_eq!(
                (before.begin_ns, before.end_ns, after.begin_ns, after.end_ns),
                (100, at_ns, at_ns, 200)
            );
        }
    }
}
