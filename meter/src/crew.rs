//! Pinned workers behind one start barrier.
//!
//! Each worker allocates, faults in and pins in `setup`; when all are ready the conductor — the
//! calling thread — opens the gate at one common time and then does the slow things (intervals,
//! records) while `work` runs without locks or allocation.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    thread,
};

use crate::{Error, Result, placement::Placement};

/// What a worker knows of itself.
#[derive(Clone, Copy, Debug)]
pub struct Worker {
    /// Its number, from 0.
    pub index: usize,
    /// How many there are.
    pub of: usize,
    /// Where it was asked to run.
    pub placement: Placement,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open { start_ns: u64 },
    Cancelled,
}

struct Shared {
    state: State,
    arrived: usize,
    failure: Option<Error>,
}

/// The barrier between set-up and work.
pub struct Gate {
    shared: Mutex<Shared>,
    changed: Condvar,
}

impl Gate {
    fn new() -> Self {
        let shared = Shared { state: State::Closed, arrived: 0, failure: None };
        Self { shared: Mutex::new(shared), changed: Condvar::new() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets all workers begin; `start_ns` (CLOCK_MONOTONIC) is the common zero of their schedules and
    /// may lie a little ahead.
    pub fn open(&self, start_ns: u64) {
        self.lock().state = State::Open { start_ns };
        self.changed.notify_all();
    }

    /// A worker reports ready or failed, then waits; gives the start time, or `None` when cancelled.
    fn arrive(&self, failure: Option<Error>) -> Option<u64> {
        let mut shared = self.lock();
        shared.arrived += 1;
        if shared.failure.is_none() {
            shared.failure = failure;
        }
        self.changed.notify_all();
        while shared.state == State::Closed {
            shared = self.changed.wait(shared).unwrap_or_else(PoisonError::into_inner);
        }
        match shared.state {
            State::Open { start_ns } => Some(start_ns),
            State::Closed | State::Cancelled => None,
        }
    }

    /// The conductor waits for all; the first failure ends the whole crew.
    fn wait_for(&self, workers: usize) -> Result<()> {
        let mut shared = self.lock();
        while shared.arrived < workers {
            shared = self.changed.wait(shared).unwrap_or_else(PoisonError::into_inner);
        }
        shared.failure.take().map_or(Ok(()), Err)
    }

    fn cancel_unless_open(&self) {
        let mut shared = self.lock();
        if shared.state == State::Closed {
            shared.state = State::Cancelled;
        }
        drop(shared);
        self.changed.notify_all();
    }
}

/// Runs one worker per placement and gives their results in order, with the conductor's.
///
/// `setup` runs on the worker's own thread, already pinned; `work` gets what `setup` made and the
/// common start time; `conduct` runs on the calling thread once all are ready, opens the [`Gate`],
/// and returns when it has nothing more to do. The call returns when all workers have ended.
///
/// # Errors
/// The first error of a pin, a `setup` or the conductor. When the conductor returns without opening
/// the gate nobody works, and the list of results is empty.
///
/// # Panics
/// When a worker panicked: a defect, passed on.
pub fn run<S, T, C>(
    placements: &[Placement],
    setup: impl Fn(Worker) -> Result<S> + Sync,
    work: impl Fn(S, u64) -> T + Sync,
    conduct: impl FnOnce(&Gate) -> Result<C>,
) -> Result<(Vec<T>, C)>
where
    T: Send,
{
    let gate = Gate::new();
    let (gate, setup, work) = (&gate, &setup, &work);
    thread::scope(|scope| {
        let mut workers = Vec::with_capacity(placements.len());
        let mut spawn_failure = None;
        for (index, &placement) in placements.iter().enumerate() {
            let worker = Worker { index, of: placements.len(), placement };
            let body = move || match placement.apply().and_then(|()| setup(worker)) {
                Ok(state) => gate.arrive(None).map(|start_ns| work(state, start_ns)),
                Err(error) => {
                    gate.arrive(Some(error));
                    None
                }
            };
            match thread::Builder::new().name(format!("worker {index}")).spawn_scoped(scope, body) {
                Ok(handle) => workers.push(handle),
                Err(error) => {
                    spawn_failure = Some(Error::system(format!("start worker {index}"), error));
                    break;
                }
            }
        }
        let conducted = match spawn_failure {
            Some(error) => Err(error),
            None => gate.wait_for(workers.len()).and_then(|()| conduct(gate)),
        };
        gate.cancel_unless_open();
        let results = workers
            .into_iter()
            .filter_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect();
        conducted.map(|conducted| (results, conducted))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock, placement::Policy};

    #[test]
    fn all_workers_start_at_one_time_and_only_after_all_are_ready() {
        let ready = std::sync::atomic::AtomicUsize::new(0);
        let placements = [Placement::default(); 3];
        let (starts, opened) = run(
            &placements,
            |worker| {
                ready.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                Ok(worker.index)
            },
            |index, start_ns| (index, start_ns, ready.load(std::sync::atomic::Ordering::SeqCst)),
            |gate| {
                let start_ns = clock::now_ns();
                gate.open(start_ns);
                Ok(start_ns)
            },
        )
        .unwrap();
        assert_eq!(starts, [(0, opened, 3), (1, opened, 3), (2, opened, 3)]);
    }

    #[test]
    fn one_worker_that_cannot_start_ends_all() {
        let nowhere = Placement { cpu: Some(100_000), policy: Policy::Other };
        let result = run(
            &[Placement::default(), nowhere],
            |_| Ok(()),
            |(), _| (),
            |gate| {
                gate.open(0);
                Ok(())
            },
        );
        assert!(result.unwrap_err().to_string().contains("CPU 100000"));
    }

    #[test]
    fn a_conductor_that_leaves_cancels_the_work() {
        let (results, ()) =
            run(&[Placement::default(); 2], |_| Ok(()), |(), _| panic!("worked"), |_| Ok(())).unwrap();
        assert!(results.is_empty());
    }
}
