//! What a worker publishes while it runs, for the conductor to read without disturbing it.

use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use meter::counter::Counter;

use crate::sys;

/// One worker's account. The worker alone writes it.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Operations done in the measured time.
    pub operations: Counter,
    /// Operations done before, in the warm-up.
    pub warmup_operations: Counter,
    /// The worker's CPU clock; 0 until it has begun.
    cpu_clock: AtomicI32,
    /// That of a second thread that works for it; 0 where there is none.
    helper_clock: AtomicI32,
    /// Its CPU time when the measured time began.
    cpu_begin_ns: AtomicU64,
    measures: AtomicBool,
    /// Its CPU time when it ended.
    final_cpu_ns: AtomicU64,
    ended: AtomicBool,
}

impl Ledger {
    /// The calling thread becomes the one whose CPU time is read, together with its helper's.
    pub fn open(&self, helper_clock: Option<libc::clockid_t>) {
        self.helper_clock.store(helper_clock.unwrap_or(0), Relaxed);
        self.cpu_clock.store(sys::own_cpu_clock(), Relaxed);
    }

    /// The measured time begins, after that much CPU time.
    pub fn begin(&self, cpu_ns: u64) {
        self.cpu_begin_ns.store(cpu_ns, Relaxed);
        self.measures.store(true, Release);
    }

    /// The worker has ended after that much CPU time: nothing of it changes any more.
    pub fn close(&self, cpu_ns: u64) {
        self.final_cpu_ns.store(cpu_ns, Relaxed);
        self.ended.store(true, Release);
    }

    /// Whether the worker has ended.
    fn has_ended(&self) -> bool {
        self.ended.load(Acquire)
    }

    /// CPU time of the worker in the measured time so far, in nanoseconds; `None` before that began for it.
    pub fn measured_cpu_ns(&self) -> Option<u64> {
        let begin_ns = self.measures.load(Acquire).then(|| self.cpu_begin_ns.load(Relaxed))?;
        self.cpu_ns().map(|cpu_ns| cpu_ns.saturating_sub(begin_ns))
    }

    /// CPU time of the worker so far, in nanoseconds; `None` before it began.
    fn cpu_ns(&self) -> Option<u64> {
        let at_its_end = || self.has_ended().then(|| self.final_cpu_ns.load(Relaxed));
        // Its thread may go while its clock is read; then it has ended by now.
        at_its_end().or_else(|| self.running_cpu_ns()).or_else(at_its_end)
    }

    fn running_cpu_ns(&self) -> Option<u64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_time_of_a_worker_stays_known_when_its_thread_is_gone() {
        let ledger = Ledger::default();
        assert_eq!(ledger.cpu_ns(), None);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                ledger.open(None);
                assert!(ledger.cpu_ns().is_some());
                assert_eq!(ledger.measured_cpu_ns(), None, "a warm-up");
                ledger.begin(70);
                ledger.close(77);
            });
        });
        assert_eq!((ledger.cpu_ns(), ledger.measured_cpu_ns()), (Some(77), Some(7)));
    }
}
