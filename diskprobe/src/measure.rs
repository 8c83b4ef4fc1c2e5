//! The conductor: one run after the other, each with its preparation, its meters and its sample.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use meter::{
    Error, Result, clock,
    control::Stop,
    crew::{self, Gate},
    interrupts::{InterruptCount, InterruptMeter},
    session::Session,
    usage::{Usage, UsageMeter},
    wait::Waiter,
};

use crate::{
    blocks::{Blocks, Region},
    config::{Config, Mode},
    data::{Data, Filler},
    engine::Fault,
    outcome::{Figures, Sample, Summary},
    precondition,
    ring::Ring,
    setup::RingOptions,
    stage::Stage,
    target::{self, Found, Target},
    worker::{Failure, Latencies, Progress, Tally, Work, Worker},
};

/// What each worker shall do in a phase, by its number.
type Orders = Arc<Vec<Work>>;
type Rhythm = Stage<Orders, Result<Tally>>;

/// Measures, and tells the session.
///
/// # Errors
/// What prevented a valid result. A failing operation is told after the summary of what was done.
pub fn run(config: &Config, session: &mut Session<'_>) -> Result<()> {
    let found = target::inspect(config)?;
    let total = total_bytes(config, found)?;
    if !session.start(config)? {
        return Ok(());
    }
    let target = Target::open(config, found, total)?;
    let stage = Rhythm::default();
    let stop = session.stop();
    let filler = match &config.mode {
        Mode::Write { data, .. } => *data,
        Mode::Read { .. } => Filler { data: Data::Zeros, seed: 0, refill: false },
    };
    let latencies: Vec<Mutex<Latencies>> =
        config.placements.iter().map(|_| Mutex::new(Latencies::new(false))).collect();
    let conductor = Conductor { config, target: &target, stage: &stage, latencies: &latencies, total };
    let setup = |worker: crew::Worker| {
        let ring =
            Ring::new(target.file(), config.queue_depth, config.block_size_bytes, &RingOptions::default())?;
        let waiter = Waiter { margin_ns: 0 };
        let hand = Worker::new(ring, filler, waiter, stop.clone(), Arc::new(Progress::default()));
        Ok((worker.index, hand))
    };
    let work = |(index, mut worker): (usize, Worker<Ring>), _| {
        let mut seen = 0;
        while let Some(orders) = stage.next(&mut seen) {
            let mut work = orders[index].clone();
            let mut latencies = latencies[index].lock().unwrap_or_else(PoisonError::into_inner);
            latencies.reset();
            let tally = worker.perform(&mut work, &mut latencies);
            drop(latencies);
            stage.report(tally);
        }
    };
    crew::run(&config.placements, setup, work, |gate| conductor.conduct(session, gate)).map(drop)
}

/// Bytes of one run.
fn total_bytes(config: &Config, found: Found) -> Result<u64> {
    let wanted = config.total_bytes.unwrap_or(DEFAULT_TOTAL_BYTES);
    let available = match (found, config.operation()) {
        (Found::Nothing, _) | (Found::File(_), crate::engine::Operation::Write) => return Ok(wanted),
        (Found::File(size) | Found::BlockDevice(size), _) => size,
    };
    match config.total_bytes {
        Some(total) if total > available => Err(Error::bad_arguments(format!(
            "{} has {available} bytes, fewer than --total {total}",
            config.path.display()
        ))),
        Some(total) => Ok(total),
        None => Ok(wanted.min(available / 4096 * 4096)),
    }
}

/// 128 KiB × 8000: what the published measurement wrote.
const DEFAULT_TOTAL_BYTES: u64 = 8000 << 17;

struct Conductor<'a> {
    config: &'a Config,
    target: &'a Target,
    stage: &'a Rhythm,
    latencies: &'a [Mutex<Latencies>],
    total: u64,
}

/// Sends the workers home when the conductor leaves, whichever way.
struct Home<'a>(&'a Rhythm);

impl Drop for Home<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Conductor<'_> {
    fn conduct(&self, session: &mut Session<'_>, gate: &Gate) -> Result<()> {
        let go = session.ready()?;
        gate.open(clock::now_ns());
        let _home = Home(self.stage);
        let stop = session.stop();
        let mut totals = Totals::new(self.config.runs);
        let mut failure = None;
        for run in 0..self.config.runs {
            if !go || stop.is_raised() || failure.is_some() {
                break;
            }
            self.prepare(run, &stop)?;
            let (measured, failed) = self.measure()?;
            failure = failed;
            let latencies = self.run_latencies();
            session.sample(&Sample { run, figures: measured.figures(&latencies) })?;
            totals.add(measured, &latencies);
        }
        let bytes = totals.measured.tally.bytes;
        session.summary(&totals.summary(&self.run_latencies()), Vec::new(), Vec::new())?;
        failure.map_or(Ok(()), |failure| Err(self.describe(failure, bytes)))
    }

    /// Rests, writes the unrelated data and gives the target back its first state.
    fn prepare(&self, run: u32, stop: &Stop) -> Result<()> {
        if run > 0 && self.config.settle_ns > 0 {
            Waiter { margin_ns: 0 }.until(clock::now_ns() + self.config.settle_ns, stop);
        }
        if self.config.precondition_bytes > 0 {
            precondition::write(&self.config.path, self.config.precondition_bytes, stop)?;
        }
        self.target.prepare_run()
    }

    /// One run of all workers between the meters.
    fn measure(&self) -> Result<(Measured, Option<Failure>)> {
        let interrupts = InterruptMeter::start(self.target.interrupt_sources())?;
        let usage = UsageMeter::start(self.config.cpus.cpus());
        self.stage.give(self.orders());
        let tallies = loop {
            if let Some(tallies) = self.stage.collect(self.latencies.len(), Duration::from_secs(3600)) {
                break tallies;
            }
        };
        let (usage, interrupts) = (usage.read(), interrupts.read()?);
        let tallies = tallies.into_iter().collect::<Result<Vec<Tally>>>()?;
        let mut tally = Tally { begin_ns: u64::MAX, ..Tally::default() };
        tallies.iter().for_each(|one| tally.add(one));
        let elapsed_ns = tally.end_ns - tally.begin_ns;
        Ok((Measured { tally, elapsed_ns, usage, interrupts: Some(interrupts) }, tally.failure))
    }

    /// Every worker's share of the blocks: one stretch after the other.
    fn orders(&self) -> Orders {
        let workers = self.latencies.len() as u64;
        let block_size = self.config.block_size_bytes;
        let blocks = self.total.div_ceil(u64::from(block_size));
        let share = |index: u64| {
            let edge = |index: u64| (blocks * index / workers * u64::from(block_size)).min(self.total);
            let region = Region { offset: edge(index), length: edge(index + 1) - edge(index) };
            Work {
                operation: self.config.operation(),
                blocks: Blocks::sequential(region, block_size, region.length),
                until_ns: self.config.duration_ns.map_or(u64::MAX, |ns| clock::now_ns().saturating_add(ns)),
                schedule: None,
                batch: self.config.batch,
            }
        };
        Arc::new((0..workers).map(share).collect())
    }

    /// The latencies of the last run, all workers' in the first one's place.
    fn run_latencies(&self) -> MutexGuard<'_, Latencies> {
        let mut first = self.latencies[0].lock().unwrap_or_else(PoisonError::into_inner);
        for other in &self.latencies[1..] {
            let mut other = other.lock().unwrap_or_else(PoisonError::into_inner);
            first.merge(&other);
            other.reset();
        }
        first
    }

    fn describe(&self, failure: Failure, bytes: u64) -> Error {
        let Failure { request, bytes: part, fault } = failure;
        let verb = request.operation.verb();
        let path = self.config.path.display();
        let offset = request.offset + u64::from(part);
        let so_far = format!("{verb} {path} at offset {offset}, after {bytes} bytes were done");
        match fault {
            Fault::Errno(errno) => {
                Error::failed(so_far).with_source(std::io::Error::from_raw_os_error(errno))
            }
            Fault::EndOfTarget => {
                Error::failed(format!("{so_far}: the target ends there; was it truncated meanwhile?"))
            }
        }
    }
}

/// What was measured in one run, or in all together.
#[derive(Clone)]
struct Measured {
    tally: Tally,
    elapsed_ns: u64,
    usage: Usage,
    interrupts: Option<InterruptCount>,
}

impl Measured {
    fn figures(&self, latencies: &Latencies) -> Figures {
        let nothing =
            InterruptCount { count: None, sources: Vec::new(), reason: Some("nothing was run".into()) };
        let interrupts = self.interrupts.clone().unwrap_or(nothing);
        Figures::new(&self.tally, self.elapsed_ns, latencies, self.usage.clone(), interrupts)
    }
}

/// The sum of the runs so far.
struct Totals {
    runs: u32,
    measured: Measured,
    /// All runs' latencies; `None` where a single run is planned, whose own are the sum.
    latencies: Option<Latencies>,
}

impl Totals {
    fn new(planned: u32) -> Self {
        let measured =
            Measured { tally: Tally::default(), elapsed_ns: 0, usage: Usage::default(), interrupts: None };
        Self { runs: 0, measured, latencies: (planned > 1).then(|| Latencies::new(false)) }
    }

    fn add(&mut self, run: Measured, latencies: &Latencies) {
        self.runs += 1;
        if let Some(all) = &mut self.latencies {
            all.merge(latencies);
        }
        if self.runs == 1 {
            self.measured = run;
            return;
        }
        let all = &mut self.measured;
        all.tally.add(&run.tally);
        all.elapsed_ns += run.elapsed_ns;
        all.usage = sum_of_usage(&all.usage, &run.usage);
        let counts = all.interrupts.as_mut().zip(run.interrupts);
        if let Some((sum, one)) = counts {
            sum.count = sum.count.zip(one.count).map(|(sum, one)| sum + one);
        }
    }

    fn summary(&self, last_run: &Latencies) -> Summary {
        let latencies = self.latencies.as_ref().unwrap_or(last_run);
        Summary { runs: self.runs, figures: self.measured.figures(latencies) }
    }
}

fn sum_of_usage(a: &Usage, b: &Usage) -> Usage {
    Usage {
        cpu_user_ns: a.cpu_user_ns + b.cpu_user_ns,
        cpu_system_ns: a.cpu_system_ns + b.cpu_system_ns,
        context_switches_voluntary: a.context_switches_voluntary + b.context_switches_voluntary,
        context_switches_involuntary: a.context_switches_involuntary + b.context_switches_involuntary,
        steal_ns: a.steal_ns.zip(b.steal_ns).map(|(a, b)| a + b),
        resident_peak_bytes: a.resident_peak_bytes.max(b.resident_peak_bytes),
    }
}
