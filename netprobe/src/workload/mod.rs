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
    histogram::LatencyHistogram,
    placement::Placement,
    relay::{self, Giver, Taker},
};

use crate::{options::LocalOptions, protocol::order::Order};
use flow::Flow;
use recorder::{Edge, Measured};
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
    /// The intervals, passed by the conductor.
    pub edge: &'a Edge,
}

/// Where each worker gives its histograms to the conductor: service times, and response times in a
/// paced loop.
pub struct Givers(Mutex<Vec<Option<GiverPair>>>);

/// A worker's ends: for service times, and for response times.
type GiverPair = (Giver, Option<Giver>);

/// Where the conductor takes them.
pub struct Takers(Vec<(Taker, Option<Taker>)>);

/// Ways for the histograms of `workers`, with response times where the loop is `paced`.
#[must_use]
pub fn relays(workers: usize, paced: bool) -> (Givers, Takers) {
    let pairs = (0..workers).map(|_| (relay::pair(), paced.then(relay::pair)));
    let (givers, takers) = pairs
        .map(|(service, response)| {
            let (giver, taker) = response.unzip();
            (Some((service.0, giver)), (service.1, taker))
        })
        .unzip();
    (Givers(Mutex::new(givers)), Takers(takers))
}

/// Latencies of transactions.
#[derive(Debug)]
pub struct Latencies {
    /// From the sending of a request to the end of its response.
    pub service: LatencyHistogram,
    /// From its intended time; empty in a closed loop.
    pub response: LatencyHistogram,
}

impl Latencies {
    /// Empty histograms for the conductor's sums; workers have touched ones of their own.
    #[must_use]
    pub fn new() -> Self {
        Self { service: LatencyHistogram::untouched(), response: LatencyHistogram::untouched() }
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.service.merge(&other.service);
        self.response.merge(&other.response);
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.service.reset();
        self.response.reset();
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl Takers {
    /// Adds what the workers gave since the last call to `sum`; says how many gave.
    pub fn collect(&mut self, sum: &mut Latencies) -> usize {
        let collect = |(service, response): &mut (Taker, Option<Taker>)| {
            if let Some(response) = response {
                response.collect(&mut sum.response);
            }
            usize::from(service.collect(&mut sum.service))
        };
        self.0.iter_mut().map(collect).sum()
    }
}

/// What became of one worker.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Why it ended early, if it did.
    pub error: Option<io::Error>,
    /// Service times that it has not given away, where it asked.
    pub service: Option<Box<LatencyHistogram>>,
    /// Response times that it has not given away, where it kept them.
    pub response: Option<Box<LatencyHistogram>>,
    /// Requests that were due in the measured time and had no response when it was over.
    pub unanswered: u64,
}

/// Lets the threads work until the stop is raised, while `conduct` leads.
///
/// # Errors
/// When a thread could not be placed or prepared, or the conductor failed.
pub fn run<C>(
    work: &Work<'_>,
    givers: &Givers,
    conduct: impl FnOnce(&Gate) -> Result<C>,
) -> Result<(Vec<Outcome>, C)> {
    crew::run(
        work.placements,
        |worker| {
            let flows: Vec<&Flow> = work.flows.iter().skip(worker.index).step_by(worker.of).collect();
            let mut givers = givers.0.lock().unwrap_or_else(PoisonError::into_inner);
            let giver = givers.get_mut(worker.index).and_then(Option::take);
            drop(givers);
            Task::prepare(work, &flows, worker, giver)
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
