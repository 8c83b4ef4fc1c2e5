//! One sending thread: takes due slots from its schedule, and hands them over in batches.

use std::io;

use meter::{
    Result, clock, control::Stop, crew, histogram::LatencyHistogram, placement::Placement, runtime::Window,
};

use crate::{
    latency_log::BatchRecorder,
    method::{
        self,
        transmit::{Transmit, TransmitConfig},
    },
    payload::Origin,
    sender::{config::SendConfig, counters::Counters, slots::Slots},
    socket::Flow,
};

/// Pause after a send that was refused twice, in nanoseconds: an error that stays must not become a
/// busy loop of errors.
const RETRY_NS: u64 = 1_000_000;
/// Longest wait for room in the kernel before the stop flag and the slots are looked at again, in nanoseconds.
const ROOM_NS: u64 = 20_000_000;
/// How much CPU time and waiting the slots that were due before the end may still take after it, in nanoseconds.
/// Time in which others have the CPU does not count: it is not the link's.
const LAST_SLOTS_NS: u64 = 40_000_000;

/// One worker's counters: the measured time's, which the conductor reads, and the warm-up's, which nobody does.
#[derive(Debug, Default)]
pub struct WorkerCounters {
    warmup: Counters,
    /// Of the measured time.
    pub measured: Counters,
}

/// What a worker leaves behind.
pub struct Finished {
    /// How late each datagram was, as far as the conductor has not taken it.
    pub pacing_error: Box<LatencyHistogram>,
    /// When it ended, CLOCK_MONOTONIC.
    pub end_ns: u64,
    /// CPU time that its thread used after the warm-up, in nanoseconds.
    pub cpu_ns: u64,
    /// Whether it was still pinned as asked.
    pub pin_held: bool,
    /// Datagrams that a stop found waiting, not too late to be sent yet: counted as missed, but nobody's failure.
    pub stopped_with: u64,
}

/// One sending thread's state, complete before the start.
pub struct Sender<'a> {
    counters: &'a WorkerCounters,
    /// Those of the two that count now.
    counting: &'a Counters,
    stop: Stop,
    transmit: Box<dyn Transmit>,
    slots: Slots,
    placement: Placement,
    pacing_error: BatchRecorder,
    /// Whether the datagram in front was refused before.
    refused: bool,
    /// Whether the batch waits inside the transmitter, so that nothing of it can be given up.
    is_held: bool,
    /// Time spent waiting for the kernel so far, in nanoseconds.
    waited_ns: u64,
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
        counters: &'a WorkerCounters,
        pacing_error: BatchRecorder,
        stop: Stop,
    ) -> Result<Self> {
        let flows = config
            .flows
            .iter()
            .skip(worker.index)
            .step_by(worker.of)
            .map(|flow| Flow::open(flow.target, flow.source_port, &config.socket))
            .collect::<Result<Vec<_>>>()?;
        let number = flows.len();
        let transmit = method::open(
            flows,
            &TransmitConfig {
                method: config.method,
                largest: config.sizes.largest() as usize,
                batch_size: config.batch_size,
                socket: &config.socket,
                origin,
                worker: worker.index,
                workers: worker.of,
                stop: &stop,
            },
        )?;
        Ok(Self {
            counters,
            counting: &counters.warmup,
            stop,
            slots: Slots::new(config, (worker.index, worker.of), number, transmit.batch_size()),
            transmit,
            placement: worker.placement,
            pacing_error,
            refused: false,
            is_held: false,
            waited_ns: 0,
        })
    }

    /// Sends from the start of `window` on until its end, until a limit is reached or the stop flag is raised.
    pub fn work(mut self, window: Window) -> Finished {
        window.wait_for_start(&self.stop);
        self.slots.begin(window.start_ns);
        if window.from_ns > window.start_ns {
            self.send_until(window.from_ns);
            if !self.is_held && !self.stop.is_raised() {
                self.slots.give_up(window.from_ns, false);
            }
        }
        let warm_cpu_ns = clock::thread_cpu_ns();
        self.counting = &self.counters.measured;
        self.pacing_error.begin(window.from_ns);
        self.send_until(window.until_ns);
        let now = clock::now_ns();
        if now >= window.until_ns {
            self.send_last(window.until_ns);
        }
        let stopped = self.stop.is_raised();
        let stopped_with =
            if stopped && self.slots.are_paced() { self.slots.batch().len() as u64 } else { 0 };
        self.counting.missed.add(self.slots.give_up(window.until_ns.min(now), stopped));
        let last = self.transmit.finish();
        self.counting.count(&last);
        if self.slots.are_paced() {
            self.counting.missed.add(last.unsent);
        }
        Finished {
            end_ns: clock::now_ns(),
            cpu_ns: clock::thread_cpu_ns() - warm_cpu_ns,
            pin_held: self.placement.holds(),
            pacing_error: self.pacing_error.finish(),
            stopped_with,
        }
    }

    /// Sends every slot that is intended before `end_ns`, and returns then even if the kernel takes none.
    fn send_until(&mut self, end_ns: u64) {
        while !self.stop.is_raised() {
            if self.slots.batch().is_empty() && self.slots.are_used_up() {
                return;
            }
            let now = self.slots.wait(end_ns, &self.stop);
            self.pacing_error.tick(now);
            if now >= end_ns {
                return;
            }
            self.fill(now, end_ns);
            if !self.slots.batch().is_empty() && self.hand_over(now) {
                self.wait_for_room(end_ns.saturating_sub(now));
            }
        }
    }

    /// Sends what was due before `end_ns`, which has passed: those that are late because this thread was. A link that
    /// takes nothing is not waited for.
    fn send_last(&mut self, end_ns: u64) {
        if !self.slots.are_paced() {
            return;
        }
        let spent = |sender: &Self| clock::thread_cpu_ns() + sender.waited_ns;
        let until = spent(self) + LAST_SLOTS_NS;
        while !self.stop.is_raised() {
            let now = clock::now_ns();
            self.fill(now, end_ns);
            let left_ns = until.saturating_sub(spent(self));
            if self.slots.batch().is_empty() || left_ns == 0 {
                return;
            }
            if self.hand_over(now) {
                self.wait_for_room(left_ns);
            }
        }
    }

    /// Puts due slots into the batch, and gives up those that are too late.
    #[inline]
    fn fill(&mut self, now: u64, end_ns: u64) {
        let expired = if self.is_held { 0 } else { self.slots.expire(now) };
        let missed = self.slots.fill(now, end_ns) + expired;
        if missed > 0 {
            self.counting.missed.add(missed);
        }
    }

    /// Hands the batch over, counts what was taken, and keeps the rest for the next time. Says whether that has to wait
    /// for room.
    #[inline]
    fn hand_over(&mut self, now: u64) -> bool {
        let outcome = self.transmit.transmit(self.slots.flow(), self.slots.batch());
        self.counting.count(&outcome);
        if self.slots.are_paced() {
            for lateness_ns in self.slots.lateness(outcome.consumed, now) {
                self.pacing_error.record(lateness_ns);
            }
        }
        self.slots.done(outcome.consumed, outcome.returned);
        self.is_held = outcome.is_held;
        match &outcome.error {
            None => self.refused &= outcome.is_full,
            Some(_) if outcome.is_held => self.rest(),
            Some(_) if outcome.consumed == 0 => self.refuse(),
            Some(_) => {
                self.refused = false;
                if outcome.sent == 0 {
                    self.rest();
                }
            }
        }
        outcome.is_full
    }

    /// The next datagram was refused. The first refusal is tried again at once, since it may be the echo
    /// of an earlier datagram (ECONNREFUSED); then the datagram is given up and its number used again.
    #[cold]
    fn refuse(&mut self) {
        if !self.refused {
            self.refused = true;
            return;
        }
        self.refused = false;
        self.slots.drop_first();
        self.rest();
    }

    /// Waits until the kernel has room for the next datagram, `most_ns` nanoseconds at most.
    #[cold]
    fn wait_for_room(&mut self, most_ns: u64) {
        let begun_ns = clock::now_ns();
        let has_room = self.transmit.wait_for_room(self.slots.flow(), most_ns.min(ROOM_NS));
        let waited_ns = clock::now_ns() - begun_ns;
        if !has_room && waited_ns >= ROOM_NS {
            self.counting.count_no_room();
        }
        self.waited_ns += waited_ns;
    }

    /// Rests after an error when nothing was sent.
    #[cold]
    fn rest(&mut self) {
        // The wait is short, and a stop during it is seen right after.
        let begun_ns = clock::now_ns();
        let _: io::Result<()> = clock::sleep_until_ns(begun_ns + RETRY_NS);
        self.waited_ns += clock::now_ns() - begun_ns;
    }
}
