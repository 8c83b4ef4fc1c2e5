//! `irqwatch wakeup`: how late a thread wakes from an absolute timer, as cyclictest(8) measures it.
//!
//! One pinned real-time thread per CPU sleeps until each multiple of the period and looks how late
//! it is: the timer interrupt, the scheduler, deep idle states and a hypervisor that was away.

use std::{
    fmt,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use meter::{
    Error, ErrorKind, Result, clock,
    control::Stop,
    counter::Counter,
    cpulist::CpuList,
    histogram::{LatencyHistogram, LatencySummary},
    idle::IdleLimit,
    placement::{Placement, Policy},
    runtime::{self, Collector, Interval, Measured, Plan, Recorder, Window},
    session::Session,
    units,
    usage::Usage,
};
use serde::Serialize;

use crate::{
    filter::{Filter, FilterArgs},
    observer::{Difference, Observer, Snapshot},
    sys,
};

/// Longest sleep before the stop flag is looked at again.
const STOP_CHECK_NS: u64 = 20_000_000;

/// A resolved measurement of wake-ups.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Config {
    /// CPUs, one thread each.
    pub cpus: CpuList,
    /// Policy of the threads.
    pub sched: Policy,
    /// Distance of the wake-ups, in nanoseconds.
    pub period_ns: u64,
    /// Longest wake-up from idle that the kernel may choose, in microseconds, held through
    /// /dev/cpu_dma_latency; `null` leaves it alone.
    pub dma_latency_us: Option<u32>,
    /// Whether the idle limit was asked for: then a kernel without it is an error.
    pub dma_latency_required: bool,
    /// Whether memory is locked.
    pub lock_memory: bool,
    /// Length of the measurement, in nanoseconds.
    pub duration_ns: u64,
    /// Distance of the samples, in nanoseconds; `null` for none.
    pub interval_ns: Option<u64>,
    /// File of the histogram log; `null` for none.
    pub hlog: Option<PathBuf>,
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (period, length) =
            (units::duration(self.period_ns as f64), units::duration(self.duration_ns as f64));
        write!(f, "wake-ups every {period} on CPUs {} with {} for {length}", self.cpus, self.sched)
    }
}

/// Wake-ups of one interval, all CPUs.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sample {
    /// End of the interval, in seconds after the start.
    pub at_s: f64,
    /// Actual minus intended wake-up; `null` where there was none.
    pub wakeup_latency: Option<LatencySummary>,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wakeup_latency {
            Some(latency) => write!(f, "{:8.1} s  {latency}", self.at_s),
            None => write!(f, "{:8.1} s  no wake-up", self.at_s),
        }
    }
}

/// One CPU's wake-ups.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CpuResult {
    /// The CPU.
    pub cpu: usize,
    /// Actual minus intended wake-up; `null` where there was none.
    pub wakeup_latency: Option<LatencySummary>,
    /// Intended wake-ups that had passed already when the thread woke from the one before.
    pub missed: u64,
}

/// The whole measurement.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Summary {
    /// Its length, in seconds.
    pub elapsed_s: f64,
    /// Actual minus intended wake-up, all CPUs.
    pub wakeup_latency: Option<LatencySummary>,
    /// Each CPU.
    pub cpus: Vec<CpuResult>,
    /// Interrupts of the whole machine meanwhile.
    pub machine: Difference,
    /// What the measurement cost. Each wake-up is a timer interrupt of its own.
    pub usage: Usage,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for cpu in &self.cpus {
            match &cpu.wakeup_latency {
                Some(latency) => writeln!(f, "CPU {:<3} {latency}, missed {}", cpu.cpu, cpu.missed)?,
                None => writeln!(f, "CPU {:<3} no wake-up", cpu.cpu)?,
            }
        }
        write!(f, "own CPU time {}", units::duration(self.usage.cpu_ns() as f64))
    }
}

/// What a worker prepares before the gate.
struct Prepared {
    index: usize,
    placement: Placement,
    recorder: Recorder<LatencyHistogram>,
}

/// What a worker brings back: the histogram holds what the conductor has not collected.
struct Outcome {
    rest: Box<LatencyHistogram>,
    pin_holds: bool,
}

/// Measures and gives `session` the records.
///
/// # Errors
/// When a policy, locked memory or a required idle limit is refused (exit code 3).
pub fn run(config: &Config, session: &mut Session<'_>) -> Result<()> {
    if !session.start(config)? {
        return Ok(());
    }
    let mut notes = Vec::new();
    let idle_limit = hold_idle_limit(config, &mut notes)?;
    let placements: Vec<Placement> =
        config.cpus.cpus().iter().map(|&cpu| Placement { cpu: Some(cpu), policy: config.sched }).collect();
    let workers = placements.len();
    let (recorders, collector) = runtime::recorders(workers, config.interval_ns, LatencyHistogram::new);
    let recorders = Mutex::new(recorders.into_iter().map(Some).collect::<Vec<_>>());
    let missed: Vec<Counter> = placements.iter().map(|_| Counter::default()).collect();
    let stop = session.stop();
    let mut conductor = Conductor {
        lock_memory: config.lock_memory,
        collector: collector
            .keeping_workers(workers, LatencyHistogram::new)
            .logging(config.hlog.as_deref(), &["wakeup"])?,
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
        |worker| {
            let mut recorders = recorders.lock().unwrap_or_else(PoisonError::into_inner);
            let recorder = recorders[worker.index].take();
            let recorder = recorder.ok_or_else(|| Error::failed("a worker was set up twice"))?;
            Ok(Prepared { index: worker.index, placement: worker.placement, recorder })
        },
        |prepared, window| {
            let (index, placement) = (prepared.index, prepared.placement);
            let rest = wake(prepared.recorder, window, config.period_ns, &stop, &missed[index]);
            Outcome { rest, pin_holds: placement.holds() }
        },
        &mut conductor,
    )?;
    drop(idle_limit);
    let mut warnings = Vec::new();
    for (outcome, cpu) in measured.outcomes.iter().zip(config.cpus.cpus()) {
        if !outcome.pin_holds {
            warnings.push(format!("the thread of CPU {cpu} was moved away from it"));
        }
    }
    notes.extend(conductor.before.unread());
    session.summary(&conductor.summary(config, &missed, measured)?, notes, warnings)
}

/// Holds the idle limit for as long as the measurement lasts.
fn hold_idle_limit(config: &Config, notes: &mut Vec<String>) -> Result<Option<IdleLimit>> {
    let Some(limit_us) = config.dma_latency_us else { return Ok(None) };
    match IdleLimit::hold(limit_us) {
        Ok(limit) => Ok(Some(limit)),
        Err(error) if config.dma_latency_required => Err(error),
        Err(error) => {
            notes.push(format!("idle states are not limited: {}", error.full_text()));
            Ok(None)
        }
    }
}

/// The measured loop: sleeps until each intended time and records how late it woke.
fn wake(
    mut recorder: Recorder<LatencyHistogram>,
    window: Window,
    period_ns: u64,
    stop: &Stop,
    missed: &Counter,
) -> Box<LatencyHistogram> {
    recorder.begin(window.from_ns);
    let mut intended_ns = window.from_ns;
    while intended_ns < window.until_ns && !stop.is_raised() {
        // A wake-up belongs to the interval of its intended time: what came before an edge is complete now.
        recorder.tick(intended_ns);
        let Some(now) = sleep_until(intended_ns, stop) else { break };
        recorder.active.record(now - intended_ns);
        intended_ns += period_ns;
        // Those after the end were not asked for.
        let due_ns = now.min(window.until_ns - 1);
        if intended_ns < due_ns {
            let passed = (due_ns - intended_ns) / period_ns + 1;
            missed.add(passed);
            intended_ns += passed * period_ns;
        }
    }
    let rest = recorder.finish();
    // The last wake-up may lie well before the end.
    sleep_until(window.until_ns, stop);
    rest
}

/// One sleep for an intended time that is near; a far one is cut so that a stop is seen. Gives the
/// time of the wake-up; `None` when stopped.
fn sleep_until(deadline_ns: u64, stop: &Stop) -> Option<u64> {
    let mut now = clock::now_ns();
    loop {
        let far = deadline_ns.saturating_sub(now) > 2 * STOP_CHECK_NS;
        let wake_ns = if far { now + STOP_CHECK_NS } else { deadline_ns };
        let slept = clock::sleep_until_ns(wake_ns);
        now = clock::now_ns();
        if slept.is_err() || stop.is_raised() {
            return None;
        }
        if now >= deadline_ns {
            return Some(now);
        }
    }
}

/// The part of the calling thread.
struct Conductor {
    lock_memory: bool,
    collector: Collector<LatencyHistogram>,
    filter: Filter,
    observer: Observer,
    before: Snapshot,
    machine: Option<Difference>,
}

impl runtime::Conductor<Outcome> for Conductor {
    type Sample = Sample;

    fn prepare(&mut self) -> Result<()> {
        if !self.lock_memory {
            return Ok(());
        }
        // All threads are there: a limit that is too low is met here, and not when their stacks are made.
        sys::lock_memory().map_err(|error| {
            Error::system("lock memory; raise the limit (ulimit -l) or pass --no-lock-memory", error)
                .with_kind(ErrorKind::Unavailable)
        })
    }

    fn begin(&mut self, from_ns: u64) -> Result<()> {
        self.collector.begin(from_ns);
        self.observer.read(&mut self.before)
    }

    fn is_waiting(&self) -> bool {
        self.collector.is_waiting()
    }

    fn interval(&mut self, interval: &Interval, outcomes: Option<&[Outcome]>) -> Result<Option<Sample>> {
        if outcomes.is_some() {
            let after = self.observer.snapshot()?;
            self.machine = Some(self.observer.compare(&self.before, &after, &self.filter));
        }
        let rest = outcomes.unwrap_or_default().iter().map(|outcome| &*outcome.rest);
        let latencies = self.collector.collect(interval, rest)?;
        Ok(Some(Sample { at_s: interval.at_s(), wakeup_latency: latencies.summary() }))
    }
}

impl Conductor {
    fn summary(self, config: &Config, missed: &[Counter], measured: Measured<Outcome>) -> Result<Summary> {
        let cpu_result = |(index, &cpu): (usize, &usize)| CpuResult {
            cpu,
            wakeup_latency: self.collector.worker_total(index).and_then(LatencyHistogram::summary),
            missed: missed[index].value(),
        };
        Ok(Summary {
            elapsed_s: measured.elapsed_s(),
            wakeup_latency: self.collector.total().summary(),
            cpus: config.cpus.cpus().iter().enumerate().map(cpu_result).collect(),
            machine: self.machine.ok_or_else(|| Error::failed("nothing was collected"))?,
            usage: measured.usage,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_was_kept_away_misses_wake_ups_and_says_so() {
        let missed = Counter::default();
        let (mut recorders, _collector) = runtime::recorders(1, None, LatencyHistogram::new);
        let plan = Plan { duration_ns: 30_000_000, ..Plan::default() };
        // A start that has passed already: the first wake-up is late by 10 periods.
        let window = Window::of(&plan, clock::now_ns() - 10_000_000);
        let histogram = wake(recorders.remove(0), window, 1_000_000, &Stop::new(), &missed);
        assert!(missed.value() >= 9);
        assert!(histogram.summary().unwrap().max_ns >= 10_000_000);
        assert_eq!(histogram.count() + missed.value(), 30, "each intended wake-up once");
    }
}
