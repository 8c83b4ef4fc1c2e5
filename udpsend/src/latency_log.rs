//! Latencies of datagrams, recorded batch by batch.

use meter::{histogram::LatencyHistogram, runtime::Recorder};

/// Equal latencies in a row, counted once: the datagrams of one batch often share one.
#[derive(Debug, Default)]
pub struct Repeats {
    /// The latest value and how often it came in a row, not in the histogram yet.
    latest: u64,
    count: u64,
}

impl Repeats {
    /// Counts one latency, in nanoseconds; those before it may go to `histogram`.
    #[inline]
    pub fn record(&mut self, ns: u64, histogram: &mut LatencyHistogram) {
        if ns != self.latest {
            self.settle(histogram);
            self.latest = ns;
        }
        self.count += 1;
    }

    /// Puts what was counted into `histogram`.
    #[inline]
    pub fn settle(&mut self, histogram: &mut LatencyHistogram) {
        if self.count > 0 {
            histogram.record_many(self.latest, self.count);
            self.count = 0;
        }
    }

    /// Forgets what was counted.
    pub fn reset(&mut self) {
        self.count = 0;
    }
}

/// A worker's recorder for batches of datagrams.
pub struct BatchRecorder {
    recorder: Recorder<LatencyHistogram>,
    repeats: Repeats,
}

impl BatchRecorder {
    /// Records into `recorder`.
    #[must_use]
    pub fn new(recorder: Recorder<LatencyHistogram>) -> Self {
        Self { recorder, repeats: Repeats::default() }
    }

    /// Counts one latency, in nanoseconds.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.repeats.record(ns, &mut self.recorder.active);
    }

    /// As [`Recorder::tick`].
    #[inline]
    pub fn tick(&mut self, now_ns: u64) {
        self.repeats.settle(&mut self.recorder.active);
        self.recorder.tick(now_ns);
    }

    /// As [`Recorder::begin`].
    pub fn begin(&mut self, from_ns: u64) {
        self.repeats.reset();
        self.recorder.begin(from_ns);
    }

    /// As [`Recorder::finish`].
    #[must_use]
    pub fn finish(mut self) -> Box<LatencyHistogram> {
        self.repeats.settle(&mut self.recorder.active);
        self.recorder.finish()
    }
}

#[cfg(test)]
mod tests {
    use meter::runtime::{Intervals, recorders};

    use super::*;

    #[test]
    fn nothing_is_lost_on_the_way_to_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.hlog");
        let (recorders, collector) = recorders(2, Some(10), LatencyHistogram::new);
        let mut collector = collector.logging(Some(&path), &["delay"]).unwrap();
        let mut intervals = Intervals::new(100, Some(10), 130);
        collector.begin(100);
        let mut recorders: Vec<_> = recorders.into_iter().map(BatchRecorder::new).collect();
        recorders.iter_mut().for_each(|recorder| recorder.begin(100));
        for now in 100..130 {
            for recorder in &mut recorders {
                recorder.tick(now);
                recorder.record(now / 3);
            }
            if now % 10 == 0 && now > 100 {
                collector.collect(&intervals.end(now), []).unwrap();
            }
        }
        let rest: Vec<_> = recorders.into_iter().map(BatchRecorder::finish).collect();
        collector.collect(&intervals.finish(130), rest.iter().map(|histogram| &**histogram)).unwrap();
        assert_eq!(collector.total().count(), 60);
        let lines = std::fs::read_to_string(&path).unwrap();
        assert_eq!(lines.matches("Tag=delay").count(), 3, "{lines}");
    }
}
