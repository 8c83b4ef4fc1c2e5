//! The measuring loop: fill the free slots, submit, wait, take what has ended.

use std::path::Path;

use meter::{
    Error, Result, clock, control::Stop, histogram::LatencyHistogram, pacer::Schedule, wait::Waiter,
};

use crate::{
    blocks::{Block, Blocks},
    data::{self, Filler, Mismatch, UniqueSeeds},
    engine::{Completion, Engine, Fault, Gathering, Operation, Request, Slot},
    latencies::Recorder,
};

/// What one worker did in one phase. Only what the kernel confirmed is counted.
#[derive(Clone, Debug, Default)]
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
    /// The operation that failed at the lowest offset.
    pub failure: Option<Failure>,
    /// Sectors that do not hold what they should, where that is checked.
    pub wrong_sectors: u64,
    /// The first of them.
    pub mismatch: Option<Mismatch>,
    /// Whether something else moved the worker from its CPU.
    pub pin_lost: bool,
}

impl Tally {
    /// Keeps the failure with the lowest offset: completions come in any order.
    fn fail(&mut self, failure: Failure) {
        if self.failure.is_none_or(|first| failure.request.offset < first.request.offset) {
            self.failure = Some(failure);
        }
    }

    /// Adds what another worker or run did; the times become the whole stretch.
    pub fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.operations += other.operations;
        self.short_transfers += other.short_transfers;
        self.in_flight_ns += other.in_flight_ns;
        self.begin_ns = self.begin_ns.min(other.begin_ns);
        self.end_ns = self.end_ns.max(other.end_ns);
        if let Some(failure) = other.failure {
            self.fail(failure);
        }
        self.pin_lost |= other.pin_lost;
        self.wrong_sectors += other.wrong_sectors;
        if self.mismatch.is_none() {
            self.mismatch.clone_from(&other.mismatch);
        }
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

impl Failure {
    /// The error for people: where in `path` it happened, and how many bytes had been done before.
    #[must_use]
    pub fn describe(&self, path: &Path, bytes: u64) -> Error {
        let offset = self.request.offset + u64::from(self.bytes);
        let verb = self.request.operation.verb();
        let what = format!("{verb} {} at offset {offset}, after {bytes} bytes were done", path.display());
        match self.fault {
            Fault::Errno(errno) => Error::failed(what).with_source(std::io::Error::from_raw_os_error(errno)),
            Fault::Refused(errno) => {
                Error::failed(format!("{what}: io_uring took no operation until the end"))
                    .with_source(std::io::Error::from_raw_os_error(errno))
            }
            Fault::EndOfTarget => {
                Error::failed(format!("{what}: the target ends there; did it shrink meanwhile?"))
            }
        }
    }
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
    /// How long after the start the schedule begins, in nanoseconds.
    pub lead_ns: u64,
    /// Completions to wait for before new operations begin; `None` for as many as come at once anyway.
    pub batch: Option<u32>,
    /// What blocks that are read shall hold; `None` for anything.
    pub check: Option<Check>,
}

/// Blocks hold the random data of their places.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Seed of that data.
    pub seed: u64,
}

impl Work {
    /// The intended start of the next operation, as CLOCK_MONOTONIC, where a rate gives one.
    #[inline]
    fn next_due_ns(&self, begin_ns: u64) -> Option<u64> {
        let start_ns = begin_ns + self.lead_ns;
        self.schedule.as_ref().map(|schedule| start_ns.saturating_add(schedule.peek()))
    }
}

/// Longest time in the kernel before the stop flag is looked at again.
const LONGEST_WAIT_NS: u64 = 20_000_000;

/// The times of the operation in a slot, as CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    intended_ns: u64,
    started_ns: u64,
    submitted_ns: u64,
}

/// How many completions to wait for: as many as come within a short time at the present pace. A slow
/// device, or a depth of 1, gets a look at each.
#[derive(Clone, Copy, Debug)]
struct Gather {
    limits: Gathering,
    last_ns: u64,
    /// Mean time from completion to completion, in 1/256 ns.
    gap: u64,
}

impl Gather {
    fn new(limits: Gathering) -> Self {
        Self { limits, last_ns: clock::now_ns(), gap: limits.within_ns << 8 }
    }

    /// `count` completions were seen at `now_ns`.
    #[inline]
    fn note(&mut self, count: u32, now_ns: u64) {
        let longest_ns = self.limits.within_ns * 64;
        let gap = ((now_ns - self.last_ns).min(longest_ns) << 8) / u64::from(count.max(1));
        self.last_ns = now_ns;
        self.gap = self.gap - self.gap / 8 + gap / 8;
    }

    #[inline]
    fn wanted(&self) -> u32 {
        let within = (self.limits.within_ns << 8) / self.gap.max(1);
        within.min(u64::from(self.limits.most)).max(1) as u32
    }
}

/// Records equal latencies that follow each other at once: those of one batch mostly are.
#[derive(Default)]
struct Repeated {
    ns: u64,
    count: u64,
}

impl Repeated {
    #[inline]
    fn record(&mut self, ns: u64, histogram: &mut LatencyHistogram) {
        if ns != self.ns {
            self.flush(histogram);
            self.ns = ns;
        }
        self.count += 1;
    }

    #[inline]
    fn flush(&mut self, histogram: &mut LatencyHistogram) {
        if self.count > 0 {
            histogram.record_many(self.ns, self.count);
        }
        self.count = 0;
    }
}

/// An engine with everything that its loop needs, allocated before the first operation.
pub struct Worker<E> {
    engine: E,
    filler: Filler,
    unique: UniqueSeeds,
    waiter: Waiter,
    stop: Stop,
    times: Box<[Times]>,
    free: Vec<Slot>,
    fresh: Vec<Slot>,
    completions: Vec<Completion>,
    gather: Gather,
    /// The block of the next operation, chosen before it was due.
    chosen: Option<Block>,
}

impl<E: Engine> Worker<E> {
    /// A worker on `engine`; `filler` fills its blocks, for the first time now.
    pub fn new(mut engine: E, filler: Filler, waiter: Waiter, stop: Stop) -> Self {
        let slots = engine.slots();
        for slot in (0..slots).map(Slot) {
            filler.prepare(engine.block_mut(slot), u64::from(slot.0));
        }
        Self {
            gather: Gather::new(engine.gathering()),
            engine,
            filler,
            unique: UniqueSeeds::new(),
            waiter,
            stop,
            times: vec![Times::default(); usize::from(slots)].into_boxed_slice(),
            free: (0..slots).rev().map(Slot).collect(),
            fresh: Vec::with_capacity(usize::from(slots)),
            completions: Vec::with_capacity(usize::from(slots)),
            chosen: None,
        }
    }

    /// The engine, to ask what it was granted.
    pub fn engine(&self) -> &E {
        &self.engine
    }

    /// Does `work`, recording into `recorder`. Ends when it is done, when the time is up, when the
    /// stop flag is raised, or at the first failure, and in any case only after everything in flight
    /// has ended.
    ///
    /// # Errors
    /// When the engine itself fails, not when an operation does.
    pub fn perform(&mut self, work: &mut Work, recorder: &mut Recorder) -> Result<Tally> {
        let begin_ns = clock::now_ns();
        let mut tally = Tally { begin_ns, end_ns: begin_ns, ..Tally::default() };
        let mut open = !self.stop.is_raised();
        recorder.begin(begin_ns);
        self.chosen = None;
        loop {
            open = open && self.fill(work, begin_ns);
            if self.in_flight() == 0 {
                let Some(due_ns) = work.next_due_ns(begin_ns).filter(|_| open) else { break };
                open = self.waiter.until(due_ns.min(work.until_ns), &self.stop) < work.until_ns;
            } else {
                self.submit(recorder)?;
                self.wait(work, begin_ns, open)?;
                self.take(work, recorder, &mut tally);
                open = open && tally.end_ns < work.until_ns && tally.failure.is_none();
            }
            open = open && !self.stop.is_raised();
        }
        recorder.end(&tally);
        Ok(tally)
    }

    fn in_flight(&self) -> u32 {
        (self.times.len() - self.free.len()) as u32
    }

    #[cold]
    fn shall_end(&self, work: &Work, tally: &Tally) -> bool {
        self.stop.is_raised() || tally.failure.is_some() || clock::now_ns() >= work.until_ns
    }

    /// Queues operations on the free slots, as far as they are due; says whether more will follow.
    #[inline]
    fn fill(&mut self, work: &mut Work, begin_ns: u64) -> bool {
        if self.free.is_empty() {
            return true;
        }
        // Where the operation goes is chosen before its time begins.
        let mut chosen = self.chosen.take().or_else(|| work.blocks.next());
        let mut now = clock::now_ns();
        while let Some(&slot) = self.free.last() {
            let intended_ns = work.next_due_ns(begin_ns);
            if intended_ns.is_some_and(|due| due > now) {
                self.chosen = chosen;
                break;
            }
            let block = chosen.take().or_else(|| work.blocks.next());
            let Some(Block { offset, length }) = block else { return false };
            work.schedule.as_mut().map(Schedule::take);
            self.free.pop();
            if work.operation == Operation::Write && self.filler.fills_each() {
                let block = &mut self.engine.block_mut(slot)[..length as usize];
                self.filler.fill(block, offset, &mut self.unique);
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
    fn submit(&mut self, recorder: &mut Recorder) -> Result<()> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        self.engine.submit()?;
        let now = clock::now_ns();
        let histogram = &mut recorder.latencies.submission;
        let mut submission = Repeated::default();
        for slot in self.fresh.drain(..) {
            let times = &mut self.times[usize::from(slot.0)];
            times.submitted_ns = now;
            submission.record(now - times.started_ns, histogram);
        }
        submission.flush(histogram);
        Ok(())
    }

    /// Waits for a batch of completions, or until the next operation is due on a free slot.
    #[inline]
    fn wait(&mut self, work: &Work, begin_ns: u64, open: bool) -> Result<()> {
        let due_ns = work.next_due_ns(begin_ns).filter(|_| open && !self.free.is_empty());
        let Some(due_ns) = due_ns else {
            let wanted = work.batch.unwrap_or_else(|| self.gather.wanted());
            return self.engine.wait(wanted.min(self.in_flight()), None);
        };
        match due_ns.saturating_sub(clock::now_ns()).checked_sub(self.waiter.margin_ns) {
            Some(ns @ 1..) => self.engine.wait(1, Some(ns.min(LONGEST_WAIT_NS))),
            _ => self.engine.wait(0, None),
        }
    }

    /// Counts what has ended and frees its slots.
    #[inline]
    fn take(&mut self, work: &Work, recorder: &mut Recorder, tally: &mut Tally) {
        self.engine.reap(&mut self.completions);
        if self.engine.is_refused() && self.shall_end(work, tally) {
            self.engine.abandon(&mut self.completions);
        }
        if self.completions.is_empty() {
            return;
        }
        let now = clock::now_ns();
        self.gather.note(self.completions.len() as u32, now);
        let latencies = &mut recorder.latencies;
        let (mut completed, mut total) = (Repeated::default(), Repeated::default());
        tally.end_ns = now;
        for completion in self.completions.drain(..) {
            let Completion { slot, request, fault, .. } = completion;
            self.free.push(slot);
            tally.bytes += u64::from(completion.bytes);
            tally.short_transfers += u64::from(completion.short_transfers);
            if let Some(fault) = fault {
                tally.fail(Failure { request, bytes: completion.bytes, fault });
                continue;
            }
            tally.operations += 1;
            let times = self.times[usize::from(slot.0)];
            let total_ns = now - times.started_ns;
            tally.in_flight_ns += total_ns;
            completed.record(now - times.submitted_ns, &mut latencies.completion);
            total.record(total_ns, &mut latencies.total);
            if let Some(response) = &mut latencies.response {
                response.record(now - times.intended_ns);
            }
            if let Some(Check { seed }) = work.check {
                let block = &self.engine.block(slot)[..request.length as usize];
                let (wrong, mismatch) = data::check(block, request.offset, seed);
                tally.wrong_sectors += wrong;
                tally.mismatch = tally.mismatch.take().or(mismatch);
            }
        }
        completed.flush(&mut latencies.completion);
        total.flush(&mut latencies.total);
        recorder.look(tally);
    }
}
