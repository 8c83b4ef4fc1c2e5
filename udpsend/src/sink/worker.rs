//! One receiving thread: reads batches and follows the numbers of every flow.

use std::{
    io,
    net::UdpSocket,
    os::fd::AsFd,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use meter::{clock, control::Stop, counter::Counter, crew, placement::Placement};

use crate::{
    errors::{ErrorCounters, ErrorTotals},
    payload::{self, Parsed},
    sink::{
        config::SinkConfig,
        delay::{DelayMeter, FinishedDelays},
        flows::Flows,
        incoming::{Incoming, Message},
        tracker::Arrival,
    },
};

/// How long the sink naps when its socket is empty, in nanoseconds, and how often in a row before it
/// blocks. A sender that has to wake a blocked receiver for every datagram pays more for that than for
/// the datagram; naps collect a batch, as interrupt coalescing does.
const NAP_NS: u64 = 50_000;
const NAPS: u32 = 4;
/// How long the sink goes on reading after its end, in nanoseconds: as a flood may never be empty.
const DRAIN_NS: u64 = 10_000_000;

/// What a worker has seen so far; the conductor reads along.
#[derive(Debug, Default)]
pub struct Counters {
    pub delivered: Counter,
    pub bytes: Counter,
    /// Numbers skipped when a higher one came.
    pub skipped: Counter,
    pub reordered: Counter,
    pub duplicated: Counter,
    pub unnumbered: Counter,
    pub foreign: Counter,
    /// Datagrams of flows that the table has no room for.
    pub untracked: Counter,
    pub calls: Counter,
    /// Drops at the socket, as SO_RXQ_OVFL and at last SO_MEMINFO tell them.
    pub dropped: Counter,
    pub errors: ErrorCounters,
    /// When the latest datagram came, CLOCK_MONOTONIC in nanoseconds; 0 for never.
    pub latest_ns: AtomicU64,
}

/// The counters of all workers, added up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub delivered: u64,
    pub bytes: u64,
    pub skipped: u64,
    pub reordered: u64,
    pub duplicated: u64,
    pub unnumbered: u64,
    pub foreign: u64,
    pub untracked: u64,
    pub calls: u64,
    pub dropped: u64,
    pub errors: ErrorTotals,
}

impl Totals {
    /// The sum over `counters`.
    pub fn of(counters: &[Counters]) -> Self {
        let mut totals = Self::default();
        for worker in counters {
            totals.delivered += worker.delivered.value();
            totals.bytes += worker.bytes.value();
            totals.skipped = totals.skipped.saturating_add(worker.skipped.value());
            totals.reordered += worker.reordered.value();
            totals.duplicated += worker.duplicated.value();
            totals.unnumbered += worker.unnumbered.value();
            totals.foreign += worker.foreign.value();
            totals.untracked += worker.untracked.value();
            totals.calls += worker.calls.value();
            totals.dropped += worker.dropped.value();
            totals.errors.add(&worker.errors);
        }
        totals
    }

    /// What came since `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            delivered: self.delivered - before.delivered,
            bytes: self.bytes - before.bytes,
            skipped: self.skipped.saturating_sub(before.skipped),
            reordered: self.reordered - before.reordered,
            duplicated: self.duplicated - before.duplicated,
            unnumbered: self.unnumbered - before.unnumbered,
            foreign: self.foreign - before.foreign,
            untracked: self.untracked - before.untracked,
            calls: self.calls - before.calls,
            dropped: self.dropped - before.dropped,
            errors: self.errors.since(&before.errors),
        }
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.bytes += other.bytes;
        self.skipped = self.skipped.saturating_add(other.skipped);
        self.reordered += other.reordered;
        self.duplicated += other.duplicated;
        self.unnumbered += other.unnumbered;
        self.foreign += other.foreign;
        self.untracked += other.untracked;
        self.calls += other.calls;
        self.dropped += other.dropped;
        self.errors.merge(&other.errors);
    }

    /// Numbers that are missing, less those that came late after all. Whoever makes up numbers can make
    /// any number of them missing: the sum saturates.
    pub fn lost(&self) -> i64 {
        i64::try_from(self.skipped).unwrap_or(i64::MAX).saturating_sub_unsigned(self.reordered)
    }
}

/// What a worker leaves behind.
pub struct Finished {
    /// What it saw after the warm-up.
    pub totals: Totals,
    /// When the first and the latest datagram after the warm-up came, CLOCK_MONOTONIC.
    pub span_ns: Option<(u64, u64)>,
    /// CPU time that its thread used after the warm-up, in nanoseconds.
    pub cpu_ns: u64,
    /// Whether it was still pinned as asked.
    pub pin_held: bool,
    /// Flows seen.
    pub flows: u64,
    /// Flows that were joined too late to judge their begin.
    pub joined_late: u64,
    /// Whether the kernel tells drops at the socket.
    pub knows_drops: bool,
    /// Delays, where they were asked for.
    pub delays: Option<FinishedDelays>,
}

/// One receiving thread's state, complete before the start.
pub struct Receiver<'a> {
    counters: &'a Counters,
    /// Those of all workers: a sink is idle when none of them receives.
    all: &'a [Counters],
    stop: Stop,
    socket: UdpSocket,
    incoming: Incoming,
    flows: Flows,
    delays: Option<DelayMeter>,
    dropped_seen: u32,
    duration_ns: u64,
    warmup_ns: u64,
    idle_ns: u64,
    placement: Placement,
    span_ns: Option<(u64, u64)>,
}

impl<'a> Receiver<'a> {
    /// Faults in the memory of this worker.
    pub fn new(
        config: &SinkConfig,
        worker: crew::Worker,
        socket: UdpSocket,
        delays: Option<DelayMeter>,
        all: &'a [Counters],
        stop: Stop,
    ) -> Self {
        Self {
            counters: &all[worker.index],
            all,
            stop,
            dropped_seen: crate::sys::socket_drops(socket.as_fd()).unwrap_or(0),
            socket,
            incoming: Incoming::new(config.batch_size),
            flows: Flows::new(config.flows_max),
            delays,
            duration_ns: config.duration_ns,
            warmup_ns: config.warmup_ns,
            idle_ns: config.idle_ns.unwrap_or(u64::MAX),
            placement: worker.placement,
            span_ns: None,
        }
    }

    /// Receives from `start_ns` on until the time is over, nothing comes any more, or the stop flag is raised.
    pub fn work(mut self, start_ns: u64) -> Finished {
        let measure_ns = start_ns.saturating_add(self.warmup_ns);
        let warm_cpu_ns = self.run_until(measure_ns);
        let warm_totals = Totals::of(std::slice::from_ref(self.counters));
        self.span_ns = None;
        if let Some(delays) = &mut self.delays {
            delays.begin(measure_ns);
        }
        self.run_until(measure_ns.saturating_add(self.duration_ns));
        self.drain();
        let last_drops = crate::sys::socket_drops(self.socket.as_fd()).ok();
        if let Some(drops) = last_drops {
            self.note_drops(drops);
        }
        Finished {
            totals: Totals::of(std::slice::from_ref(self.counters)).since(&warm_totals),
            span_ns: self.span_ns,
            cpu_ns: clock::thread_cpu_ns() - warm_cpu_ns,
            pin_held: self.placement.holds(),
            flows: self.flows.known().len() as u64,
            joined_late: self.flows.known().iter().filter(|flow| flow.tracker.joined_late()).count() as u64,
            knows_drops: last_drops.is_some(),
            delays: self.delays.map(DelayMeter::finish),
        }
    }

    fn run_until(&mut self, end_ns: u64) -> u64 {
        let mut naps = NAPS;
        let mut now = clock::now_ns();
        while now < end_ns && !self.stop.is_raised() {
            let received = self.incoming.receive(self.socket.as_fd(), naps >= NAPS);
            now = clock::now_ns();
            match received {
                Ok(messages) => {
                    naps = 0;
                    self.take(messages, now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && naps < NAPS => {
                    naps += 1;
                    let _ = clock::sleep_until_ns(now + NAP_NS);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let latest_ns = self.all.iter().map(|worker| worker.latest_ns.load(Relaxed)).max();
                    if latest_ns.is_some_and(|latest| latest > 0 && now.saturating_sub(latest) > self.idle_ns)
                    {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.counters.errors.count(&error, 1),
            }
        }
        clock::thread_cpu_ns()
    }

    /// Takes what had arrived before the end, but had not been read yet.
    fn drain(&mut self) {
        // By its own CPU time: while others have the CPU, nothing is taken.
        let end_ns = clock::thread_cpu_ns() + DRAIN_NS;
        while clock::thread_cpu_ns() < end_ns {
            match self.incoming.receive(self.socket.as_fd(), false) {
                Ok(messages) => self.take(messages, clock::now_ns()),
                Err(_) => break,
            }
        }
    }

    #[inline]
    fn take(&mut self, messages: usize, now: u64) {
        self.counters.calls.add(1);
        let mut batch = Batch::default();
        let mut dropped = None;
        if let Some(delays) = &mut self.delays {
            delays.tick(now);
        }
        for slot in 0..messages {
            let message = self.incoming.message(slot);
            dropped = message.ancillary.dropped.or(dropped);
            batch.take(&message, &mut self.flows, self.delays.as_mut());
        }
        batch.count(self.counters);
        if batch.delivered > 0 {
            self.span_ns = Some((self.span_ns.map_or(now, |(first, _)| first), now));
            self.counters.latest_ns.store(now, Relaxed);
        }
        if let Some(dropped) = dropped {
            self.note_drops(dropped);
        }
    }

    /// Takes the kernel's count of drops, which is modulo 2^32.
    #[inline]
    fn note_drops(&mut self, dropped: u32) {
        self.counters.dropped.add(dropped.wrapping_sub(self.dropped_seen).into());
        self.dropped_seen = dropped;
    }
}

/// Counts of one batch, kept in registers until it is done.
#[derive(Default)]
pub struct Batch {
    pub delivered: u64,
    pub bytes: u64,
    pub skipped: u64,
    pub reordered: u64,
    pub duplicated: u64,
    pub unnumbered: u64,
    pub foreign: u64,
    pub untracked: u64,
}

impl Batch {
    #[inline]
    pub fn take(&mut self, message: &Message<'_>, flows: &mut Flows, mut delays: Option<&mut DelayMeter>) {
        let stride = message.ancillary.stride.map_or(message.payload.len(), |stride| stride as usize).max(1);
        if message.payload.is_empty() {
            self.delivered += 1;
            self.unnumbered += 1;
        }
        for payload in message.payload.chunks(stride) {
            let Parsed::Ours { sequence, intended_ns, origin } = payload::parse(payload) else {
                self.foreign += 1;
                continue;
            };
            self.delivered += 1;
            self.bytes += payload.len() as u64;
            let Some(sequence) = sequence else {
                self.unnumbered += 1;
                continue;
            };
            let Some(flow) = flows.entry(&message.source) else {
                self.untracked += 1;
                continue;
            };
            if let Some(origin) = origin {
                flow.note_run(origin.run);
            }
            match flow.tracker.note(sequence) {
                Arrival::InOrder { skipped } => self.skipped = self.skipped.saturating_add(skipped),
                Arrival::Reordered => self.reordered += 1,
                Arrival::Duplicate => {
                    self.duplicated += 1;
                    continue;
                }
            }
            let stamps = (origin, intended_ns, message.ancillary.received_wall_ns);
            if let (Some(delays), (Some(origin), Some(intended_ns), Some(received_ns))) =
                (&mut delays, stamps)
            {
                delays.note(flow, sequence, intended_ns, origin, received_ns);
            }
        }
    }

    #[inline]
    fn count(&self, counters: &Counters) {
        counters.delivered.add(self.delivered);
        counters.bytes.add(self.bytes);
        if self.skipped | self.reordered | self.duplicated | self.unnumbered | self.foreign | self.untracked
            != 0
        {
            counters.skipped.add(self.skipped);
            counters.reordered.add(self.reordered);
            counters.duplicated.add(self.duplicated);
            counters.unnumbered.add(self.unnumbered);
            counters.foreign.add(self.foreign);
            counters.untracked.add(self.untracked);
        }
    }
}
