//! The client: it connects, decides when, and tells what both ends saw.

pub mod conduct;
pub mod connect;
pub mod intervals;
pub mod total;

use meter::{Error, Result, control::Stop, histogram::HistogramLog, idle::IdleLimit, session::Session};

use crate::{
    config::{ProbeConfig, Repetition},
    protocol::order::Workload,
    workload::{self, Latencies, Recorders, Work, flow, recorder},
};
use conduct::{Conductor, Measured, write_log};
use connect::Server;
use intervals::Intervals;
use total::Total;

/// Measures what `config` says, as often as it says.
///
/// # Errors
/// When the server refuses or goes away, or a flow breaks. What was seen until then is told first.
pub fn probe(config: &ProbeConfig, session: &mut Session<'_>) -> Result<()> {
    if !session.start(config)? {
        return Ok(());
    }
    let _idle_limit = config.order.cpu_dma_latency_us.map(IdleLimit::hold).transpose()?;
    let mut log = config.hlog.as_deref().map(HistogramLog::create).transpose()?;
    let mut server = Server::connect(config, session.stop())?;
    let mut total = Total::new(config);
    let mut failure = None;
    while failure.is_none() && !session.stop().is_raised() && total.wants_more(&config.repetition) {
        match measure(config, &mut server, &mut total, log.as_mut(), session) {
            Ok(error) => failure = error,
            // Nothing was seen: there is nothing to sum up.
            Err(error) if total.is_empty() => return Err(error),
            Err(error) => failure = Some(error),
        }
        if failure.is_none() && config.repetition != Repetition::Once {
            session.sample(&total.last_repetition())?;
        }
    }
    total.tell(config, session)?;
    failure.map_or(Ok(()), Err)
}

/// Measures once and adds it to `total`; gives why it ended early, if it did.
fn measure(
    config: &ProbeConfig,
    server: &mut Server,
    total: &mut Total,
    mut log: Option<&mut HistogramLog>,
    session: &mut Session<'_>,
) -> Result<Option<Error>> {
    let order = &config.order;
    let flows = server.open(order, &config.local)?;
    let placements = workload::placements(&config.placements, config.threads, order.all_flows());
    let (stop, early) = (Stop::new(), Stop::new());
    let (peer, name) = (server.address().ip(), server.name().to_owned());
    let work = Work {
        order,
        flows: &flows,
        placements: &placements,
        peer,
        local: &config.local,
        stop: &stop,
        early: &early,
    };
    let is_stream = matches!(order.workload, Workload::Stream { .. });
    let asking = if is_stream { 0 } else { placements.len() };
    let (recorders, mut collector) = recorder::recorders(asking, !order.is_closed_loop(), order.interval_ns);
    let (recorders, mut intervals) = (Recorders::new(recorders), Intervals::default());
    let (offset_ns, first) = (total.elapsed_ns(), total.is_empty());
    let (mut outcomes, measured) = workload::run(&work, &recorders, |gate| {
        let conductor = Conductor {
            config,
            work: &work,
            server,
            session,
            collector: &mut collector,
            log: log.as_deref_mut(),
            offset_ns,
            intervals: &mut intervals,
        };
        let measured = conductor.conduct(gate, first);
        flow::finish(&flows, &stop);
        measured
    })?;
    let Measured { own, moved, peer, failure, last: (interval, mut last) } = measured;
    // The final collect: what came after the last edge.
    let rest = outcomes.iter().filter_map(|outcome| outcome.latencies.as_deref());
    let mut latencies = Latencies::new();
    latencies.merge(collector.collect(&interval, rest)?);
    if let Some(log) = log.filter(|_| latencies.service.count() > 0) {
        let offset_ns = offset_ns + (interval.from_ns - interval.zero_ns);
        write_log(log, offset_ns, interval.elapsed_ns(), &latencies)?;
    }
    if order.interval_ns.is_some() {
        last.latencies = Some(latencies).filter(|_| !is_stream);
        if interval.elapsed_ns() > 0 {
            intervals.push_own(last);
        }
        intervals.finish(order, &config.percentiles, session)?;
    }
    let unanswered = outcomes.iter().map(|outcome| outcome.unanswered).sum();
    total.add(own, moved, peer, collector.total(), unanswered);
    Ok(failure.or_else(|| workload::first_error(&mut outcomes, &name).err()))
}
