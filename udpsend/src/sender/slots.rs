//! The datagrams whose turn it is: their intended times, sizes and numbers, and those that wait to be taken.

use meter::{clock, control::Stop, pacer::Schedule, wait::Waiter};

use crate::{
    load::Load,
    method::transmit::{Datagram, Returned},
    sender::config::SendConfig,
    sizes::SizeSequence,
};

/// Most random slots that are drawn in one go to be given up: so many take some 20 ms.
const DRAWN_MAX: u64 = 1 << 20;
/// Longest wait for a slot before the caller looks at its intervals and the stop flag, in nanoseconds.
const LOOK_NS: u64 = 20_000_000;

/// When a worker's slots come.
enum Timing {
    Unlimited,
    Paced {
        schedule: Schedule,
        /// This worker's first slot, in nanoseconds after the common start.
        offset_ns: u64,
        waiter: Waiter,
        drawn_max: u64,
        /// Mean rate of this worker, in slots per nanosecond.
        per_ns: f64,
    },
}

/// One worker's slots. Those in its front row, the batch, are all of one flow.
pub struct Slots {
    timing: Timing,
    /// The schedule's zero, CLOCK_MONOTONIC.
    zero_ns: u64,
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
    catch_up_ns: u64,
    /// How long before its intended time a datagram is handed over.
    lead_ns: u64,
    look_ns: u64,
    /// When slots were put into the batch last.
    filled_ns: u64,
}

impl Slots {
    /// The slots of worker `index` of `of`, over so many `flows` and in batches of `batch_size`. Calibrates its
    /// waiting: call it on the worker's thread.
    pub fn new(config: &SendConfig, (index, of): (usize, usize), flows: usize, batch_size: usize) -> Self {
        let timing = match &config.load {
            Load::Unlimited => Timing::Unlimited,
            Load::Paced(pace) => {
                let (schedule, offset_ns) = pace.schedule(index, of, config.seed);
                Timing::Paced {
                    schedule,
                    offset_ns,
                    waiter: Waiter::calibrate(),
                    drawn_max: if pace.poisson { DRAWN_MAX } else { u64::MAX },
                    per_ns: pace.pps() / 1e9 / of as f64,
                }
            }
        };
        let share = |limit: Option<u64>| {
            let (index, of) = (index as u64, of as u64);
            limit.map_or(u64::MAX, |limit| limit / of + u64::from(index < limit % of))
        };
        Self {
            timing,
            zero_ns: 0,
            sizes: config.sizes.sequence(config.seed.wrapping_add(index as u64)),
            sequences: vec![0; flows],
            flow: 0,
            batch: vec![Datagram::default(); batch_size],
            pending: 0,
            datagrams_left: share(config.limit.datagrams),
            bytes_left: share(config.limit.bytes),
            catch_up_ns: config.catch_up_ns,
            lead_ns: config.socket.launch_lead_ns.unwrap_or(0),
            look_ns: config.interval_ns.map_or(LOOK_NS, |interval_ns| LOOK_NS.min(interval_ns / 2)),
            filled_ns: 0,
        }
    }

    /// The schedule begins at `start_ns`.
    pub fn begin(&mut self, start_ns: u64) {
        let offset_ns = if let Timing::Paced { offset_ns, .. } = &self.timing { *offset_ns } else { 0 };
        (self.zero_ns, self.filled_ns) = (start_ns.saturating_add(offset_ns), start_ns.saturating_sub(1));
    }

    /// Whether there is a schedule.
    pub fn are_paced(&self) -> bool {
        matches!(self.timing, Timing::Paced { .. })
    }

    /// Whether as many datagrams or bytes as were asked for have been put into batches.
    pub fn are_used_up(&self) -> bool {
        self.datagrams_left == 0 || self.bytes_left == 0
    }

    /// The flow of the batch.
    #[inline]
    pub fn flow(&self) -> usize {
        self.flow
    }

    /// The datagrams that wait.
    #[inline]
    pub fn batch(&self) -> &[Datagram] {
        &self.batch[..self.pending]
    }

    /// Waits for the next slot unless datagrams wait already, until `end_ns` at most; gives the time it is then. It
    /// may be early: a look at intervals and stop flag comes in between.
    #[inline]
    pub fn wait(&self, end_ns: u64, stop: &Stop) -> u64 {
        match &self.timing {
            Timing::Paced { schedule, waiter, .. } if self.pending == 0 => {
                let due_ns = self.zero_ns.saturating_add(schedule.peek()).min(end_ns);
                let look_ns = clock::now_ns().saturating_add(self.look_ns);
                if due_ns > look_ns.saturating_add(waiter.margin_ns) {
                    // A sleep that a signal cuts short is a look, too.
                    let _ = clock::sleep_until_ns(look_ns);
                    return clock::now_ns();
                }
                waiter.until(due_ns, stop)
            }
            _ => clock::now_ns(),
        }
    }

    /// Puts the slots that are due into the batch, behind those that wait, and gives how many were too late and
    /// are given up. Slots at or after `end_ns` stay.
    #[inline]
    pub fn fill(&mut self, now: u64, end_ns: u64) -> u64 {
        let mut missed = 0;
        self.filled_ns = now;
        while self.pending < self.batch.len() && self.datagrams_left > 0 && self.bytes_left > 0 {
            let intended_ns = match &mut self.timing {
                Timing::Unlimited => now,
                Timing::Paced { schedule, drawn_max, .. } => {
                    let mut due = self.zero_ns.saturating_add(schedule.peek());
                    if now.saturating_sub(due) > self.catch_up_ns {
                        let bound = (now - self.catch_up_ns).min(end_ns);
                        missed += schedule.skip_until(bound.saturating_sub(self.zero_ns), *drawn_max);
                        due = self.zero_ns.saturating_add(schedule.peek());
                    }
                    if due > now || due >= end_ns || now.saturating_sub(due) > self.catch_up_ns {
                        break;
                    }
                    schedule.take();
                    due.saturating_add(self.lead_ns)
                }
            };
            let size = self.sizes.take();
            let datagram = Datagram { sequence: self.sequences[self.flow], intended_ns, size };
            self.sequences[self.flow] += u64::from(datagram.is_numbered());
            self.batch[self.pending] = datagram;
            self.pending += 1;
            self.datagrams_left -= 1;
            self.bytes_left = self.bytes_left.saturating_sub(size.into());
        }
        missed
    }

    /// How late each of the first `count` datagrams of the batch is when it is handed over at `now`.
    #[inline]
    pub fn lateness(&self, count: usize, now: u64) -> impl Iterator<Item = u64> {
        let now = now + self.lead_ns;
        self.batch[..count].iter().map(move |datagram| now.saturating_sub(datagram.intended_ns))
    }

    /// The first `count` datagrams of the batch are done with; numbers that come back go to the next ones.
    #[inline]
    pub fn done(&mut self, count: usize, returned: Option<Returned>) {
        if count < self.pending {
            self.batch.copy_within(count..self.pending, 0);
        }
        self.pending -= count;
        if let Some(returned) = returned {
            self.take_back(returned.flow, returned.numbers);
        }
        self.next_flow();
    }

    /// Gives up datagrams at the front that have become too late while they waited, and says how many.
    #[inline]
    pub fn expire(&mut self, now: u64) -> u64 {
        let is_late = |datagram: &Datagram| {
            (now + self.lead_ns).saturating_sub(datagram.intended_ns) > self.catch_up_ns
        };
        if !self.are_paced() || !self.batch().first().is_some_and(is_late) {
            return 0;
        }
        let late = self.batch().iter().take_while(|datagram| is_late(datagram)).count();
        // Others may be sent in their place.
        let bytes: u64 = self.batch[..late].iter().map(|datagram| u64::from(datagram.size)).sum();
        self.datagrams_left = self.datagrams_left.saturating_add(late as u64);
        self.bytes_left = self.bytes_left.saturating_add(bytes);
        self.drop_front(late);
        late as u64
    }

    /// Gives up the datagram at the front.
    pub fn drop_first(&mut self) {
        self.drop_front(self.pending.min(1));
    }

    /// Gives up what waits and every slot before `end_ns`, and says how many those are: what was not sent. A run
    /// that is `stopped` owes no slot that came after the last look. Without a schedule nothing is owed.
    pub fn give_up(&mut self, end_ns: u64, stopped: bool) -> u64 {
        let waited = self.pending;
        self.drop_front(waited);
        let filled_ns = self.filled_ns.saturating_add(1);
        let until_ns = if stopped { end_ns.min(filled_ns) } else { end_ns };
        let owed_max = if self.bytes_left == 0 { 0 } else { self.datagrams_left };
        let Timing::Paced { schedule, drawn_max, per_ns, .. } = &mut self.timing else {
            return 0;
        };
        let until_ns = until_ns.saturating_sub(self.zero_ns);
        let owed = schedule.skip_until(until_ns, *drawn_max);
        // More random slots than can be drawn in time: their mean number.
        let rest_ns = until_ns.saturating_sub(schedule.peek());
        let owed = owed.saturating_add((rest_ns as f64 * *per_ns) as u64);
        owed.min(owed_max).saturating_add(waited as u64)
    }

    #[cold]
    fn drop_front(&mut self, count: usize) {
        let dropped = &self.batch[..count];
        let numbers = dropped.iter().filter(|datagram| datagram.is_numbered()).count() as u64;
        self.batch.copy_within(count..self.pending, 0);
        self.pending -= count;
        self.take_back(self.flow, numbers);
        self.next_flow();
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

    #[inline]
    fn next_flow(&mut self) {
        if self.pending == 0 {
            self.flow = if self.flow + 1 == self.sequences.len() { 0 } else { self.flow + 1 };
        }
    }
}
