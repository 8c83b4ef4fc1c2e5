//! One sending thread: takes due slots from its schedule, and hands them over in batches.

use std::io;

use meter::{
    Result, clock, control::Stop, counter::Counter, crew, histogram::LatencyHistogram, pacer::Schedule,
    placement::Placement, wait::Waiter,
};

use crate::{
    errors::{ErrorCounters, ErrorTotals},
    latency_log::Recorder,
    load::Load,
    method::{self, Datagram, Outcome, Transmit},
    payload::Origin,
    sender::config::SendConfig,
    sizes::SizeSequence,
    socket::Flow,
};

/// Pause after a send that was refused twice, in nanoseconds: an error that stays must not become a
/// busy loop of errors.
const RETRY_NS: u64 = 1_000_000;

/// Most slots that are given up before the stop flag is looked at again, where each has to be drawn.
const DRAWN_MAX: u64 = 1 << 20;

/// What a worker has done so far; the conductor reads along.
#[derive(Debug, Default)]
pub struct Counters {
    /// Datagrams that the kernel took.
    pub datagrams: Counter,
    /// Bytes of their payloads.
    pub bytes: Counter,
    /// System calls made for them.
    pub calls: Counter,
    /// Slots given up.
    pub missed: Counter,
    /// Refused sends.
    pub errors: ErrorCounters,
}

/// The counters of all workers, added up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub datagrams: u64,
    pub bytes: u64,
    pub calls: u64,
    pub missed: u64,
    pub errors: ErrorTotals,
}

impl Totals {
    /// The sum over `counters`.
    pub fn of(counters: &[Counters]) -> Self {
        let mut totals = Self::default();
        for worker in counters {
            totals.datagrams += worker.datagrams.value();
            totals.bytes += worker.bytes.value();
            totals.calls += worker.calls.value();
            totals.missed += worker.missed.value();
            totals.errors.add(&worker.errors);
        }
        totals
    }

    /// What came since `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            datagrams: self.datagrams - before.datagrams,
            bytes: self.bytes - before.bytes,
            calls: self.calls - before.calls,
            missed: self.missed - before.missed,
            errors: self.errors.since(&before.errors),
        }
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        self.datagrams += other.datagrams;
        self.bytes += other.bytes;
        self.calls += other.calls;
        self.missed += other.missed;
        self.errors.merge(&other.errors);
    }
}

/// What a worker leaves behind.
pub struct Finished {
    /// What it did after the warm-up.
    pub totals: Totals,
    /// How late each datagram was, as far as the conductor has not taken it.
    pub pacing_error: Box<LatencyHistogram>,
    /// When it ended, CLOCK_MONOTONIC.
    pub end_ns: u64,
    /// CPU time that its thread used after the warm-up, in nanoseconds.
    pub cpu_ns: u64,
    /// Whether it was still pinned as asked.
    pub pin_held: bool,
}

/// When a worker's slots come.
enum Timing {
    Unlimited,
    Paced { schedule: Schedule, offset_ns: u64, waiter: Waiter, skip_max: u64 },
}

/// One sending thread's state, complete before the start.
pub struct Sender<'a> {
    counters: &'a Counters,
    stop: Stop,
    transmit: Box<dyn Transmit>,
    timing: Timing,
    sizes: SizeSequence,
    /// Next number of each flow.
    sequences: Vec<u64>,
    /// The flow whose turn it is.
    flow: usize,
    batch: Vec<Datagram>,
    /// How many datagrams wait in the front of `batch`.
    pending: usize,
    datagrams_left: u64,
    bytes_left: u64,
    duration_ns: u64,
    warmup_ns: u64,
    catch_up_ns: u64,
    /// How long before its intended time a datagram is handed over.
    lead_ns: u64,
    placement: Placement,
    pacing_error: Recorder,
    /// Whether the datagram in front was refused before.
    refused: bool,
}

impl<'a> Sender<'a> {
    /// Opens the flows of this worker, calibrates its waiting, faults in its memory.
    ///
    /// # Errors
    /// When a flow or the method is refused.
    pub fn new(
        config: &SendConfig,
        worker: crew::Worker,
        origin: Origin,
        counters: &'a Counters,
        pacing_error: Recorder,
        stop: Stop,
    ) -> Result<Self> {
        let flows = config
            .flows
            .iter()
            .skip(worker.index)
            .step_by(worker.of)
            .map(|flow| Flow::open(flow.target, flow.source_port, &config.socket))
            .collect::<Result<Vec<_>>>()?;
        let sequences = vec![0; flows.len()];
        let transmit = method::open(config.method, flows, origin, config, worker.index)?;
        let timing = match &config.load {
            Load::Unlimited => Timing::Unlimited,
            Load::Paced(pace) => {
                let (schedule, offset_ns) = pace.schedule(worker.index, worker.of, config.seed);
                let skip_max = if pace.poisson { DRAWN_MAX } else { u64::MAX };
                Timing::Paced { schedule, offset_ns, waiter: Waiter::calibrate(), skip_max }
            }
        };
        let share = |limit: Option<u64>| {
            let (workers, index) = (worker.of as u64, worker.index as u64);
            limit.map_or(u64::MAX, |limit| limit / workers + u64::from(index < limit % workers))
        };
        Ok(Self {
            counters,
            stop,
            batch: vec![Datagram::default(); transmit.batch_size()],
            transmit,
            timing,
            sizes: config.sizes.sequence(config.seed.wrapping_add(worker.index as u64)),
            sequences,
            flow: 0,
            pending: 0,
            datagrams_left: share(config.limit.datagrams),
            bytes_left: share(config.limit.bytes),
            duration_ns: config.limit.duration_ns,
            warmup_ns: config.warmup_ns,
            catch_up_ns: config.catch_up_ns,
            lead_ns: config.socket.launch_lead_ns.unwrap_or(0),
            placement: worker.placement,
            pacing_error,
            refused: false,
        })
    }

    /// Sends from `start_ns` on until a limit is reached or the stop flag is raised.
    pub fn work(mut self, start_ns: u64) -> Finished {
        let measure_ns = start_ns.saturating_add(self.warmup_ns);
        Waiter::SPIN.until(start_ns, &self.stop);
        let warm_cpu_ns = self.run_until(start_ns, measure_ns);
        let warm_totals = Totals::of(std::slice::from_ref(self.counters));
        self.pacing_error.begin(measure_ns);
        self.run_until(start_ns, measure_ns.saturating_add(self.duration_ns));
        let end_ns = clock::now_ns();
        let last = self.transmit.finish();
        self.count(&last);
        Finished {
            totals: Totals::of(std::slice::from_ref(self.counters)).since(&warm_totals),
            end_ns,
            cpu_ns: clock::thread_cpu_ns() - warm_cpu_ns,
            pin_held: self.placement.holds(),
            pacing_error: self.pacing_error.finish(),
        }
    }

    /// Sends every slot that is intended before `end_ns`, and gives the thread's CPU time then.
    fn run_until(&mut self, start_ns: u64, end_ns: u64) -> u64 {
        while !self.stop.is_raised() {
            let now = match &self.timing {
                Timing::Unlimited => clock::now_ns(),
                Timing::Paced { schedule, offset_ns, waiter, .. } => {
                    let due = start_ns.saturating_add(*offset_ns).saturating_add(schedule.peek());
                    let wake = if self.pending > 0 { 0 } else { due.min(end_ns) };
                    waiter.until(wake, &self.stop)
                }
            };
            self.pacing_error.tick(now);
            self.fill(start_ns, now, end_ns);
            if self.pending == 0 {
                if now >= end_ns || self.datagrams_left == 0 || self.bytes_left == 0 {
                    break;
                }
                continue;
            }
            if matches!(self.timing, Timing::Unlimited) && now >= end_ns {
                break;
            }
            self.hand_over(now);
        }
        clock::thread_cpu_ns()
    }

    /// Puts the slots that are due into the batch, behind those that wait. All are of one flow.
    #[inline]
    fn fill(&mut self, start_ns: u64, now: u64, end_ns: u64) {
        while self.pending < self.batch.len() && self.datagrams_left > 0 && self.bytes_left > 0 {
            let intended_ns = match &mut self.timing {
                Timing::Unlimited => now,
                Timing::Paced { schedule, offset_ns, skip_max, .. } => {
                    let zero = start_ns.saturating_add(*offset_ns);
                    let mut due = zero.saturating_add(schedule.peek());
                    if now.saturating_sub(due) > self.catch_up_ns {
                        let bound = (now - self.catch_up_ns).min(end_ns);
                        self.counters.missed.add(schedule.skip_until(bound.saturating_sub(zero), *skip_max));
                        due = zero.saturating_add(schedule.peek());
                    }
                    if due > now || due >= end_ns || now.saturating_sub(due) > self.catch_up_ns {
                        return;
                    }
                    schedule.take();
                    due.saturating_add(self.lead_ns)
                }
            };
            let size = self.sizes.take();
            self.batch[self.pending] = Datagram { sequence: self.sequences[self.flow], intended_ns, size };
            self.sequences[self.flow] += 1;
            self.pending += 1;
            self.datagrams_left -= 1;
            self.bytes_left = self.bytes_left.saturating_sub(size.into());
        }
    }

    /// Hands the batch over, counts what was taken, and keeps the rest for the next time.
    #[inline]
    fn hand_over(&mut self, now: u64) {
        let batch = &self.batch[..self.pending];
        let outcome = self.transmit.transmit(self.flow, batch);
        self.count(&outcome);
        if matches!(self.timing, Timing::Paced { .. }) {
            for datagram in &batch[..outcome.consumed] {
                self.pacing_error.record((now + self.lead_ns).saturating_sub(datagram.intended_ns));
            }
        }
        if outcome.consumed < self.pending {
            self.batch.copy_within(outcome.consumed..self.pending, 0);
        }
        self.pending -= outcome.consumed;
        if let Some(returned) = outcome.returned {
            self.take_back(returned.flow, returned.numbers);
        }
        match &outcome.error {
            None => self.refused = false,
            Some(error) if outcome.consumed == 0 => self.refuse(error),
            Some(error) => {
                self.refused = false;
                self.pause_after(error, outcome.sent == 0);
            }
        }
        if self.pending == 0 {
            self.flow = if self.flow + 1 == self.sequences.len() { 0 } else { self.flow + 1 };
        }
    }

    /// Counts what became of a batch.
    #[inline]
    fn count(&self, outcome: &Outcome) {
        self.counters.calls.add(outcome.calls);
        self.counters.datagrams.add(outcome.sent);
        self.counters.bytes.add(outcome.sent_bytes);
        if let Some(error) = &outcome.error {
            self.counters.errors.count(error, outcome.refused);
        }
    }

    /// The next datagram was refused. The first refusal is tried again at once, since it may be the echo
    /// of an earlier datagram (ECONNREFUSED); then the datagram is given up and its number used again.
    #[cold]
    fn refuse(&mut self, error: &io::Error) {
        if !self.refused {
            self.refused = true;
            return;
        }
        self.refused = false;
        if self.pending > 0 {
            self.batch.copy_within(1..self.pending, 0);
            self.pending -= 1;
            self.take_back(self.flow, 1);
        }
        self.pause_after(error, true);
    }

    /// So many numbers of a flow were given to datagrams that will never be sent: those that wait and
    /// those to come move up.
    #[cold]
    fn take_back(&mut self, flow: usize, numbers: u64) {
        self.sequences[flow] -= numbers;
        if flow == self.flow {
            for datagram in &mut self.batch[..self.pending] {
                datagram.sequence -= numbers;
            }
        }
    }

    /// Rests after an error when nothing was sent, unless the kernel has waited already.
    #[cold]
    fn pause_after(&self, error: &io::Error, nothing_sent: bool) {
        if nothing_sent && error.raw_os_error() != Some(libc::EAGAIN) {
            // The wait is short, and a stop during it is seen right after.
            let _ = clock::sleep_until_ns(clock::now_ns() + RETRY_NS);
        }
    }
}
