//! The intervals of a run, and what the run cost.
//!
//! The runtime of `meter` measures once, from a gate that opens once. Here runs follow each other with work between
//! them that must not count: space and data for the next run, unrelated data, a warm-up, reading back. So the workers stay
//! for all runs and the conductor leads them, with the runtime's parts: its recorders, its clock of intervals, and
//! its rule for workers that are late at an edge.

use meter::{
    Result, clock,
    interrupts::{InterruptMeter, Sources},
    runtime::{self, Interval},
    usage::UsageMeter,
};

use crate::{
    config::Config,
    outcome::Sample,
    recording::{Collector, Recorded},
    tally::{Amount, Tally},
    totals::Measured,
};

/// How often workers are looked for that have not handed over at an edge yet, and how long at most.
const GRACE_NS: u64 = 1_000_000;
const PATIENCE_NS: u64 = 200_000_000;
/// How often the begin of a run is looked for: a moment after the workers were told.
const BEGIN_CHECK_NS: u64 = 1_000_000;
/// How long to wait for the workers where there is no interval to end.
const LONGEST_WAIT_NS: u64 = 3_600 * clock::SECOND_NS;

/// One run: what it costs, and its parts.
pub struct Intervals<'a> {
    run: u32,
    interval_ns: Option<u64>,
    /// Where there are intervals or a log to collect for: without, the workers' recordings are all there is.
    collector: Option<&'a mut Collector>,
    usage: UsageMeter,
    interrupts: InterruptMeter,
    /// From the begin of the first worker on.
    clock: Option<runtime::Intervals>,
    /// Of the intervals so far.
    sum: Option<Measured>,
}

impl<'a> Intervals<'a> {
    /// Run number `run` is about to begin: whatever is counted counts from here.
    ///
    /// # Errors
    /// When the interrupts can't be read.
    pub fn begin(config: &Config, run: u32, sources: Sources, collector: &'a mut Collector) -> Result<Self> {
        if config.is_collected() {
            // What a warm-up or a verification left behind. Without, nobody hands anything over, and the sums' memory is
            // never touched.
            collector.reset();
        }
        Ok(Self {
            run,
            interval_ns: config.interval_ns,
            collector: config.is_collected().then_some(collector),
            interrupts: InterruptMeter::start(sources)?,
            usage: UsageMeter::start(config.cpus.cpus()),
            clock: None,
            sum: None,
        })
    }

    /// How long to wait for the workers' end before [`Self::look`] is called, in nanoseconds. `begin_ns` is when the
    /// first worker began.
    #[must_use]
    pub fn time_left_ns(&mut self, begin_ns: Option<u64>) -> u64 {
        if self.interval_ns.is_none() {
            return LONGEST_WAIT_NS;
        }
        let Some(clock) = self.clock(begin_ns) else { return BEGIN_CHECK_NS };
        let (edge_ns, now_ns) = (clock.next_edge_ns().unwrap_or(u64::MAX), clock::now_ns());
        match edge_ns.saturating_sub(now_ns) {
            0 if self.is_early(edge_ns, now_ns) => GRACE_NS.min(self.interval_ns.unwrap_or(u64::MAX) / 8),
            left_ns => left_ns.min(LONGEST_WAIT_NS),
        }
    }

    /// Whether workers that are late at the edge get a little more time.
    fn is_early(&self, edge_ns: u64, now_ns: u64) -> bool {
        let patience_ns = PATIENCE_NS.min(self.interval_ns.unwrap_or(u64::MAX) / 4);
        now_ns < edge_ns.saturating_add(patience_ns)
            && self.collector.as_ref().is_some_and(|collector| collector.is_waiting())
    }

    fn clock(&mut self, begin_ns: Option<u64>) -> Option<&runtime::Intervals> {
        if self.clock.is_none() {
            self.clock = begin_ns.map(|begin_ns| Self::clock_from(begin_ns, self.interval_ns));
        }
        self.clock.as_ref()
    }

    /// The end of a run is the workers' business, so the clock has none.
    fn clock_from(begin_ns: u64, interval_ns: Option<u64>) -> runtime::Intervals {
        runtime::Intervals::new(begin_ns, interval_ns, u64::MAX)
    }

    /// Ends the interval if its edge has come, and gives its sample.
    ///
    /// # Errors
    /// When the interrupts can't be read or the log can't be written.
    pub fn look(&mut self) -> Result<Option<Sample>> {
        let Some(clock) = &mut self.clock else { return Ok(None) };
        let now_ns = clock::now_ns();
        if clock.next_edge_ns().is_none_or(|edge_ns| now_ns < edge_ns) {
            return Ok(None);
        }
        let interval = clock.end(now_ns);
        self.part(&interval, interval.elapsed_ns(), &[])
    }

    /// Ends the run, `whole` as the workers tell it, of which `rests` were not handed over: its last sample, where there
    /// are intervals and this one is not empty, and what was measured in all.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub fn finish(mut self, whole: &Tally, rests: &[&Recorded]) -> Result<(Option<Sample>, Measured)> {
        let mut clock = self.clock.take();
        let clock = clock.get_or_insert_with(|| Self::clock_from(whole.begin_ns, self.interval_ns));
        let interval = clock.finish(whole.end_ns);
        let window_ns = interval.elapsed_ns() + (whole.window_end_ns - whole.end_ns);
        let is_empty =
            interval.elapsed_ns() == 0 && rests.iter().all(|rest| rest.amount == Amount::default());
        let last = self.part(&interval, window_ns, rests)?;
        let last = last.filter(|_| self.interval_ns.is_some() && !is_empty);
        let measured = match self.sum {
            Some(sum) => sum,
            None => self.measured(Amount::of(whole))?,
        };
        Ok((last, measured))
    }

    fn measured(&mut self, amount: Amount) -> Result<Measured> {
        Ok(Measured { amount, usage: self.usage.split(), interrupts: self.interrupts.split()? })
    }

    /// The sample of one interval; `None` where nobody collects.
    fn part(&mut self, interval: &Interval, window_ns: u64, rests: &[&Recorded]) -> Result<Option<Sample>> {
        let Some(collector) = &mut self.collector else { return Ok(None) };
        let recorded = collector.collect(interval, rests.iter().copied())?;
        let amount = Amount { elapsed_ns: interval.elapsed_ns(), window_ns, ..recorded.amount };
        let measured = Measured { amount, usage: self.usage.split(), interrupts: self.interrupts.split()? };
        let figures = measured.figures(&recorded.latencies);
        match &mut self.sum {
            Some(sum) => sum.add(&measured),
            None => self.sum = Some(measured),
        }
        let number = Some(u32::try_from(interval.index).unwrap_or(u32::MAX));
        Ok(Some(Sample { run: self.run, interval: number, figures, sync_s: None, verification: None }))
    }
}
