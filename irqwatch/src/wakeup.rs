//! `irqwatch wakeup`: how late a thread wakes from an absolute timer, as cyclictest(8) measures it.
//!
//! One pinned real-time thread per CPU sleeps until each multiple of the period and looks how late
//! it is: the timer interrupt, the scheduler, deep idle states and a hypervisor that was away.

use std::{fmt, path::PathBuf};

use meter::{
    Error, ErrorKind, Result, clock,
    control::Stop,
    counter::Counter,
    cpulist::CpuList,
    crew::{self, Gate},
    histogram::{HistogramLog, LatencyHistogram, LatencySummary},
    idle::IdleLimit,
    placement::{Placement, Policy},
    relay::{self, Giver, Taker},
    session::Session,
    units,
    usage::{Usage, UsageMeter},
    wait::Waiter,
};
use serde::Serialize;

use crate::{
    filter::FilterArgs,
    observer::{Difference, Observer},
    sys,
};

/// Between opening the gate and the first intended wake-up.
const HEAD_START_NS: u64 = 2_000_000;
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
    histogram: Box<LatencyHistogram>,
    giver: Giver,
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
    let log = config.hlog.as_deref().map(HistogramLog::create).transpose()?;
    let placements: Vec<Placement> =
        config.cpus.cpus().iter().map(|&cpu| Placement { cpu: Some(cpu), policy: config.sched }).collect();
    let (givers, takers): (Vec<Giver>, Vec<Taker>) = placements.iter().map(|_| relay::pair()).unzip();
    let givers = std::sync::Mutex::new(givers.into_iter().map(Some).collect::<Vec<_>>());
    let missed: Vec<Counter> = placements.iter().map(|_| Counter::default()).collect();
    let stop = session.stop();
    let (outcomes, mut watched) = crew::run(
        &placements,
        |worker| {
            let taken = givers.lock().ok().and_then(|mut givers| givers[worker.index].take());
            let giver = taken.ok_or_else(|| Error::failed("a worker was set up twice"))?;
            let histogram = Box::new(LatencyHistogram::new());
            Ok(Prepared { index: worker.index, placement: worker.placement, histogram, giver })
        },
        |prepared, start_ns| {
            let (index, placement) = (prepared.index, prepared.placement);
            let rest = wake(prepared, start_ns, config, &stop, &missed[index]);
            Outcome { rest, pin_holds: placement.holds() }
        },
        |gate| conduct(config, session, gate, takers, log),
    )?;
    drop(idle_limit);

    let mut warnings = Vec::new();
    let (mut all, mut rest) = (LatencyHistogram::new(), LatencyHistogram::new());
    let mut cpus = Vec::new();
    for (index, outcome) in outcomes.iter().enumerate() {
        let cpu = config.cpus.cpus()[index];
        let histogram = &mut watched.histograms[index];
        histogram.merge(&outcome.rest);
        rest.merge(&outcome.rest);
        all.merge(histogram);
        if !outcome.pin_holds {
            warnings.push(format!("the thread of CPU {cpu} was moved away from it"));
        }
        cpus.push(CpuResult { cpu, wakeup_latency: histogram.summary(), missed: missed[index].value() });
    }
    if let Some(log) = watched.log.as_mut().filter(|_| rest.count() > 0) {
        let length_ns = config.duration_ns.saturating_sub(watched.rest_ns);
        log.append("wakeup", watched.rest_ns, length_ns, &rest)?;
    }
    let summary = Summary {
        elapsed_s: watched.machine.elapsed_s,
        wakeup_latency: all.summary(),
        cpus,
        machine: watched.machine,
        usage: watched.usage,
    };
    session.summary(&summary, notes, warnings)
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
    mut own: Prepared,
    start_ns: u64,
    config: &Config,
    stop: &Stop,
    missed: &Counter,
) -> Box<LatencyHistogram> {
    let until_ns = start_ns + config.duration_ns;
    let mut intended_ns = start_ns;
    let mut give_at_ns = config.interval_ns.map_or(u64::MAX, |interval_ns| start_ns + interval_ns);
    while intended_ns < until_ns && !stop.is_raised() {
        let Some(now) = sleep_until(intended_ns, stop) else { break };
        own.histogram.record(now - intended_ns);
        intended_ns += config.period_ns;
        if intended_ns < now {
            let passed = (now - intended_ns) / config.period_ns + 1;
            missed.add(passed);
            intended_ns += passed * config.period_ns;
        }
        if now >= give_at_ns {
            own.giver.exchange(&mut own.histogram);
            give_at_ns += config.interval_ns.unwrap_or(u64::MAX / 2);
        }
    }
    if config.interval_ns.is_some() {
        own.giver.exchange(&mut own.histogram);
    }
    own.histogram
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

struct Watched {
    histograms: Vec<LatencyHistogram>,
    log: Option<HistogramLog>,
    /// Begin of the last interval, which only the workers' own histograms hold, after the start.
    rest_ns: u64,
    machine: Difference,
    usage: Usage,
}

fn conduct(
    config: &Config,
    session: &mut Session<'_>,
    gate: &Gate,
    mut takers: Vec<Taker>,
    mut log: Option<HistogramLog>,
) -> Result<Watched> {
    let mut histograms: Vec<LatencyHistogram> = takers.iter().map(|_| LatencyHistogram::new()).collect();
    let stop = session.stop();
    let waiter = Waiter { margin_ns: 0 };
    if config.lock_memory {
        // All threads are there: a limit that is too low is met here, and not when their stacks are made.
        sys::lock_memory().map_err(|error| {
            Error::system("lock memory; raise the limit (ulimit -l) or pass --no-lock-memory", error)
                .with_kind(ErrorKind::Unavailable)
        })?;
    }
    session.ready()?;
    let mut observer = Observer::new();
    let usage = UsageMeter::start(config.cpus.cpus());
    let before = observer.snapshot()?;
    let start_ns = clock::now_ns() + HEAD_START_NS;
    gate.open(start_ns);
    let until_ns = start_ns + config.duration_ns;
    let mut last_ns = start_ns;
    let mut edge_ns = config.interval_ns.map_or(u64::MAX, |interval_ns| start_ns + interval_ns);
    while edge_ns <= until_ns && !stop.is_raised() {
        // A little after the edge, when the workers have given what they had.
        waiter.until(edge_ns + 2 * config.period_ns, &stop);
        let mut interval = LatencyHistogram::new();
        for (taker, total) in takers.iter_mut().zip(&mut histograms) {
            let mut given = LatencyHistogram::new();
            taker.collect(&mut given);
            interval.merge(&given);
            total.merge(&given);
        }
        if let Some(log) = &mut log {
            log.append("wakeup", last_ns - start_ns, edge_ns - last_ns, &interval)?;
        }
        let at_s = (edge_ns - start_ns) as f64 / 1e9;
        session.sample(&Sample { at_s, wakeup_latency: interval.summary() })?;
        last_ns = edge_ns;
        edge_ns += config.interval_ns.unwrap_or(u64::MAX / 2);
    }
    waiter.until(until_ns, &stop);
    let after = observer.snapshot()?;
    let machine = observer.compare(&before, &after, &FilterArgs::default().resolve()?);
    Ok(Watched { histograms, log, rest_ns: last_ns - start_ns, machine, usage: usage.read() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_was_kept_away_misses_wake_ups_and_says_so() {
        let missed = Counter::default();
        let config = Config {
            cpus: CpuList::default(),
            sched: Policy::Other,
            period_ns: 1_000_000,
            dma_latency_us: None,
            dma_latency_required: false,
            lock_memory: false,
            duration_ns: 30_000_000,
            interval_ns: None,
            hlog: None,
        };
        let (giver, _taker) = relay::pair();
        let prepared = Prepared {
            index: 0,
            placement: Placement::default(),
            histogram: Box::new(LatencyHistogram::new()),
            giver,
        };
        // A start that has passed already: the first wake-up is late by 10 periods.
        let start_ns = clock::now_ns() - 10_000_000;
        let histogram = wake(prepared, start_ns, &config, &Stop::new(), &missed);
        assert!(missed.value() >= 9);
        assert!(histogram.summary().unwrap().max_ns >= 10_000_000);
        assert!(histogram.count() + missed.value() >= 30);
    }
}
