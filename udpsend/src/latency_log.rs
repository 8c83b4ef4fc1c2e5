//! Latencies on their way from the workers to the summary and the histogram log, interval by interval.

use std::path::Path;

use meter::{
    Result,
    histogram::{HistogramLog, LatencyHistogram},
    relay::{self, Giver, Taker},
};

/// A worker's end: a histogram of its own, given to the conductor at each interval's edge.
pub struct Recorder {
    active: Box<LatencyHistogram>,
    giver: Option<Giver>,
    interval_ns: u64,
    next_ns: u64,
    /// The latest value and how often it came in a row, not in the histogram yet: the datagrams of one
    /// batch often share one.
    latest: u64,
    repeats: u64,
}

impl Recorder {
    /// Counts one latency, in nanoseconds.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        if ns != self.latest {
            self.settle();
            self.latest = ns;
        }
        self.repeats += 1;
    }

    /// To be called with the time now and then: gives the histogram away when an interval is over.
    #[inline]
    pub fn tick(&mut self, now_ns: u64) {
        if now_ns < self.next_ns {
            return;
        }
        self.settle();
        if let Some(giver) = &mut self.giver {
            giver.exchange(&mut self.active);
        }
        self.next_ns = self.next_ns.saturating_add(self.interval_ns);
    }

    /// Forgets everything and begins at `start_ns`, the begin of the first interval.
    pub fn begin(&mut self, start_ns: u64) {
        self.repeats = 0;
        self.active.reset();
        self.next_ns = start_ns.saturating_add(self.interval_ns);
    }

    /// What was not given away.
    #[must_use]
    pub fn finish(mut self) -> Box<LatencyHistogram> {
        self.settle();
        self.active
    }

    #[inline]
    fn settle(&mut self) {
        if self.repeats > 0 {
            self.active.record_many(self.latest, self.repeats);
            self.repeats = 0;
        }
    }
}

/// The conductor's end: adds up what the workers give, and writes it to the histogram log.
pub struct Collector {
    tag: &'static str,
    log: Option<HistogramLog>,
    takers: Vec<Taker>,
    interval: LatencyHistogram,
    total: LatencyHistogram,
    start_ns: u64,
    logged_ns: u64,
}

impl Collector {
    /// Both ends for `workers` of them; with `hlog` the file is created, and with an interval too it
    /// gets a line for each.
    ///
    /// # Errors
    /// When the file can't be created.
    pub fn new(
        tag: &'static str,
        hlog: Option<&Path>,
        interval_ns: Option<u64>,
        workers: usize,
    ) -> Result<(Vec<Recorder>, Self)> {
        let log = hlog.map(HistogramLog::create).transpose()?;
        let mut takers = Vec::new();
        let recorders = (0..workers)
            .map(|_| {
                let giver = (log.is_some() && interval_ns.is_some()).then(|| {
                    let (giver, taker) = relay::pair();
                    takers.push(taker);
                    giver
                });
                let interval_ns = interval_ns.unwrap_or(u64::MAX);
                Recorder {
                    active: Box::default(),
                    giver,
                    interval_ns,
                    next_ns: u64::MAX,
                    latest: 0,
                    repeats: 0,
                }
            })
            .collect();
        let (interval, total) = (LatencyHistogram::new(), LatencyHistogram::new());
        Ok((recorders, Self { tag, log, takers, interval, total, start_ns: 0, logged_ns: 0 }))
    }

    /// The measurement begins at `start_ns`.
    pub fn begin(&mut self, start_ns: u64) {
        (self.start_ns, self.logged_ns) = (start_ns, start_ns);
    }

    /// An interval has ended at `end_ns`.
    ///
    /// # Errors
    /// When the log can't be written.
    pub fn edge(&mut self, end_ns: u64) -> Result<()> {
        for taker in &mut self.takers {
            taker.collect(&mut self.interval);
        }
        self.flush(end_ns)
    }

    /// All workers have ended by `end_ns` and left `rest`; gives everything together.
    ///
    /// # Errors
    /// When the log can't be written.
    pub fn finish<'a>(
        mut self,
        rest: impl Iterator<Item = &'a LatencyHistogram>,
        end_ns: u64,
    ) -> Result<LatencyHistogram> {
        for taker in &mut self.takers {
            taker.collect(&mut self.interval);
        }
        rest.for_each(|histogram| self.interval.merge(histogram));
        self.flush(end_ns)?;
        Ok(self.total)
    }

    fn flush(&mut self, end_ns: u64) -> Result<()> {
        if self.interval.count() == 0 {
            return Ok(());
        }
        if let Some(log) = &mut self.log {
            let length_ns = end_ns.saturating_sub(self.logged_ns);
            log.append(self.tag, self.logged_ns.saturating_sub(self.start_ns), length_ns, &self.interval)?;
            self.logged_ns = end_ns;
        }
        self.total.merge(&self.interval);
        self.interval.reset();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_on_the_way_to_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.hlog");
        let (mut recorders, mut collector) = Collector::new("delay", Some(&path), Some(10), 2).unwrap();
        collector.begin(100);
        recorders.iter_mut().for_each(|recorder| recorder.begin(100));
        for now in 100..130 {
            for recorder in &mut recorders {
                recorder.record(now / 3);
                recorder.tick(now);
            }
            collector.edge(now).unwrap();
        }
        let rest: Vec<_> = recorders.into_iter().map(Recorder::finish).collect();
        let total = collector.finish(rest.iter().map(|histogram| &**histogram), 130).unwrap();
        assert_eq!(total.count(), 60);
        let lines = std::fs::read_to_string(&path).unwrap();
        assert!(lines.matches("Tag=delay").count() >= 3, "{lines}");
    }
}
