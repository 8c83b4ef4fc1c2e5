//! The sink: workers that receive, and the conductor that starts, watches and sums them up.

pub mod args;
pub mod config;
pub mod control;
pub mod delay;
pub mod flows;
pub mod fuzzing;
mod incoming;
pub mod record;
pub mod tracker;
mod worker;

use std::{net::UdpSocket, sync::Mutex};

use meter::{
    Error, Result, clock,
    crew::{self, Gate},
    session::Session,
    usage::{Usage, UsageMeter},
};

use crate::{
    interfaces::TrafficMeter,
    sink::{
        config::SinkConfig,
        delay::DelayCollector,
        record::{SinkSample, SinkSummary},
        worker::{Counters, Finished, Receiver, Totals},
    },
    watch::Watch,
};

/// A sink whose sockets are bound.
#[derive(Debug)]
pub struct OpenSink {
    /// What it does.
    pub config: SinkConfig,
    /// One socket for each worker.
    pub sockets: Vec<UdpSocket>,
}

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
    let counters: Vec<Counters> = placements.iter().map(|_| Counters::default()).collect();
    let sockets: Mutex<Vec<Option<UdpSocket>>> = Mutex::new(sockets.into_iter().map(Some).collect());
    let (meters, mut delays) = delay::meters(config.hlog.as_deref(), config.interval_ns, placements.len())?;
    let meters =
        Mutex::new(meters.into_iter().map(|meter| config.timestamps.then_some(meter)).collect::<Vec<_>>());
    let (stop, watch) = (session.stop(), Watch::over(placements.len()));
    let (finished, conducted) = crew::run(
        &placements,
        |worker| {
            let socket = sockets.lock().ok().and_then(|mut sockets| sockets[worker.index].take());
            let socket = socket.ok_or_else(|| Error::failed("a worker without its socket"))?;
            let meter = meters.lock().ok().and_then(|mut meters| meters[worker.index].take());
            Ok(Receiver::new(&config, worker, socket, meter, &counters, stop.clone()))
        },
        |receiver, start_ns| {
            let finished = receiver.work(start_ns);
            watch.ended();
            finished
        },
        // What the conductor can't tell any more is not worth receiving on for.
        |gate| conduct(&config, &counters, &watch, &mut delays, gate, session).inspect_err(|_| stop.raise()),
    )?;
    let mut totals = Totals::default();
    finished.iter().for_each(|worker| totals.merge(&worker.totals));
    let usage = conducted.usage.read();
    let interfaces = conducted.traffic.as_ref().and_then(|traffic| traffic.read().ok());
    let finished_delays: Vec<_> = finished.iter().filter_map(|worker| worker.delays.as_ref()).collect();
    let (one_way_delay, delay_variation) = delays.finish(&finished_delays, clock::now_ns())?;
    let summary =
        SinkSummary { one_way_delay, delay_variation, interfaces, usage, ..summary(&finished, &totals) };
    session.summary(&summary, notes(&config, &finished, &totals), warnings(&finished, &totals))
}

/// What the conductor knows when the workers have ended.
struct Conducted {
    usage: UsageMeter,
    traffic: Option<TrafficMeter>,
}

/// Starts the workers and gives samples until all have ended.
fn conduct(
    config: &SinkConfig,
    counters: &[Counters],
    watch: &Watch,
    delays: &mut DelayCollector,
    gate: &Gate,
    session: &mut Session<'_>,
) -> Result<Conducted> {
    let mut traffic = TrafficMeter::start().ok();
    // A controller that went away has raised the stop flag: the workers then end without work.
    session.ready()?;
    let start_ns = clock::now_ns();
    gate.open(start_ns);
    let measure_ns = start_ns.saturating_add(config.warmup_ns);
    let mut latest = Totals::default();
    if config.warmup_ns > 0 {
        watch.pause_until(measure_ns);
        latest = Totals::of(counters);
        traffic = TrafficMeter::start().ok();
    }
    let usage = UsageMeter::start(&config.cpus);
    delays.begin(measure_ns);
    watch.intervals(measure_ns, config.interval_ns, |from, to| {
        let now = Totals::of(counters);
        session.sample(&sample(&now.since(&latest), to - from))?;
        latest = now;
        delays.edge(to)
    })?;
    Ok(Conducted { usage, traffic })
}

fn sample(totals: &Totals, interval_ns: u64) -> SinkSample {
    let interval_s = interval_ns as f64 / 1e9;
    SinkSample {
        interval_s,
        delivered_datagrams: totals.delivered,
        delivered_bytes: totals.bytes,
        delivered_pps: totals.delivered as f64 / interval_s,
        goodput_bps: totals.bytes as f64 * 8.0 / interval_s,
        lost_datagrams: totals.lost(),
        dropped_at_socket: Some(totals.dropped),
        reordered_datagrams: totals.reordered,
        duplicated_datagrams: totals.duplicated,
    }
}

/// The summary, but for the parts that others measure.
fn summary(finished: &[Finished], totals: &Totals) -> SinkSummary {
    let span_ns = finished
        .iter()
        .filter_map(|worker| worker.span_ns)
        .reduce(|(first, last), (other_first, other_last)| (first.min(other_first), last.max(other_last)));
    let elapsed_s = span_ns.map(|(first, last)| (last - first) as f64 / 1e9);
    let per_second =
        |amount: u64| elapsed_s.filter(|elapsed| *elapsed > 0.0).map(|elapsed| amount as f64 / elapsed);
    let ratio = |amount: u64, of: u64| (of > 0).then(|| amount as f64 / of as f64);
    let cpu_ns: u64 = finished.iter().map(|worker| worker.cpu_ns).sum();
    SinkSummary {
        elapsed_s,
        delivered_datagrams: totals.delivered,
        delivered_bytes: totals.bytes,
        delivered_pps: per_second(totals.delivered),
        goodput_bps: per_second(totals.bytes * 8),
        lost_datagrams: u64::try_from(totals.lost()).unwrap_or(0),
        dropped_at_socket: finished.iter().all(|worker| worker.knows_drops).then_some(totals.dropped),
        reordered_datagrams: totals.reordered,
        duplicated_datagrams: totals.duplicated,
        unnumbered_datagrams: totals.unnumbered,
        foreign_datagrams: totals.foreign,
        flows: finished.iter().map(|worker| worker.flows).sum(),
        datagrams_per_syscall: ratio(totals.delivered, totals.calls),
        cpu_ns_per_datagram: ratio(cpu_ns, totals.delivered),
        errors: totals.errors.by_kind(),
        one_way_delay: None,
        delay_variation: None,
        interfaces: None,
        usage: Usage::default(),
    }
}

/// Things worth knowing that do not harm the result.
fn notes(config: &SinkConfig, finished: &[Finished], totals: &Totals) -> Vec<String> {
    let sum = |of: &dyn Fn(&Finished) -> u64| finished.iter().map(of).sum::<u64>();
    let joined_late = sum(&|worker| worker.joined_late);
    let other_clock = sum(&|worker| worker.delays.as_ref().map_or(0, |delays| delays.other_clock));
    let mut notes = Vec::new();
    if joined_late > 0 {
        notes.push(format!(
            "{joined_late} flows were joined late: what they sent before is not counted as lost"
        ));
    }
    if other_clock > 0 {
        notes.push(format!(
            "{other_clock} datagrams came from a sender with another clock: their one-way delay can't be told"
        ));
    }
    if config.gro && totals.lost() > totals.dropped as i64 && totals.dropped > 0 {
        notes.push(
            "the kernel counts drops at the socket in messages, and one may hold many datagrams when the sender \
             segments late (GSO); pass --no-gro to count datagrams"
                .to_owned(),
        );
    }
    notes
}

/// Why the result can't be trusted, if so.
fn warnings(finished: &[Finished], totals: &Totals) -> Vec<String> {
    let mut warnings = Vec::new();
    if finished.iter().any(|worker| !worker.pin_held) {
        warnings.push("a worker was moved away from its CPU while it was measured".to_owned());
    }
    if totals.untracked > 0 {
        warnings.push(format!(
            "{} datagrams came from more flows than can be told apart; pass --flows with a larger number",
            totals.untracked
        ));
    }
    warnings
}
