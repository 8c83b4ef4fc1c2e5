//! One measurement from its workers' set-up to its last sample: the loop that every tool shares.
//!
//! A tool brings three things: how a worker is **set up**, what it **works**, and a [`Conductor`] that reads
//! the workers' counters. [`run`] owns the rest, in this order:
//!
//! 1. Each worker is pinned and set up (`setup`: allocate, open, calibrate); [`Conductor::prepare`].
//! 2. `ready`; under `--controlled` the wait for `go`; the sleep until `--start-at`. The workers are asleep
//!    at the gate, nothing is counted yet.
//! 3. The gate opens [`LEAD_NS`] before the common start. Usage, traffic and interrupt windows begin here,
//!    or at the end of the warm-up where there is one: [`Conductor::begin`].
//! 4. At each interval edge [`Conductor::interval`] reads the counters and returns a sample.
//! 5. The workers end themselves: at [`Window::until_ns`], at their own limits, or when the stop flag of
//!    [`Session::stop`] is raised (Ctrl-C, end of the controller's input). Nobody waits for an edge then.
//! 6. The **final collect**: when the last worker has ended, [`Conductor::interval`] is called once more with
//!    what the workers returned. So what came after the last edge has its sample, too.
//! 7. [`run`] returns [`Measured`]; the tool makes its summary from that.
//!
//! # What a tool has to keep
//!
//! * A worker calls [`Window::wait_for_start`] first (unless its first wait is for a time of its own), and
//!   ends by itself at `until_ns` or when the stop flag is raised. What is still in flight then gets
//!   [`DRAIN_NS`] at most; what was not done by then is counted as missed. It neither allocates nor locks nor
//!   prints. A worker that is stopped before `from_ns` has measured nothing: it drains and counts nothing.
//! * Counters that the conductor reads hold the measured time only: a worker counts its warm-up elsewhere
//!   and switches at [`Window::from_ns`]. Then no count lies between what the worker and what the conductor
//!   took for the warm-up's end, and samples add up to the summary exactly.
//! * Latencies go through a [`Recorder`] (worker) and a [`Collector`] (conductor), which also writes the
//!   histogram log: [`recorders`] makes both. `Recorder::begin(window.from_ns)` at the begin of the measured
//!   time, [`Recorder::tick`] with the time before something is recorded, [`Recorder::finish`] as the part of
//!   the worker's outcome that the final collect merges.
//! * Totals of the summary are made from the same counters or from what [`Conductor::interval`] added up,
//!   never measured a second time.
//!
//! # Intervals
//!
//! They partition the measured time: each begins where the one before ended ([`Intervals`]). An interval ends
//! when its counters are read, shortly after its edge. After a stall (SIGSTOP, a host that was away) the
//! interval is longer, and the next edge is at least half an interval away; such intervals, and a last one
//! that was cut short, are samples but no rates to compare: [`Interval::is_regular`] tells.
//!
//! # Parts
//!
//! A tool whose runs have several phases or whose other end has the clock uses [`Intervals`], [`recorders`]
//! and [`Watch`] without [`run`], and says in a comment why.
//!
//! # Example
//!
//! ```
//! use meter::{
//!     control::Control, counter::{Counter, Growth}, placement::Placement, record::MemorySink,
//!     runtime::{self, Conductor, Interval, Plan}, session::{Session, Tool},
//! };
//!
//! /// Reads the counters of all workers.
//! struct Spins<'a> { counters: &'a [Counter], growth: Growth }
//!
//! #[derive(serde::Serialize)]
//! struct Sample { elapsed_s: f64, spins: u64 }
//! impl std::fmt::Display for Sample {
//!     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, "{} spins", self.spins) }
//! }
//!
//! impl Conductor<u64> for Spins<'_> {
//!     type Sample = Sample;
//!     fn interval(&mut self, interval: &Interval, _: Option<&[u64]>) -> meter::Result<Option<Sample>> {
//!         let spins = self.growth.of(self.counters.iter().map(Counter::value).sum());
//!         Ok(Some(Sample { elapsed_s: interval.elapsed_s(), spins }))
//!     }
//! }
//!
//! let (control, mut sink) = (Control::detached(), MemorySink::default());
//! let mut session = Session::new(Tool { name: "spin", version: "0" }, &mut sink, &control, false);
//! let (placements, counters) = ([Placement::default()], [Counter::default()]);
//! let plan = Plan { duration_ns: 25_000_000, interval_ns: Some(10_000_000), ..Plan::default() };
//! let stop = session.stop();
//! let measured = runtime::run(
//!     &plan, &placements, &mut session,
//!     |worker| Ok(worker.index),
//!     |index, window| {
//!         window.wait_for_start(&stop);
//!         while meter::clock::now_ns() < window.until_ns && !stop.is_raised() { counters[index].add(1) }
//!         counters[index].value()
//!     },
//!     &mut Spins { counters: &counters, growth: Growth::default() },
//! )?;
//! assert_eq!(measured.outcomes, [counters[0].value()]);
//! assert!(measured.elapsed_s() >= 0.025);
//! # Ok::<(), meter::Error>(())
//! ```

mod intervals;
mod recorder;
mod watch;
mod window;

#[cfg(test)]
mod tests;

pub use intervals::{Interval, Intervals};
pub use recorder::{Collector, Recorder, recorders};
pub use watch::Watch;
pub use window::Window;

use crate::{
    Result, clock,
    crew::{self, Gate, Worker},
    placement::Placement,
    record::Body,
    session::Session,
    usage::{Usage, UsageMeter},
};

/// Between the opening of the gate and the common start, so that every worker is awake by then: 2 ms.
pub const LEAD_NS: u64 = 2_000_000;
/// Longest time for what is in flight when the measured time is over: 50 ms. What is not done then is missed.
pub const DRAIN_NS: u64 = 50_000_000;
/// A start so far ahead that no window begins, for a run that is stopped before it starts, in nanoseconds: a day.
const NEVER_NS: u64 = 86_400 * clock::SECOND_NS;
/// How often the conductor looks for workers that have not handed over at an edge yet, in nanoseconds.
const GRACE_NS: u64 = 1_000_000;
/// How long it waits for them at most: one that is later counts for the next interval.
const PATIENCE_NS: u64 = 200_000_000;

/// When a measurement begins to count, how long it is, and how often it is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Work before the measured time, in nanoseconds.
    pub warmup_ns: u64,
    /// Length of the measured time, in nanoseconds; the longest one where workers have limits of their own.
    pub duration_ns: u64,
    /// Distance of the samples, in nanoseconds; `None` for none.
    pub interval_ns: Option<u64>,
}

impl Default for Plan {
    fn default() -> Self {
        Self { warmup_ns: 0, duration_ns: u64::MAX, interval_ns: None }
    }
}

/// The tool's part on the calling thread. `O` is what a worker returns.
pub trait Conductor<O> {
    /// The body of its samples.
    type Sample: Body;

    /// All workers are set up, and nothing has begun: the last moment to refuse.
    ///
    /// # Errors
    /// What makes the measurement impossible; nothing is begun then.
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    /// The measured time begins at `from_ns`: windows of traffic and interrupts begin. Called once, before any
    /// [`Conductor::interval`]; also when the run was stopped before that time.
    ///
    /// # Errors
    /// When something can't be read.
    fn begin(&mut self, from_ns: u64) -> Result<()> {
        let _ = from_ns;
        Ok(())
    }

    /// Whether a worker that is expected to hand over at the edge has not done so yet
    /// ([`Collector::is_waiting`]).
    fn is_waiting(&self) -> bool {
        false
    }

    /// An interval has ended: reads what came in it. In the final call `outcomes` are the workers' and the
    /// interval reaches to the end of the measured time, whether `--interval` was given or not. The sample
    /// is given to the session where samples are wanted, else dropped.
    ///
    /// # Errors
    /// When something can't be read or written.
    fn interval(&mut self, interval: &Interval, outcomes: Option<&[O]>) -> Result<Option<Self::Sample>>;

    /// When the measured time ended (CLOCK_MONOTONIC), where the workers know better than `last_ns`, when
    /// the last of them returned.
    fn end_ns(&self, outcomes: &[O], last_ns: u64) -> u64 {
        let _ = outcomes;
        last_ns
    }
}

/// A measurement that has ended.
#[derive(Debug)]
pub struct Measured<O> {
    /// Begin of the measured time, CLOCK_MONOTONIC in nanoseconds.
    pub from_ns: u64,
    /// Its end; the same as `from_ns` when nothing was measured.
    pub end_ns: u64,
    /// What the workers returned, in their order.
    pub outcomes: Vec<O>,
    /// What the measured time cost this process.
    pub usage: Usage,
}

impl<O> Measured<O> {
    /// Length of the measured time, in nanoseconds.
    #[must_use]
    pub fn elapsed_ns(&self) -> u64 {
        self.end_ns - self.from_ns
    }

    /// Length of the measured time, in seconds.
    #[must_use]
    pub fn elapsed_s(&self) -> f64 {
        self.elapsed_ns() as f64 / 1e9
    }
}

/// Measures: see the [module](self).
///
/// # Errors
/// The first error of a pin, a set-up or the conductor, or a worker that panicked.
pub fn run<S, O, C>(
    plan: &Plan,
    placements: &[Placement],
    session: &mut Session<'_>,
    setup: impl Fn(Worker) -> Result<S> + Sync,
    work: impl Fn(S, Window) -> O + Sync,
    conductor: &mut C,
) -> Result<Measured<O>>
where
    O: Send,
    C: Conductor<O>,
{
    let (watch, stop) = (Watch::over(placements.len(), session.stop()), session.stop());
    let (outcomes, begun) = crew::run(
        placements,
        setup,
        |state, start_ns| {
            let _working = watch.working();
            work(state, Window::of(plan, start_ns))
        },
        |gate| {
            let mut lead = Lead { plan, placements, session: &mut *session, conductor: &mut *conductor };
            // What can't be told any more is not worth working on for.
            lead.conduct(gate, &watch).inspect_err(|_| stop.raise())
        },
    )?;
    let last_ns = watch.last_end_ns().unwrap_or_else(clock::now_ns);
    let end_ns = conductor.end_ns(&outcomes, last_ns);
    let Begun { usage, mut intervals } = match begun {
        Some(begun) => begun,
        // Stopped before anything was measured.
        None => Begun::at(end_ns, plan, placements, conductor)?,
    };
    let usage = usage.read();
    let (from_ns, is_empty) = (intervals.from_ns(), intervals.from_ns() >= end_ns);
    // Where an edge came while the last worker was ending, the run is as long as its intervals.
    let last = intervals.finish(end_ns);
    let sample = conductor.interval(&last, Some(&outcomes))?;
    if let Some(sample) = sample.filter(|_| plan.interval_ns.is_some() && !is_empty) {
        session.sample(&sample)?;
    }
    Ok(Measured { from_ns, end_ns: last.to_ns, outcomes, usage })
}

/// What has begun with the measured time.
struct Begun {
    usage: UsageMeter,
    intervals: Intervals,
}

impl Begun {
    fn at<O>(
        from_ns: u64,
        plan: &Plan,
        placements: &[Placement],
        conductor: &mut impl Conductor<O>,
    ) -> Result<Self> {
        let cpus: Vec<usize> = placements.iter().filter_map(|placement| placement.cpu).collect();
        conductor.begin(from_ns)?;
        let until_ns = from_ns.saturating_add(plan.duration_ns);
        Ok(Self {
            usage: UsageMeter::start(&cpus),
            intervals: Intervals::new(from_ns, plan.interval_ns, until_ns),
        })
    }
}

/// What leads the workers.
struct Lead<'a, 's, C> {
    plan: &'a Plan,
    placements: &'a [Placement],
    session: &'a mut Session<'s>,
    conductor: &'a mut C,
}

impl<C> Lead<'_, '_, C> {
    /// Starts the workers and gives samples until all have ended; `None` when that was before the measured time.
    fn conduct<O>(&mut self, gate: &Gate, watch: &Watch) -> Result<Option<Begun>>
    where
        C: Conductor<O>,
    {
        self.conductor.prepare()?;
        let Some(start_ns) = self.session.ready_ahead(LEAD_NS)? else {
            // The stop flag is raised: the workers see it before they do anything, and their window never begins.
            gate.open(clock::now_ns().saturating_add(NEVER_NS));
            return Ok(None);
        };
        let window = Window::of(self.plan, start_ns);
        let mut begun = if self.plan.warmup_ns == 0 {
            let begun = Begun::at(window.from_ns, self.plan, self.placements, self.conductor)?;
            gate.open(start_ns);
            begun
        } else {
            gate.open(start_ns);
            if !watch.wait_until(window.from_ns) {
                return Ok(None);
            }
            Begun::at(window.from_ns, self.plan, self.placements, self.conductor)?
        };
        while let Some(edge_ns) = begun.intervals.next_edge_ns() {
            if !watch.wait_until(edge_ns) || !self.wait_for_workers(edge_ns, watch) {
                break;
            }
            let interval = begun.intervals.end(clock::now_ns());
            if let Some(sample) = self.conductor.interval(&interval, None)? {
                self.session.sample(&sample)?;
            }
        }
        watch.wait_until(u64::MAX);
        Ok(Some(begun))
    }

    /// Gives workers that have not handed over at the edge yet a little more time; says whether any work.
    fn wait_for_workers<O>(&self, edge_ns: u64, watch: &Watch) -> bool
    where
        C: Conductor<O>,
    {
        let interval_ns = self.plan.interval_ns.unwrap_or(u64::MAX);
        let patience_ns = edge_ns.saturating_add(PATIENCE_NS.min(interval_ns / 4));
        while self.conductor.is_waiting() && clock::now_ns() < patience_ns {
            if !watch.wait_until(clock::now_ns() + GRACE_NS.min(interval_ns / 8)) {
                return false;
            }
        }
        true
    }
}
