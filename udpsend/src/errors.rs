//! Errors of sending and receiving, counted by kind and never as something sent.

use std::{collections::BTreeMap, io};

use meter::counter::Counter;

/// Error numbers with a counter of their own; the last stands for all others.
const KINDS: [(i32, &str); 13] = [
    (libc::EAGAIN, "EAGAIN"),
    (libc::ENOBUFS, "ENOBUFS"),
    (libc::ECONNREFUSED, "ECONNREFUSED"),
    (libc::EMSGSIZE, "EMSGSIZE"),
    (libc::EPERM, "EPERM"),
    (libc::ENETUNREACH, "ENETUNREACH"),
    (libc::EHOSTUNREACH, "EHOSTUNREACH"),
    (libc::ENETDOWN, "ENETDOWN"),
    (libc::EINVAL, "EINVAL"),
    (libc::EIO, "EIO"),
    (libc::ENOMEM, "ENOMEM"),
    (libc::EBUSY, "EBUSY"),
    (0, "other"),
];

/// How often each kind of error occurred, by the name of its number (errno(3)).
pub type ErrorCounts = BTreeMap<&'static str, u64>;

/// One worker's counters.
#[derive(Debug, Default)]
pub struct ErrorCounters([Counter; KINDS.len()]);

impl ErrorCounters {
    /// Counts an error that occurred so many times.
    pub fn count(&self, error: &io::Error, times: u64) {
        let number = error.raw_os_error().unwrap_or(0);
        let kind = KINDS.iter().position(|(known, _)| *known == number).unwrap_or(KINDS.len() - 1);
        self.0[kind].add(times);
    }

    /// The counts, in the order of the kinds.
    pub fn values(&self) -> [u64; KINDS.len()] {
        std::array::from_fn(|kind| self.0[kind].value())
    }
}

/// Counts of all kinds together, as plain numbers that can be added and subtracted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorTotals([u64; KINDS.len()]);

impl ErrorTotals {
    /// Adds one worker's counts.
    pub fn add(&mut self, counters: &ErrorCounters) {
        for (total, value) in self.0.iter_mut().zip(counters.values()) {
            *total += value;
        }
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        for (total, value) in self.0.iter_mut().zip(other.0) {
            *total += value;
        }
    }

    /// What came since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self(std::array::from_fn(|kind| self.0[kind].saturating_sub(before.0[kind])))
    }

    /// Errors of all kinds.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The kinds that occurred, by name.
    #[must_use]
    pub fn by_kind(&self) -> ErrorCounts {
        KINDS
            .iter()
            .zip(self.0)
            .filter(|(_, count)| *count > 0)
            .map(|((_, name), count)| (*name, count))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart_by_kind() {
        let counters = ErrorCounters::default();
        for number in [libc::ENOBUFS, libc::ENOBUFS, libc::ECONNREFUSED, libc::ENOTCONN] {
            counters.count(&io::Error::from_raw_os_error(number), 1);
        }
        let mut totals = ErrorTotals::default();
        totals.add(&counters);
        let expected = ErrorCounts::from([("ENOBUFS", 2), ("ECONNREFUSED", 1), ("other", 1)]);
        assert_eq!(totals.by_kind(), expected);
        assert_eq!(totals.since(&totals).total(), 0);
    }
}
