//! What a worker publishes while it runs, for the conductor to read without disturbing it.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};

use meter::counter::Counter;

use crate::sys;

/// One worker's account. The worker alone writes it.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Operations done since the worker began, warm-up included.
    pub operations: Counter,
    /// The worker's CPU clock; 0 until it has begun and again once it has ended.
    cpu_clock: AtomicI32,
    ended: AtomicBool,
}

impl Ledger {
    /// The calling thread becomes the one whose CPU time is read.
    pub fn open(&self) {
        self.cpu_clock.store(sys::own_cpu_clock(), Relaxed);
    }

    /// The worker has ended: nothing of it changes any more.
    pub fn close(&self) {
        self.ended.store(true, Relaxed);
    }

    /// Whether the worker has ended.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// CPU time of the worker so far, in nanoseconds; `None` before it began and after its thread is gone.
    pub fn cpu_ns(&self) -> Option<u64> {
        match self.cpu_clock.load(Relaxed) {
            0 => None,
            clock => sys::cpu_clock_ns(clock),
        }
    }
}
