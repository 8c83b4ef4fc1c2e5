//! The latencies of one stretch of work.

use meter::histogram::LatencyHistogram;

/// What the histograms are called in records and logs, in their order; the last one needs a rate.
pub const NAMES: [&str; 4] = ["submission_latency", "completion_latency", "total_latency", "response_time"];

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
        let always = [&*self.submission, &*self.completion, &*self.total];
        NAMES.into_iter().zip(always.into_iter().chain(self.response.as_deref()))
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
}
