//! What a sending thread counts, and the sum over all threads.

use std::io;

use meter::counter::Counter;

use crate::{
    errors::{ErrorCounters, ErrorTotals},
    method::transmit::Outcome,
};

/// What a worker has done so far; the conductor reads along.
#[derive(Debug, Default)]
pub struct Counters {
    /// Datagrams that the kernel took.
    pub datagrams: Counter,
    /// Bytes of their payloads.
    pub bytes: Counter,
    /// How many of them have no number.
    pub unnumbered: Counter,
    /// System calls made for them.
    pub calls: Counter,
    /// Slots given up.
    pub missed: Counter,
    /// Refused sends.
    pub errors: ErrorCounters,
}

impl Counters {
    /// Counts what became of a batch.
    #[inline]
    pub fn count(&self, outcome: &Outcome) {
        self.calls.add(outcome.calls);
        self.datagrams.add(outcome.sent);
        self.bytes.add(outcome.sent_bytes);
        if outcome.unnumbered > 0 {
            self.unnumbered.add(outcome.unnumbered);
        }
        if let Some(error) = &outcome.error {
            self.errors.count(error, outcome.refused);
        }
    }

    /// Counts a wait for room that was in vain.
    #[cold]
    pub fn count_no_room(&self) {
        self.errors.count(&io::Error::from_raw_os_error(libc::EAGAIN), 1);
    }
}

/// The counters of all workers, added up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Datagrams that the kernel took.
    pub datagrams: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// How many of them have no number.
    pub unnumbered: u64,
    /// System calls made for them.
    pub calls: u64,
    /// Slots given up.
    pub missed: u64,
    /// Refused sends.
    pub errors: ErrorTotals,
}

impl Totals {
    /// The sum over `counters`.
    pub fn of<'a>(counters: impl IntoIterator<Item = &'a Counters>) -> Self {
        let mut totals = Self::default();
        for worker in counters {
            totals.datagrams += worker.datagrams.value();
            totals.bytes += worker.bytes.value();
            totals.unnumbered += worker.unnumbered.value();
            totals.calls += worker.calls.value();
            totals.missed = totals.missed.saturating_add(worker.missed.value());
            totals.errors.add(&worker.errors);
        }
        totals
    }

    /// What came since `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            datagrams: self.datagrams - before.datagrams,
            bytes: self.bytes - before.bytes,
            unnumbered: self.unnumbered - before.unnumbered,
            calls: self.calls - before.calls,
            missed: self.missed.saturating_sub(before.missed),
            errors: self.errors.since(&before.errors),
        }
    }
}
