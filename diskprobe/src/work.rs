//! What workers shall do.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use meter::{clock, pacer::Schedule};

use crate::{blocks::Blocks, engine::Operation};

/// What a worker shall do in one phase.
#[derive(Clone, Debug)]
pub struct Work {
    /// Direction.
    pub operation: Operation,
    /// The blocks, in order.
    pub blocks: Blocks,
    /// The moment when the first worker begins, common to all.
    pub begin: CommonBegin,
    /// How long after that to start nothing more, in nanoseconds; `u64::MAX` for when all blocks are done.
    pub duration_ns: u64,
    /// Intended starts; `None` for as fast as it goes.
    pub schedule: Option<Schedule>,
    /// How long after the start the schedule begins, in nanoseconds.
    pub lead_ns: u64,
    /// Completions to wait for before new operations begin; `None` for as many as come at once anyway.
    pub batch: Option<u32>,
    /// What blocks that are read shall hold; `None` for anything.
    pub check: Option<Check>,
}

/// Blocks hold the random data of their places.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Seed of that data.
    pub seed: u64,
}

impl Work {
    /// The intended start of the next operation of work that began at `begin_ns`, as CLOCK_MONOTONIC, where a rate gives one.
    #[must_use]
    #[inline]
    pub fn next_due_ns(&self, begin_ns: u64) -> Option<u64> {
        let start_ns = begin_ns + self.lead_ns;
        self.schedule.as_ref().map(|schedule| start_ns.saturating_add(schedule.peek()))
    }
}

/// When the first of some workers begins: the begin of the run for all of them, and for the one who looks on.
///
/// The order to begin wakes them one after the other, and how long that takes is no part of the run.
#[derive(Clone, Debug, Default)]
pub struct CommonBegin(Arc<AtomicU64>);

impl CommonBegin {
    /// A worker begins: gives the common moment, now for the first one (CLOCK_MONOTONIC).
    pub fn begin(&self) -> u64 {
        let now_ns = clock::now_ns();
        self.0
            .compare_exchange(0, now_ns, Ordering::Relaxed, Ordering::Relaxed)
            .map_or_else(|first| first, |_| now_ns)
    }

    /// The moment; `None` before the first worker has begun.
    #[must_use]
    pub fn get(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|begin_ns| *begin_ns > 0)
    }
}
