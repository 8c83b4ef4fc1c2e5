//! Hands a worker's histogram to the conductor at each interval edge: no lock, no allocation.
//!
//! Two histograms circulate. The worker records into its own; at an edge it exchanges the full one
//! for the empty one that lies between them, if the conductor has put one there. If not, nothing
//! is lost: the worker goes on recording and the next exchange brings both intervals.
#![allow(unsafe_code)] // The cell is shared by two threads under the protocol of `state`.

use std::{
    cell::UnsafeCell,
    sync::{
        Arc,
        atomic::{
            AtomicU8,
            Ordering::{Acquire, Release},
        },
    },
};

use crate::histogram::LatencyHistogram;

/// An empty histogram lies in the cell: the worker may exchange it.
const EMPTY: u8 = 0;
/// A full one lies in the cell: the conductor may take it.
const FULL: u8 = 1;

#[derive(Debug)]
struct Cell {
    state: AtomicU8,
    histogram: UnsafeCell<Box<LatencyHistogram>>,
}

// SAFETY: the histogram is touched by the giver only while `state` is EMPTY and by the taker only
// while it is FULL; each hands it over with a release store that the other's acquire load sees.
// There is one giver and one taker, neither can be cloned, and their methods need `&mut self`.
unsafe impl Sync for Cell {}

/// The worker's end.
#[derive(Debug)]
pub struct Giver(Arc<Cell>);

/// The conductor's end.
#[derive(Debug)]
pub struct Taker(Arc<Cell>);

/// Two ends with an empty histogram between them.
#[must_use]
pub fn pair() -> (Giver, Taker) {
    let histogram = UnsafeCell::new(Box::new(LatencyHistogram::new()));
    let cell = Arc::new(Cell { state: AtomicU8::new(EMPTY), histogram });
    (Giver(Arc::clone(&cell)), Taker(cell))
}

impl Giver {
    /// Gives `active` away and leaves an empty histogram in its place, if one is there; says whether
    /// it was.
    #[inline]
    pub fn exchange(&mut self, active: &mut Box<LatencyHistogram>) -> bool {
        if self.0.state.load(Acquire) != EMPTY {
            return false;
        }
        // SAFETY: the state is EMPTY, so the histogram is the giver's until it stores FULL.
        std::mem::swap(active, unsafe { &mut *self.0.histogram.get() });
        self.0.state.store(FULL, Release);
        true
    }
}

impl Taker {
    /// Adds what the worker gave to `sum` and leaves an empty histogram; says whether there was one.
    pub fn collect(&mut self, sum: &mut LatencyHistogram) -> bool {
        if self.0.state.load(Acquire) != FULL {
            return false;
        }
        // SAFETY: the state is FULL, so the histogram is the taker's until it stores EMPTY.
        let full = unsafe { &mut *self.0.histogram.get() };
        sum.merge(full);
        full.reset();
        self.0.state.store(EMPTY, Release);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_recorded_is_lost_between_two_threads() {
        const RECORDS: u64 = 200_000;
        let (mut giver, mut taker) = pair();
        let mut sum = LatencyHistogram::new();
        std::thread::scope(|scope| {
            let worker = scope.spawn(move || {
                let mut active = Box::new(LatencyHistogram::new());
                for value in 1..=RECORDS {
                    active.record(value);
                    if value % 1000 == 0 {
                        giver.exchange(&mut active);
                    }
                }
                active
            });
            while !worker.is_finished() {
                taker.collect(&mut sum);
            }
            taker.collect(&mut sum);
            sum.merge(&worker.join().unwrap());
        });
        assert_eq!(sum.count(), RECORDS);
    }
}
