//! Intervals within a run: what the workers did since the last look.

use meter::{
    Result, clock,
    histogram::HistogramLog,
    interrupts::{InterruptMeter, Sources},
    usage::UsageMeter,
};

use crate::{
    config::Config,
    latencies::{Collector, Latencies},
    outcome::{Amount, Sample},
    totals::Measured,
};

/// How long after an interval's end the conductor looks: the worker hands over with the first
/// completion that comes after it.
const GRACE_NS: u64 = 1_000_000;
/// How long it waits for that at most: a device or a CPU that is busy with others is late, and only what
/// is later stands still.
const PATIENCE_NS: u64 = 200_000_000;

/// The intervals of one run.
pub struct Intervals {
    run: u32,
    number: u32,
    length_ns: u64,
    /// When the run's first interval began.
    begin_ns: u64,
    /// When the last look was.
    looked_ns: u64,
    sources: Sources,
    interrupts: InterruptMeter,
    usage: UsageMeter,
    cpus: Vec<usize>,
    latencies: Latencies,
    /// Latencies of all intervals so far.
    pub run_latencies: Latencies,
}

impl Intervals {
    /// Begins the first interval of run number `run`; `None` where no intervals are asked for.
    ///
    /// # Errors
    /// When the interrupts can't be read.
    pub fn begin(
        config: &Config,
        run: u32,
        sources: Sources,
        collectors: &mut [Collector],
    ) -> Result<Option<Self>> {
        let Some(length_ns) = config.interval_ns else { return Ok(None) };
        let mut intervals = Self {
            run,
            number: 0,
            length_ns,
            begin_ns: 0,
            looked_ns: 0,
            interrupts: InterruptMeter::start(sources.clone())?,
            sources,
            usage: UsageMeter::start(config.cpus.cpus()),
            cpus: config.cpus.cpus().to_vec(),
            latencies: Latencies::untouched(config.is_paced()),
            run_latencies: Latencies::untouched(config.is_paced()),
        };
        // What a warm-up or a verification left behind.
        for collector in collectors {
            collector.collect(&mut intervals.latencies);
        }
        intervals.begin_ns = clock::now_ns();
        intervals.looked_ns = intervals.begin_ns;
        Ok(Some(intervals))
    }

    /// How long until the present interval is to be looked at, in nanoseconds; what it is to be asked again
    /// then, for workers that are late get a little more time.
    #[must_use]
    pub fn time_left_ns(&self, collectors: &[Collector]) -> u64 {
        let grace_ns = GRACE_NS.min(self.length_ns / 4);
        let end_ns = self.begin_ns + self.length_ns * (u64::from(self.number) + 1);
        let now_ns = clock::now_ns();
        match (end_ns + grace_ns).saturating_sub(now_ns) {
            0 if now_ns < end_ns + PATIENCE_NS.min(self.length_ns / 2)
                && !collectors.iter().all(Collector::has_news) =>
            {
                grace_ns
            }
            left_ns => left_ns,
        }
    }

    /// Ends the interval and gives its sample; begins the next. After the run `rest` is what the workers
    /// had not handed over. `None` for a rest of nothing.
    ///
    /// # Errors
    /// When the interrupts can't be read or the log can't be written.
    pub fn end(
        &mut self,
        collectors: &mut [Collector],
        log: Option<&mut HistogramLog>,
        start_ns: u64,
        rest: Option<&Latencies>,
    ) -> Result<Option<Sample>> {
        let now_ns = clock::now_ns();
        self.latencies.reset();
        let mut amount = Amount::default();
        for collector in collectors {
            let part = collector.collect(&mut self.latencies);
            let elapsed_ns = amount.elapsed_ns.max(part.elapsed_ns);
            amount.add(&part);
            amount.elapsed_ns = elapsed_ns;
        }
        if let Some(rest) = rest {
            self.latencies.merge(rest);
        }
        if amount.operations == 0 {
            if rest.is_some() {
                return Ok(None);
            }
            // A stall: nothing has ended since the last look.
            amount.elapsed_ns = now_ns - self.looked_ns;
        }
        let total = &self.latencies.total;
        let mean_ns = total.summary().map_or(0.0, |summary| summary.mean_ns);
        amount.in_flight_ns = (mean_ns * total.count() as f64) as u64;
        let measured = Measured { amount, usage: self.usage.read(), interrupts: self.interrupts.read()? };
        if let Some(log) = log {
            self.latencies.log(log, self.looked_ns.saturating_sub(start_ns), amount.elapsed_ns)?;
        }
        self.run_latencies.merge(&self.latencies);
        let figures = measured.figures(&self.latencies);
        let sample =
            Sample { run: self.run, interval: Some(self.number), figures, sync_s: None, verification: None };
        self.number += 1;
        self.looked_ns = now_ns;
        self.interrupts = InterruptMeter::start(self.sources.clone())?;
        self.usage = UsageMeter::start(&self.cpus);
        Ok(Some(sample))
    }
}
