//! The measuring loop: fill the free slots, submit, wait, take what has ended.

use std::sync::Arc;

use meter::{
    Result, clock, control::Stop, counter::Counter, histogram::LatencyHistogram, pacer::Schedule,
    wait::Waiter,
};

use crate::{
    blocks::{Block, Blocks},
    data::Filler,
    engine::{Completion, Engine, Fault, Operation, Request, Slot},
};

/// The latencies of one stretch of work, by the names that fio's users know as slat, clat and lat.
#[derive(Clone, Debug)]
pub struct Latencies {
    /// From the moment an operation was ready until the kernel had taken it.
    pub submission: LatencyHistogram,
    /// From then until its end was seen.
    pub completion: LatencyHistogram,
    /// Both together: the service time.
    pub total: LatencyHistogram,
    /// From the intended start to the end, where a rate gives intended starts.
    pub response: Option<LatencyHistogram>,
}

impl Latencies {
    /// Empty histograms, their memory touched; one for response times only where `paced`.
    #[must_use]
    pub fn new(paced: bool) -> Self {
        let histogram = LatencyHistogram::new;
        Self {
            submission: histogram(),
            completion: histogram(),
            total: histogram(),
            response: paced.then(histogram),
        }
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.submission.merge(&other.submission);
        self.completion.merge(&other.completion);
        self.total.merge(&other.total);
        if let (Some(response), Some(other)) = (&mut self.response, &other.response) {
            response.merge(other);
        }
    }

    /// Forgets everything; the memory stays.
    pub fn reset(&mut self) {
        self.submission.reset();
        self.completion.reset();
        self.total.reset();
        if let Some(response) = &mut self.response {
            response.reset();
        }
    }
}

/// What one worker did in one phase. Only what the kernel confirmed is counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Bytes transferred.
    pub bytes: u64,
    /// Operations done entirely.
    pub operations: u64,
    /// How often only a part was transferred and the rest asked for again.
    pub short_transfers: u64,
    /// Sum of the total latencies, in nanoseconds: with the elapsed time it gives the depth in flight.
    pub in_flight_ns: u64,
    /// CLOCK_MONOTONIC when it began.
    pub begin_ns: u64,
    /// CLOCK_MONOTONIC when the last completion was seen.
    pub end_ns: u64,
    /// The first operation that failed.
    pub failure: Option<Failure>,
}

impl Tally {
    /// Adds what another worker or run did; the times become the whole stretch.
    pub fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.operations += other.operations;
        self.short_transfers += other.short_transfers;
        self.in_flight_ns += other.in_flight_ns;
        self.begin_ns = self.begin_ns.min(other.begin_ns);
        self.end_ns = self.end_ns.max(other.end_ns);
        self.failure = self.failure.or(other.failure);
    }
}

/// An operation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What had been asked for.
    pub request: Request,
    /// Bytes of it that had been transferred.
    pub bytes: u32,
    /// Why the rest was not.
    pub fault: Fault,
}

/// What a worker shall do in one phase.
#[derive(Clone, Debug)]
pub struct Work {
    /// Direction.
    pub operation: Operation,
    /// The blocks, in order.
    pub blocks: Blocks,
    /// When to start nothing more, as CLOCK_MONOTONIC; `u64::MAX` for when all blocks are done.
    pub until_ns: u64,
    /// Intended starts; `None` for as fast as it goes.
    pub schedule: Option<Schedule>,
    /// Operations that shall have ended before new ones begin.
    pub batch: u32,
}

impl Work {
    /// The intended start of the next operation, as CLOCK_MONOTONIC, where a rate gives one.
    #[inline]
    fn next_due_ns(&self, begin_ns: u64) -> Option<u64> {
        self.schedule.as_ref().map(|schedule| begin_ns.saturating_add(schedule.peek()))
    }
}

/// Longest time in the kernel before the stop flag is looked at again.
const LONGEST_WAIT_NS: u64 = 20_000_000;

/// Live counts for whoever looks on.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes transferred since the worker exists.
    pub bytes: Counter,
    /// Operations done since the worker exists.
    pub operations: Counter,
}

/// The times of the operation in a slot, as CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    intended_ns: u64,
    started_ns: u64,
    submitted_ns: u64,
}

/// An engine with everything that its loop needs, allocated before the first operation.
pub struct Worker<E> {
    engine: E,
    filler: Filler,
    waiter: Waiter,
    stop: Stop,
    progress: Arc<Progress>,
    times: Box<[Times]>,
    free: Vec<Slot>,
    fresh: Vec<Slot>,
    completions: Vec<Completion>,
}

impl<E: Engine> Worker<E> {
    /// A worker on `engine`; its blocks are filled by `filler` now.
    pub fn new(mut engine: E, filler: Filler, waiter: Waiter, stop: Stop, progress: Arc<Progress>) -> Self {
        let slots = engine.slots();
        for slot in (0..slots).map(Slot) {
            filler.prepare(engine.block_mut(slot), u64::from(slot.0));
        }
        Self {
            engine,
            filler,
            waiter,
            stop,
            progress,
            times: vec![Times::default(); usize::from(slots)].into_boxed_slice(),
            free: (0..slots).rev().map(Slot).collect(),
            fresh: Vec::with_capacity(usize::from(slots)),
            completions: Vec::with_capacity(usize::from(slots)),
        }
    }

    /// Does `work`, recording into `latencies`. Ends when it is done, when the time is up, when the
    /// stop flag is raised, or at the first failure, and in any case only after everything in flight
    /// has ended.
    ///
    /// # Errors
    /// When the engine itself fails, not when an operation does.
    pub fn perform(&mut self, work: &mut Work, latencies: &mut Latencies) -> Result<Tally> {
        let begin_ns = clock::now_ns();
        let mut tally = Tally { begin_ns, end_ns: begin_ns, ..Tally::default() };
        let mut open = !self.stop.is_raised();
        loop {
            open = open && self.fill(work, begin_ns);
            if self.in_flight() == 0 {
                let Some(due_ns) = work.next_due_ns(begin_ns).filter(|_| open) else { break };
                open = self.waiter.until(due_ns.min(work.until_ns), &self.stop) < work.until_ns;
            } else {
                self.submit(latencies)?;
                self.wait(work, begin_ns, open)?;
                self.take(latencies, &mut tally);
                open = open && tally.end_ns < work.until_ns && tally.failure.is_none();
            }
            open = open && !self.stop.is_raised();
        }
        Ok(tally)
    }

    fn in_flight(&self) -> u32 {
        (self.times.len() - self.free.len()) as u32
    }

    /// Queues operations on the free slots, as far as they are due; says whether more will follow.
    #[inline]
    fn fill(&mut self, work: &mut Work, begin_ns: u64) -> bool {
        let mut now = clock::now_ns();
        while let Some(&slot) = self.free.last() {
            let intended_ns = work.next_due_ns(begin_ns);
            if intended_ns.is_some_and(|due| due > now) {
                break;
            }
            let Some(Block { offset, length }) = work.blocks.next() else { return false };
            work.schedule.as_mut().map(Schedule::take);
            self.free.pop();
            if work.operation == Operation::Write && self.filler.refill {
                self.filler.refill(&mut self.engine.block_mut(slot)[..length as usize], offset);
                now = clock::now_ns();
            }
            self.times[usize::from(slot.0)] =
                Times { intended_ns: intended_ns.unwrap_or(now), started_ns: now, submitted_ns: now };
            self.engine.queue(slot, Request { operation: work.operation, offset, length });
            self.fresh.push(slot);
        }
        true
    }

    /// Hands what is queued to the kernel and notes when that was done.
    #[inline]
    fn submit(&mut self, latencies: &mut Latencies) -> Result<()> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        self.engine.submit()?;
        let now = clock::now_ns();
        for slot in self.fresh.drain(..) {
            let times = &mut self.times[usize::from(slot.0)];
            times.submitted_ns = now;
            latencies.submission.record(now - times.started_ns);
        }
        Ok(())
    }

    /// Waits for a batch of completions, or until the next operation is due on a free slot.
    #[inline]
    fn wait(&mut self, work: &Work, begin_ns: u64, open: bool) -> Result<()> {
        let due_ns = work.next_due_ns(begin_ns).filter(|_| open && !self.free.is_empty());
        let Some(due_ns) = due_ns else {
            return self.engine.wait(work.batch.min(self.in_flight()), None);
        };
        match due_ns.saturating_sub(clock::now_ns()).checked_sub(self.waiter.margin_ns) {
            Some(ns @ 1..) => self.engine.wait(1, Some(ns.min(LONGEST_WAIT_NS))),
            _ => self.engine.wait(0, None),
        }
    }

    /// Counts what has ended and frees its slots.
    #[inline]
    fn take(&mut self, latencies: &mut Latencies, tally: &mut Tally) {
        self.engine.reap(&mut self.completions);
        if self.completions.is_empty() {
            return;
        }
        let now = clock::now_ns();
        let (mut bytes, mut operations) = (0, 0);
        for completion in self.completions.drain(..) {
            let Completion { slot, request, fault, .. } = completion;
            self.free.push(slot);
            bytes += u64::from(completion.bytes);
            tally.short_transfers += u64::from(completion.short_transfers);
            if let Some(fault) = fault {
                tally.failure.get_or_insert(Failure { request, bytes: completion.bytes, fault });
                continue;
            }
            operations += 1;
            let times = self.times[usize::from(slot.0)];
            let total_ns = now - times.started_ns;
            tally.in_flight_ns += total_ns;
            latencies.completion.record(now - times.submitted_ns);
            latencies.total.record(total_ns);
            if let Some(response) = &mut latencies.response {
                response.record(now - times.intended_ns);
            }
        }
        tally.bytes += bytes;
        tally.operations += operations;
        tally.end_ns = now;
        self.progress.bytes.add(bytes);
        self.progress.operations.add(operations);
    }
}
