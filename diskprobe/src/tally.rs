//! What workers did, in plain numbers, and what failed.

use std::path::Path;

use meter::Error;

use crate::{
    data::Mismatch,
    engine::{Fault, Request},
};

/// What one worker did in one phase. Only what the kernel confirmed is counted.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Bytes transferred.
    pub bytes: u64,
    /// Operations done entirely.
    pub operations: u64,
    /// How often only a part was transferred and the rest asked for again.
    pub short_transfers: u64,
    /// Sum of the total latencies, in nanoseconds: with the elapsed time it gives the depth in flight.
    pub in_flight_ns: u64,
    /// CLOCK_MONOTONIC when it began.
    pub begin_ns: u64,
    /// CLOCK_MONOTONIC when the last completion was seen.
    pub last_ns: u64,
    /// CLOCK_MONOTONIC when it ended: with the last completion or, where a pace has it wait, with its time or a stop.
    pub end_ns: u64,
    /// CLOCK_MONOTONIC when the next operation would have been due, where a pace ran out of blocks; else `end_ns`.
    pub window_end_ns: u64,
    /// The operation that failed at the lowest offset.
    pub failure: Option<Failure>,
    /// Sectors that do not hold what they should, where that is checked.
    pub wrong_sectors: u64,
    /// The first of them.
    pub mismatch: Option<Mismatch>,
    /// Whether something else moved the worker from its CPU.
    pub pin_lost: bool,
}

impl Tally {
    /// Keeps the failure with the lowest offset: completions come in any order.
    pub(crate) fn fail(&mut self, failure: Failure) {
        if self.failure.is_none_or(|first| failure.request.offset < first.request.offset) {
            self.failure = Some(failure);
        }
    }

    /// Adds what another worker or run did; the times become the whole stretch.
    pub fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.operations += other.operations;
        self.short_transfers += other.short_transfers;
        self.in_flight_ns += other.in_flight_ns;
        self.begin_ns = self.begin_ns.min(other.begin_ns);
        self.last_ns = self.last_ns.max(other.last_ns);
        self.end_ns = self.end_ns.max(other.end_ns);
        self.window_end_ns = self.window_end_ns.max(other.window_end_ns);
        if let Some(failure) = other.failure {
            self.fail(failure);
        }
        self.pin_lost |= other.pin_lost;
        self.wrong_sectors += other.wrong_sectors;
        if self.mismatch.is_none() {
            self.mismatch.clone_from(&other.mismatch);
        }
    }
}

/// An operation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What had been asked for.
    pub request: Request,
    /// Bytes of it that had been transferred.
    pub bytes: u32,
    /// Why the rest was not.
    pub fault: Fault,
}

impl Failure {
    /// The error for people: where in `path` it happened, and how many bytes had been done before.
    #[must_use]
    pub fn describe(&self, path: &Path, bytes: u64) -> Error {
        let offset = self.request.offset + u64::from(self.bytes);
        let verb = self.request.operation.verb();
        let what = format!("{verb} {} at offset {offset}, after {bytes} bytes were done", path.display());
        match self.fault {
            Fault::Errno(errno) => Error::failed(what).with_source(std::io::Error::from_raw_os_error(errno)),
            Fault::Refused(errno) => {
                Error::failed(format!("{what}: io_uring took no operation until the end"))
                    .with_source(std::io::Error::from_raw_os_error(errno))
            }
            Fault::EndOfTarget => {
                Error::failed(format!("{what}: the target ends there; did it shrink meanwhile?"))
            }
        }
    }
}

/// What a stretch of work did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Its length, in nanoseconds.
    pub elapsed_ns: u64,
    /// What rates are over, in nanoseconds: its length, and what a pace leaves until the next operation is due.
    pub window_ns: u64,
    /// Bytes transferred.
    pub bytes: u64,
    /// Operations done entirely.
    pub operations: u64,
    /// Partial transfers.
    pub short_transfers: u64,
    /// Sum of all total latencies, in nanoseconds.
    pub in_flight_ns: u64,
}

impl Amount {
    /// What all workers did, from the first one's start to the last one's end.
    #[must_use]
    pub fn of(tally: &Tally) -> Self {
        Self {
            elapsed_ns: tally.end_ns - tally.begin_ns,
            window_ns: tally.window_end_ns - tally.begin_ns,
            bytes: tally.bytes,
            operations: tally.operations,
            short_transfers: tally.short_transfers,
            in_flight_ns: tally.in_flight_ns,
        }
    }

    /// Adds what was done at another time.
    pub fn add(&mut self, other: &Self) {
        self.elapsed_ns += other.elapsed_ns;
        self.window_ns += other.window_ns;
        self.bytes += other.bytes;
        self.operations += other.operations;
        self.short_transfers += other.short_transfers;
        self.in_flight_ns += other.in_flight_ns;
    }

    /// `amount` per second of its window; `None` where no time passed.
    #[must_use]
    pub fn per_second(&self, amount: f64) -> Option<f64> {
        (self.window_ns > 0).then(|| amount / (self.window_ns as f64 / 1e9))
    }
}
