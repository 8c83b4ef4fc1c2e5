//! The sender: workers that send, and the conductor that reads along and sums them up.

pub mod config;
mod counters;
mod reach;
pub mod record;
mod slots;
mod worker;

use std::sync::Mutex;

use meter::{
    Error, Result,
    histogram::{LatencyHistogram, LatencySummary},
    runtime::{self, Collector, Interval, Measured, Plan, recorders},
    session::Session,
    units,
};

use crate::{
    interfaces::{Traffic, TrafficMeter},
    latency_log::BatchRecorder,
    load::Load,
    payload::Origin,
    sender::{
        config::SendConfig,
        counters::Totals,
        record::{SendSample, SendSummary},
        worker::{Finished, Sender, WorkerCounters},
    },
};

/// Tag of the pacing errors in a histogram log.
const HLOG_TAGS: &[&str] = &["pacing_error"];
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
    let counters: Vec<WorkerCounters> = placements.iter().map(|_| WorkerCounters::default()).collect();
    let (recorders, collector) = recorders(placements.len(), config.interval_ns, LatencyHistogram::new);
    let collector = collector.logging(config.hlog.as_deref(), HLOG_TAGS)?;
    let recorders = Mutex::new(recorders.into_iter().map(Some).collect::<Vec<_>>());
    let (origin, stop) = (Origin::here(), session.stop());
    let plan = Plan {
        warmup_ns: config.warmup_ns,
        duration_ns: config.limit.duration_ns,
        interval_ns: config.interval_ns,
    };
    let before = Totals::default();
    let mut conductor = Conductor { counters: &counters, before, collector, meter: None, traffic: None };
    let measured = runtime::run(
        &plan,
        &placements,
        session,
        |worker| {
            let recorder = recorders.lock().ok().and_then(|mut recorders| recorders[worker.index].take());
            let recorder = recorder.ok_or_else(|| Error::failed("a worker without its recorder"))?;
            let recorder = BatchRecorder::new(recorder);
            Sender::new(config, worker, origin, &counters[worker.index], recorder, stop.clone())
        },
        Sender::work,
        &mut conductor,
    )?;
    conductor.conclude(config, measured, session)
}

/// The part of the calling thread: reads the counters while the workers send.
struct Conductor<'a> {
    counters: &'a [WorkerCounters],
    before: Totals,
    collector: Collector<LatencyHistogram>,
    meter: Option<TrafficMeter>,
    traffic: Option<Traffic>,
}

impl runtime::Conductor<Finished> for Conductor<'_> {
    type Sample = SendSample;

    fn begin(&mut self, from_ns: u64) -> Result<()> {
        // Where the kernel does not tell them, the summary has `null` for the interfaces.
        self.meter = TrafficMeter::start().ok();
        self.collector.begin(from_ns);
        Ok(())
    }

    fn is_waiting(&self) -> bool {
        self.collector.is_waiting()
    }

    fn interval(&mut self, interval: &Interval, finished: Option<&[Finished]>) -> Result<Option<SendSample>> {
        let now = self.totals();
        let rest = finished.unwrap_or_default().iter().map(|worker| &*worker.pacing_error);
        self.collector.collect(interval, rest)?;
        if finished.is_some() {
            self.traffic = self.meter.as_ref().and_then(|meter| meter.read().ok());
        }
        let sample = sample(&now.since(&self.before), interval);
        self.before = now;
        Ok(Some(sample))
    }

    fn end_ns(&self, finished: &[Finished], last_ns: u64) -> u64 {
        finished.iter().map(|worker| worker.end_ns).max().unwrap_or(last_ns)
    }
}

impl Conductor<'_> {
    fn totals(&self) -> Totals {
        Totals::of(self.counters.iter().map(|worker| &worker.measured))
    }

    /// Gives the summary of what all workers did.
    fn conclude(
        self,
        config: &SendConfig,
        measured: Measured<Finished>,
        session: &mut Session<'_>,
    ) -> Result<()> {
        let totals = self.totals();
        let elapsed_s = measured.elapsed_s();
        let cpu_ns: u64 = measured.outcomes.iter().map(|worker| worker.cpu_ns).sum();
        let per_second = |amount: u64| if elapsed_s > 0.0 { amount as f64 / elapsed_s } else { 0.0 };
        let ratio = |amount: u64, of: u64| (of > 0).then(|| amount as f64 / of as f64);
        let mut warnings = warnings(config, &measured.outcomes, &totals);
        let mut notes = config.notes.clone();
        match reach::doubts(config, totals.datagrams, self.traffic.as_ref()) {
            Ok(doubts) => warnings.extend(doubts),
            Err(error) => notes
                .push(format!("whether what was sent left this machine is not known: {}", error.full_text())),
        }
        let summary = SendSummary {
            elapsed_s,
            sent_datagrams: totals.datagrams,
            sent_bytes: totals.bytes,
            unnumbered_datagrams: totals.unnumbered,
            intended_pps: config.load.pps(),
            offered_pps: per_second(totals.datagrams),
            offered_bps: per_second(totals.bytes * 8),
            errors: totals.errors.by_kind(),
            pacing_error: self.collector.total().summary(),
            missed_slots: totals.missed,
            datagrams_per_syscall: ratio(totals.datagrams, totals.calls),
            cpu_ns_per_datagram: ratio(cpu_ns, totals.datagrams),
            interfaces: self.traffic.map(|traffic| traffic.interfaces),
            usage: measured.usage,
        };
        notes
            .extend(summary.pacing_error.as_ref().and_then(|error| no_exponential_gaps(&config.load, error)));
        session.summary(&summary, notes, warnings)?;
        if totals.datagrams == 0 && totals.errors.total() > 0 {
            let kinds: Vec<_> = totals.errors.by_kind().into_keys().collect();
            return Err(Error::failed(format!("not a single datagram could be sent: {}", kinds.join(", "))));
        }
        Ok(())
    }
}

fn sample(totals: &Totals, interval: &Interval) -> SendSample {
    SendSample {
        interval_s: interval.elapsed_s(),
        sent_datagrams: totals.datagrams,
        sent_bytes: totals.bytes,
        offered_pps: interval.per_second(totals.datagrams),
        offered_bps: interval.per_second(totals.bytes.saturating_mul(8)),
        missed_slots: totals.missed,
        errors: totals.errors.by_kind(),
    }
}

/// What to know of Poisson arrivals that come faster than datagrams can be handed over one by one: where more than one in
/// ten is later than a tenth of the mean gap, the gaps on the wire are others than those of the schedule.
fn no_exponential_gaps(load: &Load, error: &LatencySummary) -> Option<String> {
    let Load::Paced(pace) = load else { return None };
    let gap_ns = 1e9 / pace.pps() * pace.burst as f64;
    (pace.poisson && error.p90_ns as f64 > gap_ns / 10.0).then(|| {
        format!(
            "one datagram in ten or more was handed over {} late, where the mean gap is {}: on the wire the gaps are not \
             exponential at this rate",
            units::duration(error.p90_ns as f64),
            units::duration(gap_ns)
        )
    })
}

/// Why the result can't be trusted, if so.
fn warnings(config: &SendConfig, finished: &[Finished], totals: &Totals) -> Vec<String> {
    let mut warnings = Vec::new();
    if finished.iter().any(|worker| !worker.pin_held) {
        warnings.push("a worker was moved away from its CPU while it was measured".to_owned());
    }
    let slots = totals.missed.saturating_add(totals.datagrams);
    let stopped_with: u64 = finished.iter().map(|worker| worker.stopped_with).sum();
    let missed = totals.missed.saturating_sub(stopped_with);
    if matches!(config.load, Load::Paced(_)) && missed as f64 > slots as f64 * MISSED_MAX {
        warnings.push(format!(
            "the intended load was not reached: {} of {slots} slots were more than {} late or not sent by the end",
            missed,
            units::Nanoseconds(config.catch_up_ns)
        ));
    }
    warnings
}
