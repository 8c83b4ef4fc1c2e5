//! The conductor's wait: until an interval is over or all workers have ended, without polling.

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread::{self, Thread},
    time::Duration,
};

use meter::{Result, clock};

/// Knows how many workers still work, and wakes the conductor when the last one ends.
pub struct Watch {
    conductor: Thread,
    working: AtomicUsize,
}

impl Watch {
    /// For `workers` of them; call it on the conductor's thread.
    #[must_use]
    pub fn over(workers: usize) -> Self {
        Self { conductor: thread::current(), working: AtomicUsize::new(workers) }
    }

    /// A worker has ended.
    pub fn ended(&self) {
        self.working.fetch_sub(1, SeqCst);
        self.conductor.unpark();
    }

    /// Waits until `deadline_ns` or until all workers have ended.
    pub fn pause_until(&self, deadline_ns: u64) {
        loop {
            let now = clock::now_ns();
            if now >= deadline_ns || self.working.load(SeqCst) == 0 {
                return;
            }
            thread::park_timeout(Duration::from_nanos(deadline_ns - now));
        }
    }

    /// Calls `edge` with begin and end of each interval since `start_ns`, until all workers have
    /// ended; a last interval that was cut short is given as well. Times are of CLOCK_MONOTONIC.
    ///
    /// # Errors
    /// What `edge` returns, at once.
    pub fn intervals(
        &self,
        start_ns: u64,
        interval_ns: Option<u64>,
        mut edge: impl FnMut(u64, u64) -> Result<()>,
    ) -> Result<()> {
        let mut from = start_ns;
        while self.working.load(SeqCst) > 0 {
            let now = clock::now_ns();
            let next = interval_ns.map_or(u64::MAX, |interval| from.saturating_add(interval));
            if now >= next {
                edge(from, next)?;
                from = next;
                continue;
            }
            thread::park_timeout(Duration::from_nanos((next - now).min(clock::SECOND_NS * 3600)));
        }
        let now = clock::now_ns();
        if interval_ns.is_some_and(|interval| now > from + interval / 100) {
            edge(from, now)?;
        }
        Ok(())
    }
}
