//! What a worker publishes while it runs, for the conductor to read without disturbing it.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};

use meter::counter::Counter;

use crate::sys;

/// One worker's account. The worker alone writes it.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Operations done since the worker began, warm-up included.
    pub operations: Counter,
    /// The worker's CPU clock; 0 until it has begun.
    cpu_clock: AtomicI32,
    /// That of a second thread that works for it; 0 where there is none.
    helper_clock: AtomicI32,
    ended: AtomicBool,
}

impl Ledger {
    /// The calling thread becomes the one whose CPU time is read, together with its helper's.
    pub fn open(&self, helper_clock: Option<libc::clockid_t>) {
        self.helper_clock.store(helper_clock.unwrap_or(0), Relaxed);
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
        let own_ns = match self.cpu_clock.load(Relaxed) {
            0 => None,
            clock => sys::cpu_clock_ns(clock),
        }?;
        match self.helper_clock.load(Relaxed) {
            0 => Some(own_ns),
            clock => sys::cpu_clock_ns(clock).map(|helper_ns| own_ns + helper_ns),
        }
    }
}
