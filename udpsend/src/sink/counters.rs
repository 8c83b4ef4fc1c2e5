//! What a receiving thread counts, and the sum over all threads.

use std::sync::atomic::AtomicU64;

use meter::counter::Counter;

use crate::errors::{ErrorCounters, ErrorTotals};

/// What a worker has seen so far; the conductor reads along.
#[derive(Debug, Default)]
pub struct Counters {
    pub delivered: Counter,
    pub bytes: Counter,
    /// Numbers skipped when a higher one came.
    pub skipped: Counter,
    /// Skipped numbers that came after all.
    pub found: Counter,
    pub reordered: Counter,
    pub duplicated: Counter,
    pub unnumbered: Counter,
    pub foreign: Counter,
    /// Datagrams of flows that the table has no room for.
    pub untracked: Counter,
    pub calls: Counter,
    /// Drops at the socket, as SO_RXQ_OVFL and at last SO_MEMINFO tell them.
    pub dropped: Counter,
    pub errors: ErrorCounters,
    /// When the latest datagram came, CLOCK_MONOTONIC in nanoseconds; 0 for never.
    pub latest_ns: AtomicU64,
}

/// The counters of all workers, added up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub delivered: u64,
    pub bytes: u64,
    pub skipped: u64,
    pub found: u64,
    pub reordered: u64,
    pub duplicated: u64,
    pub unnumbered: u64,
    pub foreign: u64,
    pub untracked: u64,
    pub calls: u64,
    pub dropped: u64,
    pub errors: ErrorTotals,
}

impl Totals {
    /// The sum over `counters`.
    pub fn of<'a>(counters: impl IntoIterator<Item = &'a Counters>) -> Self {
        let mut totals = Self::default();
        for worker in counters {
            totals.delivered += worker.delivered.value();
            totals.bytes += worker.bytes.value();
            totals.skipped = totals.skipped.saturating_add(worker.skipped.value());
            totals.found = totals.found.saturating_add(worker.found.value());
            totals.reordered += worker.reordered.value();
            totals.duplicated += worker.duplicated.value();
            totals.unnumbered += worker.unnumbered.value();
            totals.foreign += worker.foreign.value();
            totals.untracked += worker.untracked.value();
            totals.calls += worker.calls.value();
            totals.dropped += worker.dropped.value();
            totals.errors.add(&worker.errors);
        }
        totals
    }

    /// What came since `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            delivered: self.delivered - before.delivered,
            bytes: self.bytes - before.bytes,
            skipped: self.skipped.saturating_sub(before.skipped),
            found: self.found.saturating_sub(before.found),
            reordered: self.reordered - before.reordered,
            duplicated: self.duplicated - before.duplicated,
            unnumbered: self.unnumbered - before.unnumbered,
            foreign: self.foreign - before.foreign,
            untracked: self.untracked - before.untracked,
            calls: self.calls - before.calls,
            dropped: self.dropped - before.dropped,
            errors: self.errors.since(&before.errors),
        }
    }

    /// Numbers that are missing, less those that came late after all. Whoever makes up numbers can make
    /// any number of them missing: the sum saturates.
    pub fn lost(&self) -> i64 {
        i64::try_from(self.skipped).unwrap_or(i64::MAX).saturating_sub_unsigned(self.found)
    }
}
