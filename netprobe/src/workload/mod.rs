//! The work itself: loops that move payload, alike at both ends.
//!
//! A thread with one flow gets the shortest loop there is for it, blocking or spinning; a thread with
//! several, or with several requests under way, asks the kernel which are ready.

pub mod answer;
pub mod ask;
pub mod connections;
pub mod flow;
pub mod in_flight;
pub mod pipeline;
pub mod recorder;
pub mod stream;
mod task;
pub mod transfer;
pub mod trouble;
pub mod waiting;
pub mod window;

use std::{
    io,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use meter::{
    Error, Result,
    control::Stop,
    crew::{self, Gate},
    placement::Placement,
};

use crate::{options::LocalOptions, protocol::order::Order};
use flow::Flow;
use recorder::{Measured, Recorder};

pub use recorder::Latencies;
use task::Task;

/// What the threads of one end share.
pub struct Work<'a> {
    /// What is measured.
    pub order: &'a Order,
    /// The flows; thread number t of n works on flow t, t + n, …
    pub flows: &'a [Flow],
    /// Where the threads run, one each.
    pub placements: &'a [Placement],
    /// The other end.
    pub peer: IpAddr,
    /// Options of this end alone, for connections made on the way.
    pub local: &'a LocalOptions,
    /// Ends the work; raised by the conductor.
    pub stop: &'a Stop,
    /// Raised by a worker that ended before `stop` was.
    pub early: &'a Stop,
}

/// The recorders of the workers, taken by each at its set-up; none at an end that only answers.
pub struct Recorders(Mutex<Vec<Option<Recorder>>>);

impl Recorders {
    /// One for each worker that asks.
    #[must_use]
    pub fn new(recorders: Vec<Recorder>) -> Self {
        Self(Mutex::new(recorders.into_iter().map(Some).collect()))
    }
}

/// What became of one worker.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Why it ended early, if it did.
    pub error: Option<io::Error>,
    /// Latencies that it has not handed over, where it asked.
    pub latencies: Option<Box<Latencies>>,
    /// Requests that were due in the measured time and had no response when it was over.
    pub unanswered: u64,
}

/// Lets the threads work until the stop is raised, while `conduct` leads.
///
/// # Errors
/// When a thread could not be placed or prepared, or the conductor failed.
pub fn run<C>(
    work: &Work<'_>,
    recorders: &Recorders,
    conduct: impl FnOnce(&Gate) -> Result<C>,
) -> Result<(Vec<Outcome>, C)> {
    crew::run(
        work.placements,
        |worker| {
            let flows: Vec<&Flow> = work.flows.iter().skip(worker.index).step_by(worker.of).collect();
            let mut recorders = recorders.0.lock().unwrap_or_else(PoisonError::into_inner);
            let recorder = recorders.get_mut(worker.index).and_then(Option::take);
            drop(recorders);
            Task::prepare(work, &flows, worker, recorder)
        },
        |task, start_ns| {
            let from_ns = start_ns.saturating_add(work.order.warmup_ns);
            let measured = Measured { from_ns, until_ns: from_ns.saturating_add(work.order.duration_ns) };
            let mut outcome = task.work(work, start_ns, measured);
            // What breaks after the stop was raised broke because of it.
            outcome.error = outcome.error.filter(|_| !work.stop.is_raised());
            if outcome.error.is_some() {
                work.early.raise();
            }
            outcome
        },
        conduct,
    )
}

/// Where the threads of an end run: `pinned` ones as listed, at most one per flow; else `threads` of them,
/// by default one per flow.
#[must_use]
pub fn placements(pinned: &[Placement], threads: Option<u32>, flows: u32) -> Vec<Placement> {
    let flows = flows as usize;
    if pinned.iter().any(|placement| placement.cpu.is_some()) {
        return pinned.iter().copied().take(flows).collect();
    }
    let free = pinned.first().copied().unwrap_or_default();
    vec![free; threads.map_or(flows, |threads| threads as usize).clamp(1, flows.max(1))]
}

/// The first error among `outcomes`, as one of a thread that worked with `peer`.
///
/// # Errors
/// That error.
pub fn first_error(outcomes: &mut [Outcome], peer: &str) -> Result<()> {
    match outcomes.iter_mut().find_map(|outcome| outcome.error.take()) {
        None => Ok(()),
        Some(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(Error::failed(format!("{peer} closed a flow before the end")))
        }
        Some(error) => Err(Error::system(format!("a flow with {peer} broke"), error)),
    }
}
