//! Counters that one worker writes and another thread may read: no lock, no shared cache line.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that a single thread counts up and any thread reads. It owns its cache lines (two, since
/// processors fetch them in pairs), so that a reader never slows the writer of another counter.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`. Only the one thread that owns the counter may call it: it is a plain load and
    /// store, not an atomic addition.
    #[inline]
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// The count so far.
    #[must_use]
    #[inline]
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Remembers what was read, to give the growth since the last look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Growth(u64);

impl Growth {
    /// How much `total` has grown since the last call; a total that shrank counts from zero again.
    pub fn of(&mut self, total: u64) -> u64 {
        let growth = total.checked_sub(self.0).unwrap_or(total);
        self.0 = total;
        growth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_what_came_since_the_last_look() {
        let counter = Counter::default();
        let mut growth = Growth::default();
        counter.add(5);
        assert_eq!(growth.of(counter.value()), 5);
        counter.add(2);
        assert_eq!(growth.of(counter.value()), 2);
        assert_eq!(growth.of(1), 1, "a counter that restarted is not a huge difference");
    }
}
