//! `irqwatch gaps`: a busy loop that finds every interruption, as oslat(8) does, and what an
//! interrupt costs, without BPF or tracefs.
//!
//! One pinned thread per CPU reads the clock without end. Where two readings lie further apart than
//! the threshold, something else had the CPU: an interrupt, another task, the hypervisor. The counts
//! of interrupts, context switches and steal of the same CPU over the same time say what it was.

use std::fmt;

use meter::{
    Error, Result, clock,
    control::Stop,
    counter::{Counter, Growth},
    cpulist::CpuList,
    histogram::{LatencyHistogram, LatencySummary},
    placement::{Placement, Policy},
    runtime::{self, Interval, Measured, Plan, Window},
    session::Session,
    units,
    usage::Usage,
};
use serde::Serialize;

use crate::{
    class::Class,
    filter::{Filter, FilterArgs},
    observer::{Difference, Observer, Snapshot},
};

/// How many of the longest gaps are told one by one.
const LONGEST: usize = 10;
/// How many readings between two looks at the stop flag and the end.
const READINGS: u32 = 256;

/// A resolved search for gaps.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Config {
    /// CPUs, one thread each.
    pub cpus: CpuList,
    /// Policy of the threads.
    pub sched: Policy,
    /// Shortest interruption that counts, in nanoseconds.
    pub threshold_ns: u64,
    /// Length of the measurement, in nanoseconds.
    pub duration_ns: u64,
    /// Distance of the samples, in nanoseconds; `null` for none.
    pub interval_ns: Option<u64>,
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, length) =
            (units::duration(self.threshold_ns as f64), units::duration(self.duration_ns as f64));
        write!(f, "gaps of {least} and more on CPUs {} for {length}", self.cpus)
    }
}

/// Gaps of one interval, all CPUs.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sample {
    /// End of the interval, in seconds after the start.
    pub at_s: f64,
    /// How many gaps.
    pub count: u64,
    /// Their sum, in nanoseconds.
    pub total_ns: u64,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:8.1} s  {} gaps, {}", self.at_s, self.count, units::duration(self.total_ns as f64))
    }
}

/// One gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Gap {
    /// Its begin after the start, in nanoseconds.
    pub at_ns: u64,
    /// Its length, in nanoseconds.
    pub length_ns: u64,
}

/// One CPU's gaps and what explains them.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CpuResult {
    /// The CPU.
    pub cpu: usize,
    /// How many gaps.
    pub count: u64,
    /// Their sum, in nanoseconds.
    pub total_ns: u64,
    /// Their share of the time.
    pub percent: f64,
    /// How long they were; `null` where there was none.
    pub length: Option<LatencySummary>,
    /// From the begin of one to the begin of the next; `null` with fewer than two. A median with
    /// little spread is the period of what interrupts.
    pub spacing: Option<LatencySummary>,
    /// The longest, longest first.
    pub longest: Vec<Gap>,
    /// Hard interrupts of this CPU in that time; `null` where /proc/interrupts is masked.
    pub interrupts: Option<u64>,
    /// Sum of the gaps over the hard interrupts, in nanoseconds: an upper bound of what one costs, soft
    /// interrupts and cache misses included, as long as no task ran here (`context_switches` 0). Where there
    /// were fewer gaps than interrupts, each that made none is taken to have cost the threshold; `null`
    /// without interrupts.
    pub cost_per_interrupt_ns: Option<f64>,
    /// Times that another task took the CPU from the loop.
    pub context_switches: u64,
    /// Time that this kernel knows the loop did not have this CPU for, in nanoseconds: other tasks.
    pub not_running_ns: u64,
    /// Shortest time between two readings, in nanoseconds: what can't be seen is shorter.
    pub reading_ns: u64,
}

/// The whole search.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Summary {
    /// Its length, in seconds.
    pub elapsed_s: f64,
    /// Gaps of all CPUs.
    pub count: u64,
    /// Their sum, in nanoseconds.
    pub total_ns: u64,
    /// Each CPU.
    pub cpus: Vec<CpuResult>,
    /// Interrupts, softirqs and steal of the whole machine meanwhile.
    pub machine: Difference,
    /// What the search cost: it keeps its CPUs busy.
    pub usage: Usage,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |ns: u64| units::duration(ns as f64);
        for cpu in &self.cpus {
            write!(
                f,
                "CPU {:<3} {} gaps, {} ({:.4} %)",
                cpu.cpu,
                cpu.count,
                show(cpu.total_ns),
                cpu.percent
            )?;
            if let Some(length) = &cpu.length {
                write!(f, "\n  length  {length}")?;
            }
            if let Some(spacing) = &cpu.spacing {
                write!(f, "\n  spacing {spacing}")?;
            }
            match cpu.interrupts {
                Some(count) => write!(f, "\n  {count} interrupts")?,
                None => write!(f, "\n  interrupts unknown")?,
            }
            write!(f, ", {} context switches", cpu.context_switches)?;
            if let Some(cost) = cpu.cost_per_interrupt_ns {
                write!(f, ", at most {} per interrupt", units::duration(cost))?;
            }
            writeln!(f, ", {} between readings", show(cpu.reading_ns))?;
        }
        write!(f, "{}", self.machine)
    }
}

/// What one thread found. Everything in it is there before the loop begins.
struct Finder {
    lengths: LatencyHistogram,
    spacings: LatencyHistogram,
    longest: [Gap; LONGEST],
    last_begin_ns: Option<u64>,
    reading_ns: u64,
}

impl Finder {
    fn new() -> Self {
        Self {
            lengths: LatencyHistogram::new(),
            spacings: LatencyHistogram::new(),
            longest: [Gap::default(); LONGEST],
            last_begin_ns: None,
            reading_ns: u64::MAX,
        }
    }

    /// Takes one gap. Not inlined: the loop around it shall stay tight.
    #[inline(never)]
    fn found(&mut self, gap: Gap) {
        self.lengths.record(gap.length_ns);
        if let Some(last_ns) = self.last_begin_ns.replace(gap.at_ns) {
            self.spacings.record(gap.at_ns - last_ns);
        }
        if gap.length_ns > self.longest[LONGEST - 1].length_ns {
            self.longest[LONGEST - 1] = gap;
            self.longest.sort_unstable_by_key(|gap| std::cmp::Reverse(gap.length_ns));
        }
    }
}

/// What other threads may read meanwhile.
#[derive(Default)]
struct Published {
    count: Counter,
    total_ns: Counter,
}

/// The loop, over the whole window.
fn find(finder: &mut Finder, window: Window, threshold_ns: u64, stop: &Stop, published: &Published) {
    let mut last = clock::now_ns();
    while last < window.until_ns && !stop.is_raised() {
        for _ in 0..READINGS {
            let now = clock::now_ns();
            let length_ns = now - last;
            finder.reading_ns = finder.reading_ns.min(length_ns);
            if length_ns >= threshold_ns {
                finder.found(Gap { at_ns: last.saturating_sub(window.from_ns), length_ns });
                published.count.add(1);
                published.total_ns.add(length_ns);
            }
            last = now;
        }
    }
}

/// What a thread knows at its end.
struct Outcome {
    finder: Finder,
    context_switches: u64,
    not_running_ns: u64,
    pin_holds: bool,
}

/// Searches and gives `session` the records.
///
/// # Errors
/// When a thread can't be set up as asked or /proc can't be read.
pub fn run(config: &Config, session: &mut Session<'_>) -> Result<()> {
    if !session.start(config)? {
        return Ok(());
    }
    let cpus = config.cpus.cpus();
    let placements: Vec<Placement> =
        cpus.iter().map(|&cpu| Placement { cpu: Some(cpu), policy: config.sched }).collect();
    let published: Vec<Published> = cpus.iter().map(|_| Published::default()).collect();
    let stop = session.stop();
    let mut conductor = Conductor {
        published: &published,
        growths: Default::default(),
        filter: FilterArgs::default().resolve()?,
        observer: Observer::new(),
        before: Snapshot::default(),
        machine: None,
    };
    let plan = Plan { warmup_ns: 0, duration_ns: config.duration_ns, interval_ns: config.interval_ns };
    let measured = runtime::run(
        &plan,
        &placements,
        session,
        |worker| Ok((worker, Finder::new())),
        |(worker, mut finder), window| {
            window.wait_for_start(&stop);
            let before = meter::sys::getrusage(libc::RUSAGE_THREAD);
            let (wall_ns, cpu_ns) = (clock::now_ns(), clock::thread_cpu_ns());
            find(&mut finder, window, config.threshold_ns, &stop, &published[worker.index]);
            let (wall_ns, cpu_ns) = (clock::now_ns() - wall_ns, clock::thread_cpu_ns() - cpu_ns);
            let after = meter::sys::getrusage(libc::RUSAGE_THREAD);
            Outcome {
                finder,
                context_switches: (after.ru_nivcsw - before.ru_nivcsw) as u64,
                not_running_ns: wall_ns.saturating_sub(cpu_ns),
                pin_holds: worker.placement.holds(),
            }
        },
        &mut conductor,
    )?;
    let machine = conductor.machine.ok_or_else(|| Error::failed("nothing was collected"))?;
    let mut warnings = Vec::new();
    let mut results = Vec::new();
    for ((outcome, published), &cpu) in measured.outcomes.iter().zip(&published).zip(cpus) {
        if !outcome.pin_holds {
            warnings.push(format!("the thread of CPU {cpu} was moved away from it"));
        }
        results.push(result(cpu, outcome, published, config, &measured, &machine));
    }
    let summary = Summary {
        elapsed_s: measured.elapsed_s(),
        count: results.iter().map(|cpu| cpu.count).sum(),
        total_ns: results.iter().map(|cpu| cpu.total_ns).sum(),
        cpus: results,
        machine,
        usage: measured.usage,
    };
    session.summary(&summary, conductor.before.unread(), warnings)
}

fn result(
    cpu: usize,
    outcome: &Outcome,
    published: &Published,
    config: &Config,
    measured: &Measured<Outcome>,
    machine: &Difference,
) -> CpuResult {
    let elapsed_ns = measured.elapsed_ns();
    let (count, total_ns) = (published.count.value(), published.total_ns.value());
    // Every source of this CPU but NMIs' twins: PMIs are counted as NMIs as well.
    let counted = |source: &&crate::source::Source| {
        !matches!(source.class, Class::Softirq | Class::Sum | Class::Error | Class::Platform)
    };
    let here = machine.sources.iter().filter(counted).flat_map(|source| &source.cpus);
    let count_here: u64 = here.filter(|on| on.cpu == Some(cpu)).map(|on| on.count).sum();
    let interrupts = machine.interrupts.map(|_| count_here);
    CpuResult {
        cpu,
        count,
        total_ns,
        percent: if elapsed_ns > 0 { total_ns as f64 / elapsed_ns as f64 * 100.0 } else { 0.0 },
        length: outcome.finder.lengths.summary(),
        spacing: outcome.finder.spacings.summary(),
        longest: outcome.finder.longest.iter().filter(|gap| gap.length_ns > 0).copied().collect(),
        interrupts,
        cost_per_interrupt_ns: interrupts
            .and_then(|interrupts| cost_bound_ns(total_ns, count, interrupts, config.threshold_ns)),
        context_switches: outcome.context_switches,
        not_running_ns: outcome.not_running_ns,
        reading_ns: if outcome.finder.reading_ns == u64::MAX { 0 } else { outcome.finder.reading_ns },
    }
}

/// The most that one of `interrupts` cost on average, if nothing else made the gaps.
fn cost_bound_ns(total_ns: u64, gaps: u64, interrupts: u64, threshold_ns: u64) -> Option<f64> {
    let unseen_ns = interrupts.saturating_sub(gaps).saturating_mul(threshold_ns);
    (interrupts > 0).then(|| total_ns.saturating_add(unseen_ns) as f64 / interrupts as f64)
}

/// The part of the calling thread.
struct Conductor<'a> {
    published: &'a [Published],
    growths: [Growth; 2],
    filter: Filter,
    observer: Observer,
    before: Snapshot,
    machine: Option<Difference>,
}

impl runtime::Conductor<Outcome> for Conductor<'_> {
    type Sample = Sample;

    fn begin(&mut self, _: u64) -> Result<()> {
        self.observer.read(&mut self.before)
    }

    fn interval(&mut self, interval: &Interval, outcomes: Option<&[Outcome]>) -> Result<Option<Sample>> {
        // The tables are read at the two ends only: reading them makes gaps.
        if outcomes.is_some() {
            let after = self.observer.snapshot()?;
            self.machine = Some(self.observer.compare(&self.before, &after, &self.filter));
        }
        let sum = |of: fn(&Published) -> &Counter| self.published.iter().map(|cpu| of(cpu).value()).sum();
        let [count, total_ns] = &mut self.growths;
        Ok(Some(Sample {
            at_s: interval.at_s(),
            count: count.of(sum(|cpu| &cpu.count)),
            total_ns: total_ns.of(sum(|cpu| &cpu.total_ns)),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupts_that_made_no_gap_cost_no_more_than_the_threshold() {
        assert_eq!(cost_bound_ns(6_000, 2, 2, 500), Some(3_000.0));
        assert_eq!(cost_bound_ns(6_000, 5, 2, 500), Some(3_000.0));
        assert_eq!(cost_bound_ns(6_000, 2, 4, 500), Some(1_750.0));
        assert_eq!(cost_bound_ns(0, 0, 7, 500), Some(500.0));
        assert_eq!(cost_bound_ns(6_000, 2, 0, 500), None);
    }

    #[test]
    fn the_longest_gaps_are_kept_in_order() {
        let mut finder = Finder::new();
        for number in 1..=30_u64 {
            finder.found(Gap { at_ns: number * 1000, length_ns: number * 7 % 31 });
        }
        let lengths: Vec<u64> = finder.longest.iter().map(|gap| gap.length_ns).collect();
        assert_eq!(lengths, (21..=30).rev().collect::<Vec<_>>());
        assert_eq!(finder.spacings.summary().unwrap().max_ns, 1000);
    }
}
