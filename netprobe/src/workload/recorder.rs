//! Where a worker notes its transactions: only those of the measured time, without lock or allocation.

use meter::{
    histogram::LatencyHistogram,
    relay::Recording,
    runtime::{self, Collector},
};

/// The measured time, in nanoseconds of CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Its begin: the end of the warm-up.
    pub from_ns: u64,
    /// Its end.
    pub until_ns: u64,
}

/// Latencies of transactions.
#[derive(Debug)]
pub struct Latencies {
    /// From the sending of a request to the end of its response.
    pub service: LatencyHistogram,
    /// From its intended time; empty in a closed loop.
    pub response: LatencyHistogram,
}

impl Latencies {
    /// Empty histograms for sums.
    #[must_use]
    pub fn new() -> Self {
        Self { service: LatencyHistogram::untouched(), response: LatencyHistogram::untouched() }
    }

    /// Empty histograms for a worker: the memory of those that it uses is touched.
    fn touched(paced: bool) -> Self {
        let response = if paced { LatencyHistogram::new() } else { LatencyHistogram::untouched() };
        Self { service: LatencyHistogram::new(), response }
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.service.merge(&other.service);
        if other.response.count() > 0 {
            self.response.merge(&other.response);
        }
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.service.reset();
        if self.response.count() > 0 {
            self.response.reset();
        }
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl Recording for Latencies {
    fn merge(&mut self, other: &Self) {
        Self::merge(self, other);
    }

    fn reset(&mut self) {
        Self::reset(self);
    }

    fn histograms(&self) -> Vec<&LatencyHistogram> {
        vec![&self.service, &self.response]
    }
}

/// Recorders for the workers of a loop, with response times where it is `paced`, and the conductor's end.
#[must_use]
pub fn recorders(
    workers: usize,
    paced: bool,
    interval_ns: Option<u64>,
) -> (Vec<Recorder>, Collector<Latencies>) {
    let (recorders, collector) = runtime::recorders(workers, interval_ns, || Latencies::touched(paced));
    let measured = Measured { from_ns: 0, until_ns: 0 };
    let recorder = |recorder| Recorder { measured, paced, recorder };
    (recorders.into_iter().map(recorder).collect(), collector)
}

/// Notes the transactions of one worker.
#[derive(Debug)]
pub struct Recorder {
    /// The measured time.
    pub measured: Measured,
    paced: bool,
    recorder: runtime::Recorder<Latencies>,
}

impl Recorder {
    /// The measured time will be this.
    pub fn begin(&mut self, measured: Measured) {
        self.measured = measured;
        self.recorder.begin(measured.from_ns);
    }

    /// Notes a transaction of a closed loop, from the sending of its request to the end of its response;
    /// one that begins before the measured time or ends after it is left out.
    #[inline]
    pub fn closed(&mut self, begun_ns: u64, ended_ns: u64) {
        self.recorder.tick(ended_ns);
        if begun_ns >= self.measured.from_ns && ended_ns <= self.measured.until_ns {
            self.recorder.active.service.record(ended_ns - begun_ns);
        }
    }

    /// Notes a transaction of either kind of loop: a paced one keeps response times, a closed one has none.
    #[inline]
    pub fn note(&mut self, intended_ns: u64, begun_ns: u64, ended_ns: u64) {
        if self.paced {
            self.paced(intended_ns, begun_ns, ended_ns);
        } else {
            self.closed(begun_ns, ended_ns);
        }
    }

    /// Notes a transaction of a paced loop: it belongs to the measured time if it was meant to begin in it.
    #[inline]
    fn paced(&mut self, intended_ns: u64, begun_ns: u64, ended_ns: u64) {
        self.recorder.tick(ended_ns);
        if intended_ns >= self.measured.from_ns && intended_ns < self.measured.until_ns {
            self.recorder.active.service.record(ended_ns - begun_ns);
            self.recorder.active.response.record(ended_ns.saturating_sub(intended_ns));
        }
    }

    /// What has not been handed to the conductor.
    #[must_use]
    pub fn into_rest(self) -> Box<Latencies> {
        self.recorder.finish()
    }
}
