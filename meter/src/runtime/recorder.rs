//! From the workers' recordings to each interval, to the whole and to the histogram log.

use std::path::Path;

use super::Interval;
use crate::{
    Result,
    histogram::HistogramLog,
    relay::{self, Giver, Recording, Taker},
};

/// The worker's end: a recording of its own, handed over at each interval edge.
#[derive(Debug)]
pub struct Recorder<T> {
    /// What was recorded since the last hand-over. Its memory was touched at the set-up.
    pub active: Box<T>,
    giver: Option<Giver<T>>,
    interval_ns: u64,
    next_ns: u64,
}

impl<T: Recording> Recorder<T> {
    /// The measured time begins at `from_ns`: forgets what the warm-up recorded. Nothing is handed over before.
    pub fn begin(&mut self, from_ns: u64) {
        self.active.reset();
        self.next_ns = from_ns.saturating_add(self.interval_ns);
    }

    /// To be called with the time before something of that time is recorded: hands over what came before
    /// an edge that has passed. A worker that will record nothing before some later time may call it with
    /// that time before it sleeps.
    #[inline]
    pub fn tick(&mut self, now_ns: u64) {
        if now_ns >= self.next_ns {
            self.hand_over(now_ns);
        }
    }

    #[cold]
    fn hand_over(&mut self, now_ns: u64) {
        if let Some(giver) = &mut self.giver {
            // While the conductor has not taken the last one, the interval simply goes on.
            giver.exchange(&mut self.active);
        }
        let passed = (now_ns - self.next_ns) / self.interval_ns + 1;
        self.next_ns = self.next_ns.saturating_add(passed.saturating_mul(self.interval_ns));
    }

    /// What was not handed over, for the final collect. The conductor waits for this worker no longer.
    #[must_use]
    pub fn finish(self) -> Box<T> {
        self.active
    }
}

/// The conductor's end: adds up what the workers hand over, interval by interval, and writes the log.
pub struct Collector<T> {
    takers: Vec<Taker<T>>,
    interval: T,
    total: T,
    /// Each worker's total, where they are kept.
    workers: Vec<T>,
    log: Option<(HistogramLog, &'static [&'static str])>,
    zero_ns: u64,
    hands_over: bool,
}

/// Recorders for `workers` and their collector, of recordings that `empty` makes, memory touched. Recordings
/// are handed over where there is an interval; else all comes with the final collect.
#[must_use]
pub fn recorders<T: Recording>(
    workers: usize,
    interval_ns: Option<u64>,
    empty: impl Fn() -> T,
) -> (Vec<Recorder<T>>, Collector<T>) {
    let (mut recorders, mut takers) = (Vec::with_capacity(workers), Vec::with_capacity(workers));
    for _ in 0..workers {
        let (giver, taker) = interval_ns.map(|_| relay::pair_with(empty())).unzip();
        takers.extend(taker);
        recorders.push(Recorder {
            active: Box::new(empty()),
            giver,
            interval_ns: interval_ns.unwrap_or(u64::MAX).max(1),
            next_ns: u64::MAX,
        });
    }
    let hands_over = interval_ns.is_some();
    let (interval, total) = (empty(), empty());
    (recorders, Collector { takers, interval, total, workers: Vec::new(), log: None, zero_ns: 0, hands_over })
}

impl<T: Recording> Collector<T> {
    /// Keeps the total of each of `workers`, too.
    #[must_use]
    pub fn keeping_workers(mut self, workers: usize, empty: impl Fn() -> T) -> Self {
        self.workers = (0..workers).map(|_| empty()).collect();
        self
    }

    /// Writes each interval to a histogram log: one line for each histogram of the recording, under `tags` in
    /// their order.
    ///
    /// # Errors
    /// When the file can't be created.
    pub fn logging(mut self, path: Option<&Path>, tags: &'static [&'static str]) -> Result<Self> {
        self.log = path.map(HistogramLog::create).transpose()?.map(|log| (log, tags));
        Ok(self)
    }

    /// The log's zero: the begin of the measured time, or of the first of several.
    pub fn begin(&mut self, zero_ns: u64) {
        self.zero_ns = zero_ns;
    }

    /// Forgets the totals and what still lies between the threads: the next of several runs begins.
    pub fn reset(&mut self) {
        for taker in &mut self.takers {
            taker.take(|_| {});
        }
        self.workers.iter_mut().for_each(T::reset);
        self.total.reset();
    }

    /// Whether a worker that still works has handed nothing over since the last collect.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.hands_over && self.takers.iter().any(Taker::is_waiting)
    }

    /// Collects what came in `interval`: what the workers handed over and, in the final collect, the `rest` of
    /// each in their order. Gives it, and adds it to the total and to the log.
    ///
    /// # Errors
    /// When the log can't be written.
    pub fn collect<'a>(&mut self, interval: &Interval, rest: impl IntoIterator<Item = &'a T>) -> Result<&T>
    where
        T: 'a,
    {
        self.interval.reset();
        for (index, taker) in self.takers.iter_mut().enumerate() {
            taker.take(|given| {
                self.interval.merge(given);
                if let Some(worker) = self.workers.get_mut(index) {
                    worker.merge(given);
                }
            });
        }
        for (index, rest) in rest.into_iter().enumerate() {
            self.interval.merge(rest);
            if let Some(worker) = self.workers.get_mut(index) {
                worker.merge(rest);
            }
        }
        self.total.merge(&self.interval);
        if let Some((log, tags)) = &mut self.log {
            let offset_ns = interval.from_ns.saturating_sub(self.zero_ns);
            for (tag, histogram) in tags.iter().zip(self.interval.histograms()) {
                log.append(tag, offset_ns, interval.elapsed_ns(), histogram)?;
            }
        }
        Ok(&self.interval)
    }

    /// Everything collected so far.
    #[must_use]
    pub fn total(&self) -> &T {
        &self.total
    }

    /// The total of one worker, where [`Collector::keeping_workers`] was asked for.
    #[must_use]
    pub fn worker_total(&self, index: usize) -> Option<&T> {
        self.workers.get(index)
    }
}
