//! One receiving thread: reads batches and follows the numbers of every flow.

use std::{io, net::UdpSocket, os::fd::AsFd, sync::atomic::Ordering::Relaxed};

use meter::{clock, control::Stop, crew, placement::Placement, runtime::Window};

use crate::{
    sink::{
        batch::Batch,
        config::SinkConfig,
        counters::Counters,
        delay::{DelayMeter, Delays},
        flows::Flows,
        incoming::Incoming,
    },
    sys,
};

/// How long the sink naps when its socket is empty, in nanoseconds, and how often in a row before it
/// blocks. A sender that has to wake a blocked receiver for every datagram pays more for that than for
/// the datagram; naps collect a batch, as interrupt coalescing does.
const NAP_NS: u64 = 50_000;
const NAPS: u32 = 4;
/// How long the sink goes on reading after its end, in nanoseconds of its own CPU time: as a flood may never be empty.
const DRAIN_NS: u64 = 10_000_000;
/// How long it reads what had arrived before its start, in nanoseconds of its own CPU time.
const DISCARD_NS: u64 = 50_000_000;

/// One worker's counters: the measured time's, which the conductor reads, and the warm-up's, which nobody does.
#[derive(Debug, Default)]
pub struct WorkerCounters {
    warmup: Counters,
    /// Of the measured time.
    pub measured: Counters,
}

/// When datagrams arrived, CLOCK_MONOTONIC in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// When the first batch was read.
    pub first_ns: u64,
    /// How many datagrams it had.
    pub first_datagrams: u64,
    /// When the latest batch was read.
    pub last_ns: u64,
}

/// What a worker leaves behind.
pub struct Finished {
    /// When datagrams arrived after the warm-up; `None` when none did.
    pub span: Option<Span>,
    /// When it ended, CLOCK_MONOTONIC.
    pub end_ns: u64,
    /// CPU time that its thread used after the warm-up, in nanoseconds.
    pub cpu_ns: u64,
    /// Whether it was still pinned as asked.
    pub pin_held: bool,
    /// The number with which counting began, of each flow.
    pub first_numbers: Vec<u64>,
    /// Datagrams that had arrived before the start and were thrown away.
    pub discarded: u64,
    /// Whether the kernel tells drops at the socket.
    pub knows_drops: bool,
    /// Delays, as far as the conductor has not taken them.
    pub delays: Option<Box<Delays>>,
    /// Datagrams whose sender reads another clock.
    pub other_clock: u64,
}

/// One receiving thread's state, complete before the start.
pub struct Receiver<'a> {
    counters: &'a WorkerCounters,
    /// Those of the two that count now.
    counting: &'a Counters,
    /// Those of all workers: a sink is idle when none of them receives.
    all: &'a [WorkerCounters],
    stop: Stop,
    socket: UdpSocket,
    incoming: Incoming,
    flows: Flows,
    delays: Option<DelayMeter>,
    dropped_seen: u32,
    discards_backlog: bool,
    idle_ns: u64,
    placement: Placement,
    span: Option<Span>,
}

impl<'a> Receiver<'a> {
    /// Faults in the memory of this worker.
    pub fn new(
        config: &SinkConfig,
        worker: crew::Worker,
        socket: UdpSocket,
        delays: Option<DelayMeter>,
        all: &'a [WorkerCounters],
        stop: Stop,
    ) -> Self {
        let counters = &all[worker.index];
        Self {
            counters,
            counting: &counters.warmup,
            all,
            stop,
            dropped_seen: sys::socket_drops(socket.as_fd()).unwrap_or(0),
            socket,
            incoming: Incoming::new(config.batch_size),
            flows: Flows::new(config.flows_max, config.expect_from),
            delays,
            discards_backlog: config.discards_backlog,
            idle_ns: config.idle_ns.unwrap_or(u64::MAX),
            placement: worker.placement,
            span: None,
        }
    }

    /// Receives from the start of `window` on until its end, until nothing comes any more, or the stop flag is raised.
    pub fn work(mut self, window: Window) -> Finished {
        window.wait_for_start(&self.stop);
        if window.from_ns <= window.start_ns {
            self.begin(window.from_ns);
        }
        let discarded = if self.discards_backlog { self.discard_backlog(window.start_ns) } else { 0 };
        if window.from_ns > window.start_ns {
            self.receive_until(window.from_ns);
            self.begin(window.from_ns);
        }
        let warm_cpu_ns = clock::thread_cpu_ns();
        self.receive_until(window.until_ns);
        let end_ns = clock::now_ns();
        // Stopped before the measured time began, what lies there belongs to nobody's figures.
        if end_ns >= window.from_ns {
            self.drain();
        }
        let last_drops = sys::socket_drops(self.socket.as_fd()).ok();
        if let Some(drops) = last_drops.filter(|_| end_ns >= window.from_ns) {
            self.note_drops(drops);
        }
        let first_numbers = self.flows.known().iter().filter_map(|flow| flow.tracker.first());
        Finished {
            span: self.span,
            end_ns,
            cpu_ns: clock::thread_cpu_ns() - warm_cpu_ns,
            pin_held: self.placement.holds(),
            first_numbers: first_numbers.collect(),
            discarded,
            knows_drops: last_drops.is_some(),
            other_clock: self.delays.as_ref().map_or(0, |delays| delays.other_clock),
            delays: self.delays.map(DelayMeter::finish),
        }
    }

    /// The measured time begins at `from_ns`.
    fn begin(&mut self, from_ns: u64) {
        self.counting = &self.counters.measured;
        self.span = None;
        self.flows.forget_skips();
        if let Some(delays) = &mut self.delays {
            delays.begin(from_ns);
        }
    }

    /// Throws away what had arrived before `start_ns`, with the drops until then, and says how many datagrams those were.
    /// Without receive timestamps it is all that lies there.
    fn discard_backlog(&mut self, start_ns: u64) -> u64 {
        let wall_ahead_ns = clock::wall_ns().wrapping_sub(clock::now_ns());
        let start_wall_ns = start_ns.wrapping_add(wall_ahead_ns);
        let mut discarded = 0;
        self.dropped_seen = sys::socket_drops(self.socket.as_fd()).unwrap_or(self.dropped_seen);
        let until = clock::thread_cpu_ns() + DISCARD_NS;
        while clock::thread_cpu_ns() < until && !self.stop.is_raised() {
            match self.incoming.receive(self.socket.as_fd(), false) {
                Ok(messages) => {
                    let arrived_before = |slot: &usize| {
                        let received = self.incoming.message(*slot).ancillary.received_wall_ns;
                        received.is_none_or(|received| received < start_wall_ns)
                    };
                    let backlog = (0..messages).take_while(arrived_before).count();
                    discarded +=
                        (0..backlog).map(|slot| self.incoming.message(slot).datagrams()).sum::<u64>();
                    if backlog < messages {
                        self.take(backlog..messages, clock::now_ns());
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => self.counting.errors.count(&error, 1),
            }
        }
        discarded
    }

    fn receive_until(&mut self, end_ns: u64) {
        let mut naps = NAPS;
        let mut now = clock::now_ns();
        while now < end_ns && !self.stop.is_raised() {
            let received = self.incoming.receive(self.socket.as_fd(), naps >= NAPS);
            now = clock::now_ns();
            match received {
                Ok(messages) => {
                    naps = 0;
                    self.take(0..messages, now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && naps < NAPS => {
                    naps += 1;
                    let _ = clock::sleep_until_ns(now + NAP_NS);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.has_been_idle(now) {
                        break;
                    }
                    if let Some(delays) = &mut self.delays {
                        delays.tick(now);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.counting.errors.count(&error, 1),
            }
        }
    }

    /// Whether nothing has come to any worker for as long as `--idle` says, after something had.
    fn has_been_idle(&self, now: u64) -> bool {
        let latest =
            |worker: &WorkerCounters| [&worker.warmup, &worker.measured].map(|of| of.latest_ns.load(Relaxed));
        let latest_ns = self.all.iter().flat_map(latest).max();
        latest_ns.is_some_and(|latest| latest > 0 && now.saturating_sub(latest) > self.idle_ns)
    }

    /// Takes what had arrived before the end, but had not been read yet.
    fn drain(&mut self) {
        // By its own CPU time: while others have the CPU, nothing is taken.
        let end_ns = clock::thread_cpu_ns() + DRAIN_NS;
        while clock::thread_cpu_ns() < end_ns {
            match self.incoming.receive(self.socket.as_fd(), false) {
                Ok(messages) => self.take(0..messages, clock::now_ns()),
                Err(_) => break,
            }
        }
    }

    #[inline]
    fn take(&mut self, messages: std::ops::Range<usize>, now: u64) {
        self.counting.calls.add(1);
        let mut batch = Batch::default();
        let mut dropped = None;
        if let Some(delays) = &mut self.delays {
            delays.tick(now);
        }
        for slot in messages {
            let message = self.incoming.message(slot);
            dropped = message.ancillary.dropped.or(dropped);
            batch.take(&message, &mut self.flows, self.delays.as_mut());
        }
        batch.count(self.counting);
        if batch.delivered > 0 {
            let first = Span { first_ns: now, first_datagrams: batch.delivered, last_ns: now };
            self.span = Some(Span { last_ns: now, ..self.span.unwrap_or(first) });
            self.counting.latest_ns.store(now, Relaxed);
        }
        if let Some(dropped) = dropped {
            self.note_drops(dropped);
        }
    }

    /// Takes the kernel's count of drops, which is modulo 2^32. A datagram that was queued before the count was read
    /// last has an older one.
    #[inline]
    fn note_drops(&mut self, dropped: u32) {
        let growth = dropped.wrapping_sub(self.dropped_seen);
        if growth <= i32::MAX as u32 {
            self.counting.dropped.add(growth.into());
            self.dropped_seen = dropped;
        }
    }
}
