//! The sender: workers that send, and the conductor that starts, watches and sums them up.

pub mod config;
pub mod record;
mod worker;

use std::sync::Mutex;

use meter::{
    Error, Result, clock,
    crew::{self, Gate},
    session::Session,
    usage::UsageMeter,
};

use crate::{
    interfaces::TrafficMeter,
    latency_log::Collector,
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
    let (recorders, collector) =
        Collector::new(HLOG_TAG, config.hlog.as_deref(), config.interval_ns, placements.len())?;
    let recorders = Mutex::new(recorders.into_iter().map(Some).collect::<Vec<_>>());
    let (origin, stop) = (Origin::here(), session.stop());
    let watch = Watch::over(placements.len());
    let mut conductor = Conductor { config, counters: &counters, watch: &watch, collector };
    let (finished, conducted) = crew::run(
        &placements,
        |worker| {
            let recorder = recorders.lock().ok().and_then(|mut recorders| recorders[worker.index].take());
            let recorder = recorder.ok_or_else(|| Error::failed("a worker without its recorder"))?;
            Sender::new(config, worker, origin, &counters[worker.index], recorder, stop.clone())
        },
        |sender, start_ns| {
            let finished = sender.work(start_ns);
            watch.ended();
            finished
        },
        // What the conductor can't tell any more is not worth sending on for.
        |gate| conductor.conduct(gate, session).inspect_err(|_| stop.raise()),
    )?;
    conductor.conclude(&finished, &conducted, session)
}

struct Conductor<'a> {
    config: &'a SendConfig,
    counters: &'a [Counters],
    watch: &'a Watch,
    collector: Collector,
}

/// What the conductor knows when the workers have ended.
struct Conducted {
    measure_ns: u64,
    usage: UsageMeter,
    traffic: Option<TrafficMeter>,
}

impl Conductor<'_> {
    /// Starts the workers and gives samples until all have ended.
    fn conduct(&mut self, gate: &Gate, session: &mut Session<'_>) -> Result<Conducted> {
        // A controller that went away has raised the stop flag: the workers then end without work.
        let start_ns = session.ready_ahead(START_AHEAD_NS)?.unwrap_or_else(clock::now_ns);
        let mut traffic = TrafficMeter::start().ok();
        let mut usage = UsageMeter::start(&self.config.cpus);
        gate.open(start_ns);
        let measure_ns = start_ns.saturating_add(self.config.warmup_ns);
        let mut before = Totals::default();
        if self.config.warmup_ns > 0 {
            self.watch.pause_until(measure_ns);
            before = Totals::of(self.counters);
            (usage, traffic) = (UsageMeter::start(&self.config.cpus), TrafficMeter::start().ok());
        }
        let (counters, collector) = (self.counters, &mut self.collector);
        collector.begin(measure_ns);
        self.watch.intervals(measure_ns, self.config.interval_ns, |from, to| {
            let now = Totals::of(counters);
            session.sample(&sample(&now.since(&before), to - from))?;
            before = now;
            collector.edge(to)
        })?;
        Ok(Conducted { measure_ns, usage, traffic })
    }

    /// Gives the summary of what all workers did.
    fn conclude(self, finished: &[Finished], conducted: &Conducted, session: &mut Session<'_>) -> Result<()> {
        let usage = conducted.usage.read();
        let interfaces = conducted.traffic.as_ref().and_then(|traffic| traffic.read().ok());
        let measure_ns = conducted.measure_ns;
        let end_ns = finished.iter().map(|worker| worker.end_ns).max().unwrap_or(measure_ns);
        let mut totals = Totals::default();
        finished.iter().for_each(|worker| totals.merge(&worker.totals));
        let rest = finished.iter().map(|worker| &*worker.pacing_error);
        let pacing_error = self.collector.finish(rest, end_ns)?;

        let elapsed_s = end_ns.saturating_sub(measure_ns) as f64 / 1e9;
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
            interfaces,
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
