//! The measuring loop: fill the free slots, submit, wait, take what has ended.

use std::collections::VecDeque;

use meter::{Result, clock, control::Stop, histogram::LatencyHistogram, pacer::Schedule, wait::Waiter};

use crate::{
    blocks::Block,
    data::{self, Filler, UniqueSeeds},
    engine::{Completion, Engine, Gathering, Operation, Request, Slot},
    recording::Recorder,
    tally::{Failure, Tally},
    work::{Check, Work},
};

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
    /// Most operations in flight.
    depth: u32,
    /// The next operations: where they go is chosen, and what they write is made, before they are due.
    ready: VecDeque<(Slot, Block)>,
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
            depth: slots.into(),
            ready: VecDeque::with_capacity(usize::from(slots)),
        }
    }

    /// Keeps at most `depth` operations in flight; the engine's other slots are filled meanwhile, so that the device
    /// does not wait for that.
    #[must_use]
    pub fn at_depth(mut self, depth: u16) -> Self {
        let slots = u64::from(self.engine.slots());
        let most = u64::from(self.gather.limits.most) * u64::from(depth) / slots.max(1);
        (self.depth, self.gather.limits.most) = (depth.into(), most as u32);
        self
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
        self.free.extend(self.ready.drain(..).map(|(slot, _)| slot));
        self.prepare_ahead(work);
        let begin_ns = work.begin.begin();
        let until_ns = begin_ns.saturating_add(work.duration_ns);
        let mut tally = Tally { begin_ns, last_ns: begin_ns, ..Tally::default() };
        let (mut open, mut more) = (!self.stop.is_raised(), true);
        recorder.begin(begin_ns);
        loop {
            if open {
                more = self.fill(work, begin_ns);
                open = more;
            }
            if self.in_flight() == 0 {
                let Some(due_ns) = work.next_due_ns(begin_ns).filter(|_| open) else { break };
                let due_ns = due_ns.min(until_ns);
                // Nothing is recorded before then: what was is complete at an edge on the way.
                recorder.tick(due_ns);
                open = self.waiter.until(due_ns, &self.stop) < until_ns;
            } else {
                self.submit(recorder)?;
                if open {
                    self.prepare_ahead(work);
                }
                self.wait(work, begin_ns, open)?;
                self.take(work, until_ns, recorder, &mut tally);
                open = open && tally.last_ns < until_ns && tally.failure.is_none();
            }
            open = open && !self.stop.is_raised();
        }
        set_end(&mut tally, work, until_ns, more);
        Ok(tally)
    }

    fn in_flight(&self) -> u32 {
        (self.times.len() - self.free.len() - self.ready.len()) as u32
    }

    #[cold]
    fn shall_end(&self, until_ns: u64, tally: &Tally) -> bool {
        self.stop.is_raised() || tally.failure.is_some() || clock::now_ns() >= until_ns
    }

    /// Queues operations as far as they are due and the depth allows; says whether more will follow.
    #[inline]
    fn fill(&mut self, work: &mut Work, begin_ns: u64) -> bool {
        if self.in_flight() >= self.depth {
            return true;
        }
        // Where the operation goes is chosen before its time begins.
        if self.ready.is_empty() && !self.prepare(work) {
            return false;
        }
        let mut now = clock::now_ns();
        while self.in_flight() < self.depth {
            let intended_ns = work.next_due_ns(begin_ns);
            if intended_ns.is_some_and(|due| due > now) {
                break;
            }
            if self.ready.is_empty() {
                if !self.prepare(work) {
                    return false;
                }
                if self.fills(work) {
                    now = clock::now_ns();
                }
            }
            let Some((slot, Block { offset, length })) = self.ready.pop_front() else { break };
            work.schedule.as_mut().map(Schedule::take);
            self.times[usize::from(slot.0)] =
                Times { intended_ns: intended_ns.unwrap_or(now), started_ns: now, submitted_ns: now };
            self.engine.queue(slot, Request { operation: work.operation, offset, length });
            self.fresh.push(slot);
        }
        true
    }

    /// Makes the next operation ready on a free slot; says whether there is one.
    #[inline]
    fn prepare(&mut self, work: &mut Work) -> bool {
        let Some(&slot) = self.free.last() else { return true };
        let Some(block) = work.blocks.next() else { return false };
        self.free.pop();
        if self.fills(work) {
            let data = &mut self.engine.block_mut(slot)[..block.length as usize];
            self.filler.fill(data, block.offset, &mut self.unique);
        }
        self.ready.push_back((slot, block));
        true
    }

    /// Where operations write data of their own, makes ready as many as there are slots for.
    #[inline]
    fn prepare_ahead(&mut self, work: &mut Work) {
        while self.fills(work) && !self.free.is_empty() && self.prepare(work) {}
    }

    #[inline]
    fn fills(&self, work: &Work) -> bool {
        work.operation == Operation::Write && self.filler.fills_each()
    }

    /// Hands what is queued to the kernel and notes when that was done.
    #[inline]
    fn submit(&mut self, recorder: &mut Recorder) -> Result<()> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        self.engine.submit()?;
        let now = clock::now_ns();
        recorder.tick(now);
        let histogram = &mut recorder.active.latencies.submission;
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
        let due_ns = work.next_due_ns(begin_ns).filter(|_| open && self.in_flight() < self.depth);
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
    fn take(&mut self, work: &Work, until_ns: u64, recorder: &mut Recorder, tally: &mut Tally) {
        self.engine.reap(&mut self.completions);
        if self.engine.is_refused() && self.shall_end(until_ns, tally) {
            self.engine.abandon(&mut self.completions);
        }
        if self.completions.is_empty() {
            return;
        }
        let now = clock::now_ns();
        self.gather.note(self.completions.len() as u32, now);
        recorder.tick(now);
        let recorded = &mut *recorder.active;
        let (latencies, amount) = (&mut recorded.latencies, &mut recorded.amount);
        let (mut completed, mut total) = (Repeated::default(), Repeated::default());
        tally.last_ns = now;
        for completion in self.completions.drain(..) {
            let Completion { slot, request, fault, .. } = completion;
            self.free.push(slot);
            amount.bytes += u64::from(completion.bytes);
            amount.short_transfers += u64::from(completion.short_transfers);
            tally.bytes += u64::from(completion.bytes);
            tally.short_transfers += u64::from(completion.short_transfers);
            if let Some(fault) = fault {
                tally.fail(Failure { request, bytes: completion.bytes, fault });
                continue;
            }
            tally.operations += 1;
            amount.operations += 1;
            let times = self.times[usize::from(slot.0)];
            let total_ns = now - times.started_ns;
            tally.in_flight_ns += total_ns;
            amount.in_flight_ns += total_ns;
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
    }
}

/// When work has ended, and until when its operations count: as fast as it goes with the last completion. A pace has
/// operations stand for the time up to the next one; without that, one a second for three seconds were 1.5 a second.
fn set_end(tally: &mut Tally, work: &Work, until_ns: u64, more: bool) {
    let last_ns = tally.last_ns;
    let (end_ns, window_end_ns) = match work.next_due_ns(tally.begin_ns) {
        None => (last_ns, last_ns),
        // Ended by its time, a stop or a failure.
        Some(_) if more => {
            let end_ns = clock::now_ns().min(until_ns).max(last_ns);
            (end_ns, end_ns)
        }
        Some(due_ns) => (last_ns, due_ns.min(until_ns).max(last_ns)),
    };
    (tally.end_ns, tally.window_end_ns) = (end_ns, window_end_ns);
}
