//! The sender: workers that send, and the conductor that starts, watches and sums them up.

pub mod config;
pub mod record;
mod worker;

use meter::{
    Error, Result, clock,
    crew::{self, Gate},
    histogram::{HistogramLog, LatencyHistogram},
    relay::{self, Taker},
    session::Session,
    usage::UsageMeter,
};

use crate::{
    load::Load,
    payload::Origin,
    sender::{
        config::SendConfig,
        record::{SendSample, SendSummary},
        worker::{Counters, Finished, Sender, Totals},
    },
    watch::Watch,
};

/// Tag of the pacing errors in a histogram log.
const HLOG_TAG: &str = "pacing_error";
/// How far ahead of now the common start lies, so that every worker is awake by then.
const START_AHEAD_NS: u64 = 1_000_000;
/// A paced load that misses more than this part of its slots was not the load that was asked for.
const MISSED_MAX: f64 = 0.001;

/// Sends as `config` says and tells `session` about it.
///
/// # Errors
/// When something is refused before the start, or nothing at all could be sent.
pub fn run(config: &SendConfig, session: &mut Session<'_>) -> Result<()> {
    if !session.start(config)? {
        return Ok(());
    }
    let placements = config.placements();
    let counters: Vec<Counters> = placements.iter().map(|_| Counters::default()).collect();
    let (givers, takers) = relays(config, placements.len());
    let givers = std::sync::Mutex::new(givers);
    let (origin, stop) = (Origin::here(), session.stop());
    let watch = Watch::over(placements.len());
    let mut conductor = Conductor { config, counters: &counters, watch: &watch, takers, log: None };
    let (finished, conducted) = crew::run(
        &placements,
        |worker| {
            let giver = givers.lock().ok().and_then(|mut givers| givers[worker.index].take());
            Sender::new(config, worker, origin, &counters[worker.index], giver, stop.clone())
        },
        |sender, start_ns| {
            let finished = sender.work(start_ns);
            watch.ended();
            finished
        },
        |gate| conductor.conduct(gate, session),
    )?;
    conductor.conclude(&finished, conducted, session)
}

/// The ways of pacing errors from each worker to the conductor, where a histogram log wants them.
fn relays(config: &SendConfig, workers: usize) -> (Vec<Option<relay::Giver>>, Vec<Taker>) {
    if config.hlog.is_none() || config.interval_ns.is_none() {
        return ((0..workers).map(|_| None).collect(), Vec::new());
    }
    (0..workers).map(|_| relay::pair()).map(|(giver, taker)| (Some(giver), taker)).unzip()
}

struct Conductor<'a> {
    config: &'a SendConfig,
    counters: &'a [Counters],
    watch: &'a Watch,
    takers: Vec<Taker>,
    log: Option<HistogramLog>,
}

/// What the conductor knows when the workers have ended.
struct Conducted {
    measure_ns: u64,
    usage: UsageMeter,
    /// Pacing errors that were taken from the workers already, and until when they are in the log.
    pacing_error: LatencyHistogram,
    logged_ns: u64,
}

impl Conductor<'_> {
    /// Starts the workers and gives samples until all have ended.
    fn conduct(&mut self, gate: &Gate, session: &mut Session<'_>) -> Result<Conducted> {
        self.log = self.config.hlog.as_deref().map(HistogramLog::create).transpose()?;
        let usage = UsageMeter::start(&self.config.cpus);
        let mut pacing_error = LatencyHistogram::new();
        // A controller that went away has raised the stop flag: the workers then end without work.
        session.ready()?;
        let start_ns = clock::now_ns() + START_AHEAD_NS;
        gate.open(start_ns);
        let measure_ns = start_ns + self.config.warmup_ns;
        let mut conducted =
            Conducted { measure_ns, usage, pacing_error: LatencyHistogram::new(), logged_ns: measure_ns };
        if self.config.warmup_ns > 0 {
            self.watch.pause_until(measure_ns);
            conducted.usage = UsageMeter::start(&self.config.cpus);
        }
        let mut before = Totals::of(self.counters);
        let (counters, takers, log) = (self.counters, &mut self.takers, &mut self.log);
        self.watch.intervals(measure_ns, self.config.interval_ns, |from, to| {
            let now = Totals::of(counters);
            session.sample(&sample(&now.since(&before), to - from))?;
            before = now;
            pacing_error.reset();
            takers.iter_mut().for_each(|taker| {
                taker.collect(&mut pacing_error);
            });
            conducted.pacing_error.merge(&pacing_error);
            if let (Some(log), true) = (log.as_mut(), pacing_error.count() > 0) {
                log.append(
                    HLOG_TAG,
                    conducted.logged_ns - measure_ns,
                    to - conducted.logged_ns,
                    &pacing_error,
                )?;
                conducted.logged_ns = to;
            }
            Ok(())
        })?;
        Ok(conducted)
    }

    /// Gives the summary of what all workers did.
    fn conclude(
        &mut self,
        finished: &[Finished],
        conducted: Conducted,
        session: &mut Session<'_>,
    ) -> Result<()> {
        let usage = conducted.usage.read();
        let mut totals = Totals::default();
        let mut rest = LatencyHistogram::new();
        for taker in &mut self.takers {
            taker.collect(&mut rest);
        }
        for worker in finished {
            totals.merge(&worker.totals);
            rest.merge(&worker.pacing_error);
        }
        let end_ns = finished.iter().map(|worker| worker.end_ns).max().unwrap_or(conducted.measure_ns);
        if let (Some(log), true) = (&mut self.log, rest.count() > 0) {
            let length_ns = end_ns.saturating_sub(conducted.logged_ns);
            log.append(HLOG_TAG, conducted.logged_ns - conducted.measure_ns, length_ns, &rest)?;
        }
        let mut pacing_error = conducted.pacing_error;
        pacing_error.merge(&rest);

        let elapsed_s = end_ns.saturating_sub(conducted.measure_ns) as f64 / 1e9;
        let cpu_ns: u64 = finished.iter().map(|worker| worker.cpu_ns).sum();
        let per_second = |amount: u64| if elapsed_s > 0.0 { amount as f64 / elapsed_s } else { 0.0 };
        let ratio = |amount: u64, of: u64| (of > 0).then(|| amount as f64 / of as f64);
        let summary = SendSummary {
            elapsed_s,
            sent_datagrams: totals.datagrams,
            sent_bytes: totals.bytes,
            intended_pps: self.config.load.pps(),
            offered_pps: per_second(totals.datagrams),
            offered_bps: per_second(totals.bytes * 8),
            errors: totals.errors.by_kind(),
            pacing_error: pacing_error.summary(),
            missed_slots: totals.missed,
            datagrams_per_syscall: ratio(totals.datagrams, totals.calls),
            cpu_ns_per_datagram: ratio(cpu_ns, totals.datagrams),
            usage,
        };
        session.summary(&summary, self.config.notes.clone(), warnings(self.config, finished, &totals))?;
        if totals.datagrams == 0 && totals.errors.total() > 0 {
            let kinds: Vec<_> = totals.errors.by_kind().into_keys().collect();
            return Err(Error::failed(format!("not a single datagram could be sent: {}", kinds.join(", "))));
        }
        Ok(())
    }
}

fn sample(totals: &Totals, interval_ns: u64) -> SendSample {
    let interval_s = interval_ns as f64 / 1e9;
    SendSample {
        interval_s,
        sent_datagrams: totals.datagrams,
        sent_bytes: totals.bytes,
        offered_pps: totals.datagrams as f64 / interval_s,
        offered_bps: totals.bytes as f64 * 8.0 / interval_s,
        missed_slots: totals.missed,
        errors: totals.errors.by_kind(),
    }
}

/// Why the result can't be trusted, if so.
fn warnings(config: &SendConfig, finished: &[Finished], totals: &Totals) -> Vec<String> {
    let mut warnings = Vec::new();
    if finished.iter().any(|worker| !worker.pin_held) {
        warnings.push("a worker was moved away from its CPU while it was measured".to_owned());
    }
    let slots = totals.missed + totals.datagrams;
    if matches!(config.load, Load::Paced(_)) && totals.missed as f64 > slots as f64 * MISSED_MAX {
        warnings.push(format!(
            "the intended load was not reached: {} of {slots} slots were more than {} late",
            totals.missed,
            meter::units::Nanoseconds(config.catch_up_ns)
        ));
    }
    warnings
}
