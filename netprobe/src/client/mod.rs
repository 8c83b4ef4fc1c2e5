//! The client: it connects, decides when, and tells what both ends saw.

pub mod conduct;
pub mod connect;
pub mod intervals;
pub mod total;

use meter::{Error, Result, control::Stop, histogram::HistogramLog, idle::IdleLimit, session::Session};

use crate::{
    config::{ProbeConfig, Repetition},
    workload::{self, Latencies, Work, flow, recorder::Edge},
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
    let (stop, early, edge) = (Stop::new(), Stop::new(), Edge::default());
    let (peer, name) = (server.address().ip(), server.name().to_owned());
    let work = Work {
        order,
        flows: &flows,
        placements: &placements,
        peer,
        local: &config.local,
        stop: &stop,
        early: &early,
        edge: &edge,
    };
    let (givers, mut takers) = workload::relays(placements.len(), !order.is_closed_loop());
    let (mut latencies, mut intervals) = (Latencies::new(), Intervals::default());
    let (offset_ns, first) = (total.elapsed_ns(), total.is_empty());
    let (mut outcomes, measured) = workload::run(&work, &givers, |gate| {
        let conductor = Conductor {
            config,
            work: &work,
            server,
            session,
            takers: &mut takers,
            latencies: &mut latencies,
            log: log.as_deref_mut(),
            offset_ns,
            intervals: &mut intervals,
        };
        let measured = conductor.conduct(gate, first);
        flow::finish(&flows, &stop);
        measured
    })?;
    let Measured { own, moved, peer, failure } = measured;
    let mut rest = Latencies::new();
    takers.collect(&mut rest);
    for outcome in &outcomes {
        outcome.service.iter().for_each(|service| rest.service.merge(service));
        outcome.response.iter().for_each(|response| rest.response.merge(response));
    }
    if let Some(log) = log.filter(|_| rest.service.count() > 0) {
        let told_ns = latencies_told_ns(config, &own);
        write_log(log, offset_ns + told_ns, (own.elapsed_s * 1e9) as u64 - told_ns, &rest)?;
    }
    latencies.merge(&rest);
    let unanswered = outcomes.iter().map(|outcome| outcome.unanswered).sum();
    total.add(own, moved, peer, &latencies, unanswered);
    Ok(failure.or_else(|| workload::first_error(&mut outcomes, &name).err()))
}

/// How much of the measured time is in the interval log already, in nanoseconds: its whole intervals.
fn latencies_told_ns(config: &ProbeConfig, own: &crate::protocol::report::EndReport) -> u64 {
    let elapsed_ns = (own.elapsed_s * 1e9) as u64;
    config.order.interval_ns.map_or(0, |interval_ns| elapsed_ns - elapsed_ns % interval_ns)
}
