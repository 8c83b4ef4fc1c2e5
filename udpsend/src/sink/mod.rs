//! The sink: workers that receive, and the conductor that reads along and sums them up.

pub mod args;
mod batch;
pub mod config;
pub mod control;
mod counters;
pub mod delay;
pub mod flows;
pub mod fuzzing;
mod incoming;
mod open;
pub mod record;
mod report;
pub mod tracker;
mod worker;

use std::{net::UdpSocket, sync::Mutex};

use meter::{
    Error, Result,
    runtime::{self, Collector, Interval, Plan, recorders},
    session::Session,
};

use crate::{
    interfaces::{Traffic, TrafficMeter},
    sink::{
        counters::Totals,
        delay::{DelayMeter, Delays},
        open::OpenSink,
        record::SinkSample,
        report::Arrived,
        worker::{Finished, Receiver, WorkerCounters},
    },
};

/// Receives as `sink` says and tells `session` about it.
///
/// # Errors
/// When a worker can't be set up or a record can't be written.
pub fn run(sink: OpenSink, session: &mut Session<'_>) -> Result<()> {
    let OpenSink { config, sockets } = sink;
    if !session.start(&config)? {
        return Ok(());
    }
    let placements = config.placements();
    let counters: Vec<WorkerCounters> = placements.iter().map(|_| WorkerCounters::default()).collect();
    let mut conductor = Conductor {
        counters: &counters,
        before: Totals::default(),
        collector: None,
        meter: None,
        traffic: None,
    };
    let mut meters = Vec::new();
    if config.timestamps {
        let (recorders, collector) = recorders(placements.len(), config.interval_ns, Delays::none);
        conductor.collector = Some(collector.logging(config.hlog.as_deref(), delay::HLOG_TAGS)?);
        meters.extend(recorders.into_iter().map(DelayMeter::new));
    }
    let mut meters = meters.into_iter().map(Some);
    let parts = sockets.into_iter().map(|socket| Some((socket, meters.next().flatten())));
    let parts: Mutex<Vec<Option<Part>>> = Mutex::new(parts.collect());
    let stop = session.stop();
    let plan = Plan {
        warmup_ns: config.warmup_ns,
        duration_ns: config.duration_ns,
        interval_ns: config.interval_ns,
    };
    let measured = runtime::run(
        &plan,
        &placements,
        session,
        |worker| {
            let part = parts.lock().ok().and_then(|mut parts| parts[worker.index].take());
            let (socket, meter) = part.ok_or_else(|| Error::failed("a worker without its socket"))?;
            Ok(Receiver::new(&config, worker, socket, meter, &counters, stop.clone()))
        },
        Receiver::work,
        &mut conductor,
    )?;
    let arrived = Arrived {
        totals: conductor.totals(),
        delays: conductor.collector.as_ref().and_then(|collector| collector.total().summaries()),
        interfaces: conductor.traffic.map(|traffic| traffic.interfaces),
        measured,
    };
    let (notes, warnings) = (arrived.notes(&config), arrived.warnings());
    session.summary(&arrived.summary(), notes, warnings)
}

/// What a worker gets: its socket, and a meter of delays where they are measured.
type Part = (UdpSocket, Option<DelayMeter>);

/// The part of the calling thread: reads the counters while the workers receive.
struct Conductor<'a> {
    counters: &'a [WorkerCounters],
    before: Totals,
    /// Of the delays, where they are measured.
    collector: Option<Collector<Delays>>,
    meter: Option<TrafficMeter>,
    traffic: Option<Traffic>,
}

impl Conductor<'_> {
    fn totals(&self) -> Totals {
        Totals::of(self.counters.iter().map(|worker| &worker.measured))
    }
}

impl runtime::Conductor<Finished> for Conductor<'_> {
    type Sample = SinkSample;

    fn begin(&mut self, from_ns: u64) -> Result<()> {
        // Where the kernel does not tell them, the summary has `null` for the interfaces.
        self.meter = TrafficMeter::start().ok();
        if let Some(collector) = &mut self.collector {
            collector.begin(from_ns);
        }
        Ok(())
    }

    fn is_waiting(&self) -> bool {
        self.collector.as_ref().is_some_and(Collector::is_waiting)
    }

    fn interval(&mut self, interval: &Interval, finished: Option<&[Finished]>) -> Result<Option<SinkSample>> {
        let now = self.totals();
        if let Some(collector) = &mut self.collector {
            let rest = finished.unwrap_or_default().iter().filter_map(|worker| worker.delays.as_deref());
            collector.collect(interval, rest)?;
        }
        if finished.is_some() {
            self.traffic = self.meter.as_ref().and_then(|meter| meter.read().ok());
        }
        let sample = report::sample(&now.since(&self.before), interval);
        self.before = now;
        Ok(Some(sample))
    }

    fn end_ns(&self, finished: &[Finished], last_ns: u64) -> u64 {
        finished.iter().map(|worker| worker.end_ns).max().unwrap_or(last_ns)
    }
}
