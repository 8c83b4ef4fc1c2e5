//! Pinned workers behind one start barrier.
//!
//! Each worker allocates, faults in and pins in `setup`; when all are ready the conductor — the
//! calling thread — opens the gate at one common time and then does the slow things (intervals,
//! records) while `work` runs without locks or allocation.
//!
//! A worker that panics ends the run with an error that names it, wherever it panics: in set-up the others
//! are sent away before they begin, in its work they end as their own limits say (the measurement
//! [`runtime`](crate::runtime) raises the stop flag for them). That holds where panics unwind (debug and test
//! builds); release builds abort, and the process ends with a signal.

use std::{
    any::Any,
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

    /// A worker panicked before it arrived: it counts as one that failed, so that nobody waits for it.
    fn arrive_panicked(&self, index: usize) {
        let mut shared = self.lock();
        shared.arrived += 1;
        if shared.failure.is_none() {
            shared.failure = Some(Error::failed(format!("worker {index} panicked while it was set up")));
        }
        drop(shared);
        self.changed.notify_all();
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

/// Reports a worker that unwinds out of its set-up.
struct Arrival<'a> {
    gate: &'a Gate,
    index: usize,
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.gate.arrive_panicked(self.index);
        }
    }
}

/// Runs one worker per placement and gives their results in order, with the conductor's.
///
/// `setup` runs on the worker's own thread, already pinned; `work` gets what `setup` made and the
/// common start time; `conduct` runs on the calling thread once all are ready, opens the [`Gate`],
/// and returns when it has nothing more to do. The call returns when all workers have ended.
///
/// # Errors
/// The first error of a pin, a `setup` or the conductor, or that a worker panicked (its own message is on
/// standard error). When the conductor returns without opening the gate nobody works, and the list of
/// results is empty.
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
            let body = move || {
                let arrival = Arrival { gate, index };
                let prepared = placement.apply().and_then(|()| setup(worker));
                std::mem::forget(arrival);
                match prepared {
                    Ok(state) => gate.arrive(None).map(|start_ns| work(state, start_ns)),
                    Err(error) => {
                        gate.arrive(Some(error));
                        None
                    }
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
        let mut results = Vec::with_capacity(workers.len());
        let mut panicked = None;
        for (index, worker) in workers.into_iter().enumerate() {
            match worker.join() {
                Ok(result) => results.extend(result),
                Err(panic) => panicked = panicked.or_else(|| Some(panic_error(index, &*panic))),
            }
        }
        let conducted = conducted?;
        panicked.map_or(Ok((results, conducted)), Err)
    })
}

fn panic_error(index: usize, panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    Error::failed(format!("worker {index} panicked: {text}"))
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
    fn a_worker_that_panics_in_its_set_up_ends_the_run_with_an_error() {
        let (others, result) =
            (
                std::sync::atomic::AtomicUsize::new(0),
                |index| {
                    if index == 1 { panic!("a defect") } else { Ok(()) }
                },
            );
        let error = run(
            &[Placement::default(); 3],
            |worker| result(worker.index),
            |(), _| {
                others.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            },
            |gate| {
                gate.open(0);
                Ok(())
            },
        )
        .unwrap_err();
        assert!(error.to_string().contains("worker 1 panicked"), "{error}");
        assert_eq!(others.into_inner(), 0, "nobody begins");
    }

    #[test]
    fn a_worker_that_panics_in_its_work_ends_the_run_with_an_error() {
        let error = run(
            &[Placement::default(); 2],
            |worker| Ok(worker.index),
            |index, _| assert_ne!(index, 0, "a defect"),
            |gate| {
                gate.open(0);
                Ok(())
            },
        )
        .unwrap_err();
        assert!(error.to_string().contains("worker 0 panicked") && error.to_string().contains("a defect"));
    }

    #[test]
    fn a_conductor_that_leaves_cancels_the_work() {
        let (results, ()) =
            run(&[Placement::default(); 2], |_| Ok(()), |(), _| panic!("worked"), |_| Ok(())).unwrap();
        assert!(results.is_empty());
    }
}
