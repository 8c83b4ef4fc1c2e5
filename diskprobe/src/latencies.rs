//! The latencies of one stretch of work, and how they get from a worker to the conductor.

use std::sync::Arc;

use meter::{
    Result,
    counter::{Counter, Growth},
    histogram::{HistogramLog, LatencyHistogram},
    relay::{self, Giver, Taker},
};

use crate::{outcome::Amount, worker::Tally};

/// Histograms by the names that fio's users know as slat, clat and lat.
#[derive(Clone, Debug)]
pub struct Latencies {
    /// From the moment an operation was ready until the kernel had taken it.
    pub submission: Box<LatencyHistogram>,
    /// From then until its end was seen.
    pub completion: Box<LatencyHistogram>,
    /// Both together: the service time.
    pub total: Box<LatencyHistogram>,
    /// From the intended start to the end, where a rate gives intended starts.
    pub response: Option<Box<LatencyHistogram>>,
}

impl Latencies {
    /// Empty histograms, their memory touched; one for response times only where `paced`.
    #[must_use]
    pub fn new(paced: bool) -> Self {
        Self::of(LatencyHistogram::new, paced)
    }

    /// Empty histograms for sums outside of hot loops, as [`LatencyHistogram::untouched`].
    #[must_use]
    pub fn untouched(paced: bool) -> Self {
        Self::of(LatencyHistogram::untouched, paced)
    }

    fn of(histogram: impl Fn() -> LatencyHistogram, paced: bool) -> Self {
        let histogram = || Box::new(histogram());
        Self {
            submission: histogram(),
            completion: histogram(),
            total: histogram(),
            response: paced.then(histogram),
        }
    }

    /// All histograms with their names.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &LatencyHistogram)> {
        let always = [
            ("submission_latency", &*self.submission),
            ("completion_latency", &*self.completion),
            ("total_latency", &*self.total),
        ];
        always.into_iter().chain(self.response.as_deref().map(|response| ("response_time", response)))
    }

    fn each_mut(&mut self) -> impl Iterator<Item = &mut Box<LatencyHistogram>> {
        [&mut self.submission, &mut self.completion, &mut self.total].into_iter().chain(&mut self.response)
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (mine, (_, theirs)) in self.each_mut().zip(other.named()) {
            mine.merge(theirs);
        }
    }

    /// Counts a latency of 1 ns in every histogram, for an example with all figures.
    pub fn record_one(&mut self) {
        self.each_mut().for_each(|histogram| histogram.record(1));
    }

    /// Forgets everything; the memory stays.
    pub fn reset(&mut self) {
        self.each_mut().for_each(|histogram| histogram.reset());
    }

    /// Appends all to a histogram log: an interval of `length_ns` that began `offset_ns` after the start.
    ///
    /// # Errors
    /// When the log can't be written.
    pub fn log(&self, log: &mut HistogramLog, offset_ns: u64, length_ns: u64) -> Result<()> {
        self.named().try_for_each(|(name, histogram)| log.append(name, offset_ns, length_ns, histogram))
    }
}

/// What a worker had done when it last handed its histograms over: exactly what they hold.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes transferred in all runs.
    pub bytes: Counter,
    /// Operations done in all runs.
    pub operations: Counter,
    /// Partial transfers in all runs.
    pub short_transfers: Counter,
    /// Nanoseconds of all runs that the above took.
    pub elapsed_ns: Counter,
}

/// Where a worker records: its own histograms, handed over at interval edges where somebody looks on.
#[derive(Debug)]
pub struct Recorder {
    /// What was recorded since the last edge, or since the run began where there are no intervals.
    pub latencies: Latencies,
    givers: Vec<Giver>,
    progress: Arc<Progress>,
    /// The part of the run's tally that `progress` has already.
    told: Amount,
    interval_ns: u64,
    next_edge_ns: u64,
}

/// The conductor's end of a recorder.
#[derive(Debug)]
pub struct Collector {
    takers: Vec<Taker>,
    progress: Arc<Progress>,
    seen: [Growth; 4],
}

impl Recorder {
    /// A recorder, with a collector that gets something at the edges of intervals.
    #[must_use]
    pub fn new(paced: bool, interval_ns: Option<u64>) -> (Self, Collector) {
        Self::with(Latencies::new(paced), interval_ns)
    }

    /// A recorder of work that nobody asks about.
    #[must_use]
    pub fn unread() -> Self {
        Self::with(Latencies::untouched(false), None).0
    }

    fn with(latencies: Latencies, interval_ns: Option<u64>) -> (Self, Collector) {
        let pairs = latencies.named().filter(|_| interval_ns.is_some()).map(|_| relay::pair());
        let (givers, takers) = pairs.unzip();
        let progress = Arc::<Progress>::default();
        let collector = Collector { takers, progress: Arc::clone(&progress), seen: Default::default() };
        let interval_ns = interval_ns.unwrap_or(u64::MAX);
        let told = Amount::default();
        (Self { latencies, givers, progress, told, interval_ns, next_edge_ns: u64::MAX }, collector)
    }

    /// A run begins at `begin_ns`.
    pub fn begin(&mut self, begin_ns: u64) {
        self.latencies.reset();
        self.told = Amount::default();
        self.next_edge_ns = begin_ns.saturating_add(self.interval_ns);
    }

    /// Hands over what was recorded when an interval has ended with the last completion of `tally`.
    #[inline]
    pub fn look(&mut self, tally: &Tally) {
        if tally.end_ns >= self.next_edge_ns {
            self.hand_over(tally);
        }
    }

    /// The run has ended: what is left stays in [`Self::latencies`], where the conductor finds it.
    pub fn end(&mut self, tally: &Tally) {
        self.tell(tally);
    }

    #[cold]
    fn hand_over(&mut self, tally: &Tally) {
        let late_ns = tally.end_ns - self.next_edge_ns;
        self.next_edge_ns += (late_ns / self.interval_ns + 1).saturating_mul(self.interval_ns);
        let mut given = false;
        for (giver, histogram) in self.givers.iter_mut().zip(self.latencies.each_mut()) {
            given = giver.exchange(histogram);
        }
        // While the conductor still holds the last ones the interval simply goes on.
        if given {
            self.tell(tally);
        }
    }

    fn tell(&mut self, tally: &Tally) {
        let amount = Amount::of(tally);
        self.progress.bytes.add(amount.bytes - self.told.bytes);
        self.progress.operations.add(amount.operations - self.told.operations);
        self.progress.short_transfers.add(amount.short_transfers - self.told.short_transfers);
        self.progress.elapsed_ns.add(amount.elapsed_ns - self.told.elapsed_ns);
        self.told = amount;
    }
}

impl Collector {
    /// Whether the worker has handed something over since the last call of [`Self::collect`].
    #[must_use]
    pub fn has_news(&self) -> bool {
        let [.., mut elapsed_ns] = self.seen;
        elapsed_ns.of(self.progress.elapsed_ns.value()) > 0
    }

    /// Adds to `sum` what the worker has handed over since the last call, and gives how much that is.
    pub fn collect(&mut self, sum: &mut Latencies) -> Amount {
        for (taker, histogram) in self.takers.iter_mut().zip(sum.each_mut()) {
            taker.collect(histogram);
        }
        let progress = &self.progress;
        let [bytes, operations, short_transfers, elapsed_ns] = &mut self.seen;
        Amount {
            bytes: bytes.of(progress.bytes.value()),
            operations: operations.of(progress.operations.value()),
            short_transfers: short_transfers.of(progress.short_transfers.value()),
            elapsed_ns: elapsed_ns.of(progress.elapsed_ns.value()),
            in_flight_ns: 0,
        }
    }
}
