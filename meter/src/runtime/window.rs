//! The times of one run.

use super::Plan;
use crate::{control::Stop, wait::Waiter};

/// How long before the start a worker ends its sleep and spins, in nanoseconds.
const SPIN_NS: u64 = 200_000;

/// The times of one run for its workers, CLOCK_MONOTONIC in nanoseconds, ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Common start of all workers and zero of their schedules.
    pub start_ns: u64,
    /// Begin of the measured time: the end of the warm-up.
    pub from_ns: u64,
    /// End of the measured time.
    pub until_ns: u64,
}

impl Window {
    /// The times of `plan` from `start_ns` on.
    #[must_use]
    pub fn of(plan: &Plan, start_ns: u64) -> Self {
        let from_ns = start_ns.saturating_add(plan.warmup_ns);
        Self { start_ns, from_ns, until_ns: from_ns.saturating_add(plan.duration_ns) }
    }

    /// Sleeps, then spins for a short while, until the common start or until `stop` is raised; gives the time
    /// it is then.
    pub fn wait_for_start(&self, stop: &Stop) -> u64 {
        Waiter { margin_ns: SPIN_NS }.until(self.start_ns, stop)
    }
}
