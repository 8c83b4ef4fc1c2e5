//! Who still works: the conductor sleeps until an edge or the last worker's end, without polling.

use std::{
    sync::atomic::{
        AtomicU64, AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
    thread::{self, Thread},
    time::Duration,
};

use crate::{clock, control::Stop};

/// Counts the workers that still work, and wakes the conductor when the last one ends.
#[derive(Debug)]
pub struct Watch {
    conductor: Thread,
    working: AtomicUsize,
    last_end_ns: AtomicU64,
    stop: Stop,
}

impl Watch {
    /// For `workers` of them; call it on the conductor's thread. A worker that panics raises `stop`.
    #[must_use]
    pub fn over(workers: usize, stop: Stop) -> Self {
        let (working, last_end_ns) = (AtomicUsize::new(workers), AtomicU64::new(0));
        Self { conductor: thread::current(), working, last_end_ns, stop }
    }

    /// To be held by each worker while it works.
    #[must_use]
    pub fn working(&self) -> Working<'_> {
        Working(self)
    }

    /// Sleeps until `deadline_ns` (CLOCK_MONOTONIC) or until all workers have ended; says whether any still works.
    pub fn wait_until(&self, deadline_ns: u64) -> bool {
        while self.working.load(SeqCst) > 0 {
            let now_ns = clock::now_ns();
            if now_ns >= deadline_ns {
                return true;
            }
            thread::park_timeout(Duration::from_nanos((deadline_ns - now_ns).min(3_600 * clock::SECOND_NS)));
        }
        false
    }

    /// When the latest end of a worker was, in nanoseconds of CLOCK_MONOTONIC; `None` before the first one.
    #[must_use]
    pub fn last_end_ns(&self) -> Option<u64> {
        Some(self.last_end_ns.load(Relaxed)).filter(|end_ns| *end_ns > 0)
    }
}

/// A worker that works until this is dropped.
#[derive(Debug)]
pub struct Working<'a>(&'a Watch);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop.raise();
        }
        self.0.last_end_ns.fetch_max(clock::now_ns(), Relaxed);
        if self.0.working.fetch_sub(1, SeqCst) == 1 {
            self.0.conductor.unpark();
        }
    }
}
