//! What a worker records, and how it gets to the conductor: the runtime's recorders, with the counts that belong to
//! the histograms handed over together with them.

use std::cell::Cell;

use meter::{histogram::LatencyHistogram, relay::Recording, runtime};

use crate::{latencies::Latencies, tally::Amount};

/// What was done, with its latencies.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// How long operations took.
    pub latencies: Latencies,
    /// What they did; its times are not recorded.
    pub amount: Amount,
}

impl Recorded {
    fn new(latencies: Latencies) -> Self {
        Self { latencies, amount: Amount::default() }
    }
}

impl Recording for Recorded {
    fn merge(&mut self, other: &Self) {
        self.latencies.merge(&other.latencies);
        self.amount.add(&other.amount);
    }

    fn reset(&mut self) {
        self.latencies.reset();
        self.amount = Amount::default();
    }

    fn histograms(&self) -> Vec<&LatencyHistogram> {
        self.latencies.named().map(|(_, histogram)| histogram).collect()
    }
}

/// A worker's end.
pub type Recorder = runtime::Recorder<Recorded>;
/// The conductor's end.
pub type Collector = runtime::Collector<Recorded>;

/// Recorders for `workers`, with histograms of response times where they are `paced`, which hand over in
/// each interval.
#[must_use]
pub fn recorders(workers: usize, paced: bool, interval_ns: Option<u64>) -> (Vec<Recorder>, Collector) {
    // Those that workers record into come first. Sums of them are touched when something is added to them: where nobody
    // looks at intervals there are none.
    let by_workers = Cell::new(if interval_ns.is_some() { 2 * workers } else { workers });
    runtime::recorders(workers, interval_ns, || {
        let touched = by_workers.get() > 0;
        by_workers.set(by_workers.get().saturating_sub(1));
        Recorded::new(if touched { Latencies::new(paced) } else { Latencies::untouched(paced) })
    })
}

/// A recorder of work that nobody asks about.
///
/// # Panics
/// Never: there is one for the one worker.
#[must_use]
pub fn unread() -> Recorder {
    let (mut recorders, _) = runtime::recorders(1, None, || Recorded::new(Latencies::untouched(false)));
    recorders.pop().expect("one worker has one recorder")
}
