//! The conductor's and the workers' common rhythm: one phase after the other, each begun and ended together.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Hands the workers one order after the other and collects what they report.
pub struct Stage<O, R> {
    state: Mutex<State<O, R>>,
    changed: Condvar,
}

struct State<O, R> {
    /// Grows with every order; 0 before the first.
    number: u64,
    /// `None` once there will be no more.
    order: Option<O>,
    closed: bool,
    reports: Vec<R>,
}

impl<O: Clone, R> Default for Stage<O, R> {
    fn default() -> Self {
        let state = State { number: 0, order: None, closed: false, reports: Vec::new() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl<O: Clone, R> Stage<O, R> {
    fn lock(&self) -> MutexGuard<'_, State<O, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives `order` to all workers.
    pub fn give(&self, order: O) {
        let mut state = self.lock();
        state.number += 1;
        state.order = Some(order);
        self.changed.notify_all();
    }

    /// Waits until `workers` reports are there, at most for `timeout`; gives them once they are.
    pub fn collect(&self, workers: usize, timeout: std::time::Duration) -> Option<Vec<R>> {
        let mut state = self.lock();
        if state.reports.len() < workers {
            state = self.changed.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0;
        }
        (state.reports.len() >= workers).then(|| std::mem::take(&mut state.reports))
    }

    /// Sends the workers home.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// A worker waits for the order after number `seen`; `None` when there will be none.
    pub fn next(&self, seen: &mut u64) -> Option<O> {
        let mut state = self.lock();
        while state.number == *seen && !state.closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.number == *seen {
            return None;
        }
        *seen = state.number;
        state.order.clone()
    }

    /// A worker has done its part of the order.
    pub fn report(&self, report: R) {
        self.lock().reports.push(report);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_reach_every_worker_once_and_close_ends_them() {
        let stage = Stage::<u32, u32>::default();
        std::thread::scope(|scope| {
            for worker in 0..3 {
                let stage = &stage;
                scope.spawn(move || {
                    let mut seen = 0;
                    while let Some(order) = stage.next(&mut seen) {
                        stage.report(order * 10 + worker);
                    }
                });
            }
            for order in 1..=4 {
                stage.give(order);
                let mut reports = None;
                while reports.is_none() {
                    reports = stage.collect(3, std::time::Duration::from_millis(100));
                }
                let mut reports = reports.unwrap();
                reports.sort_unstable();
                assert_eq!(reports, [order * 10, order * 10 + 1, order * 10 + 2]);
            }
            stage.close();
        });
    }
}
