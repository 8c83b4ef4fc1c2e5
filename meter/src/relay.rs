//! Hands what a worker recorded to the conductor at each interval edge: no lock, no allocation.
//!
//! Two recordings circulate. The worker records into its own; at an edge it exchanges the full one for the
//! empty one that lies between them, if the conductor has put one there. If not, nothing is lost: the worker
//! goes on recording and the next exchange brings both intervals.
//!
//! The tests at the end run under Miri as well (`.ci/miri` where it is installed).
#![allow(unsafe_code)] // The cell is shared by two threads under the protocol of `state`.

use std::{
    cell::UnsafeCell,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU8,
            Ordering::{Acquire, Release},
        },
    },
};

use crate::histogram::LatencyHistogram;

/// What a worker records between two edges: a histogram, several, or histograms with the counts that
/// belong to them.
pub trait Recording: Send {
    /// Adds all of `other`.
    fn merge(&mut self, other: &Self);

    /// Forgets everything; the memory stays, because a worker calls it in its measured loop.
    fn reset(&mut self);

    /// Its histograms in a fixed order, for the histogram log; those that can be absent come last.
    fn histograms(&self) -> Vec<&LatencyHistogram>;
}

impl Recording for LatencyHistogram {
    fn merge(&mut self, other: &Self) {
        Self::merge(self, other);
    }

    fn reset(&mut self) {
        Self::reset(self);
    }

    fn histograms(&self) -> Vec<&LatencyHistogram> {
        vec![self]
    }
}

/// An empty recording lies in the cell: the worker may exchange it.
const EMPTY: u8 = 0;
/// A full one lies in the cell: the conductor may take it.
const FULL: u8 = 1;

#[derive(Debug)]
struct Cell<T> {
    state: AtomicU8,
    /// The worker's end is gone: nothing comes any more.
    closed: AtomicBool,
    recording: UnsafeCell<Box<T>>,
}

// SAFETY: the recording is touched by the giver only while `state` is EMPTY and by the taker only
// while it is FULL; each hands it over with a release store that the other's acquire load sees.
// There is one giver and one taker, neither can be cloned, and their methods need `&mut self`. What is
// handed over goes to another thread, hence `Send`.
unsafe impl<T: Send> Sync for Cell<T> {}

/// The worker's end.
#[derive(Debug)]
pub struct Giver<T = LatencyHistogram>(Arc<Cell<T>>);

/// The conductor's end.
#[derive(Debug)]
pub struct Taker<T = LatencyHistogram>(Arc<Cell<T>>);

/// Two ends with an empty histogram between them.
#[must_use]
pub fn pair() -> (Giver, Taker) {
    pair_with(LatencyHistogram::new())
}

/// Two ends with `empty` between them, its memory touched.
#[must_use]
pub fn pair_with<T: Recording>(empty: T) -> (Giver<T>, Taker<T>) {
    let recording = UnsafeCell::new(Box::new(empty));
    let cell = Arc::new(Cell { state: AtomicU8::new(EMPTY), closed: AtomicBool::new(false), recording });
    (Giver(Arc::clone(&cell)), Taker(cell))
}

impl<T: Recording> Giver<T> {
    /// Gives `active` away and leaves an empty recording in its place, if one is there; says whether
    /// it was.
    #[inline]
    pub fn exchange(&mut self, active: &mut Box<T>) -> bool {
        if self.0.state.load(Acquire) != EMPTY {
            return false;
        }
        // SAFETY: the state is EMPTY, so the recording is the giver's until it stores FULL.
        std::mem::swap(active, unsafe { &mut *self.0.recording.get() });
        self.0.state.store(FULL, Release);
        true
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        self.0.closed.store(true, Release);
    }
}

impl<T: Recording> Taker<T> {
    /// Adds what the worker gave to `sum` and leaves an empty recording; says whether there was one.
    pub fn collect(&mut self, sum: &mut T) -> bool {
        self.take(|given| sum.merge(given))
    }

    /// Shows `visit` what the worker gave and leaves an empty recording; says whether there was one.
    pub fn take(&mut self, visit: impl FnOnce(&T)) -> bool {
        if self.0.state.load(Acquire) != FULL {
            return false;
        }
        // SAFETY: the state is FULL, so the recording is the taker's until it stores EMPTY.
        let full = unsafe { &mut *self.0.recording.get() };
        visit(full);
        full.reset();
        self.0.state.store(EMPTY, Release);
        true
    }

    /// Whether something may still come before the next edge: nothing lies here, and the worker is there.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.0.state.load(Acquire) == EMPTY && !self.0.closed.load(Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small enough for Miri, which runs a few thousand times slower.
    #[derive(Debug, Default)]
    struct Sum(Vec<u64>);

    impl Recording for Sum {
        fn merge(&mut self, other: &Self) {
            self.0.extend(&other.0);
        }

        fn reset(&mut self) {
            self.0.clear();
        }

        fn histograms(&self) -> Vec<&LatencyHistogram> {
            Vec::new()
        }
    }

    #[test]
    fn each_value_arrives_once_and_in_order() {
        let values: u64 = if cfg!(miri) { 300 } else { 200_000 };
        let (mut giver, mut taker) = pair_with(Sum::default());
        let mut sum = Sum::default();
        std::thread::scope(|scope| {
            let worker = scope.spawn(move || {
                let mut active = Box::new(Sum::default());
                for value in 0..values {
                    active.0.push(value);
                    if value % 7 == 0 {
                        giver.exchange(&mut active);
                    }
                }
                active
            });
            while !worker.is_finished() {
                taker.collect(&mut sum);
                std::hint::spin_loop();
            }
            // Only a join makes all that the worker did visible here; `is_finished` does not.
            let rest = worker.join().unwrap();
            taker.collect(&mut sum);
            sum.merge(&rest);
        });
        assert_eq!(sum.0, (0..values).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_cell_is_kept_until_it_is_taken() {
        let (mut giver, mut taker) = pair_with(Sum::default());
        let mut active = Box::new(Sum(vec![1]));
        assert!(taker.is_waiting());
        assert!(giver.exchange(&mut active));
        assert!(!taker.is_waiting());
        active.0.push(2);
        assert!(!giver.exchange(&mut active), "the conductor has not taken the first");
        let mut sum = Sum::default();
        assert!(taker.collect(&mut sum) && !taker.collect(&mut sum));
        active.0.push(3);
        assert!(giver.exchange(&mut active));
        taker.collect(&mut sum);
        assert_eq!(sum.0, [1, 2, 3]);
        drop(giver);
        assert!(!taker.is_waiting(), "a worker that is gone gives nothing more");
    }

    #[test]
    fn a_recording_that_nobody_took_is_freed_with_both_ends() {
        let (mut giver, taker) = pair_with(Sum::default());
        giver.exchange(&mut Box::new(Sum(vec![1; 100])));
        drop(taker);
        drop(giver);
    }

    #[test]
    #[cfg_attr(miri, ignore = "histograms of 270 kB are slow to touch")]
    fn histograms_lose_nothing_between_two_threads() {
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
            // Only a join makes all that the worker did visible here; `is_finished` does not.
            let rest = worker.join().unwrap();
            taker.collect(&mut sum);
            sum.merge(&rest);
        });
        assert_eq!(sum.count(), RECORDS);
    }
}
