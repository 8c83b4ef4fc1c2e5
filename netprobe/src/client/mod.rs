//! The client: it connects, decides when, and tells what both ends saw.

pub mod conduct;
pub mod connect;

use meter::{Result, control::Stop, histogram::LatencyHistogram, session::Session};

use crate::{
    config::ProbeConfig,
    protocol::message::{Direction, EndReport, Workload},
    record::{StreamSummary, TransactionSummary},
    workload,
};
use conduct::Conductor;
use connect::Server;

/// Measures what `config` says.
///
/// # Errors
/// When the server refuses or goes away, or a flow breaks. What was seen until then is told first.
pub fn probe(config: &ProbeConfig, session: &mut Session<'_>) -> Result<()> {
    if !session.start(config)? {
        return Ok(());
    }
    let mut server = Server::connect(config, session.stop())?;
    let flows = server.open(&config.order)?;
    let (finish, early) = (Stop::new(), Stop::new());
    let (mut outcomes, measured) =
        workload::run(&config.order, &flows, &config.placements, &finish, &early, |gate| {
            let mut conductor = Conductor::new(config, &flows, &mut server, &finish, &early);
            let measured = conductor.conduct(gate, session);
            workload::finish(&flows, &finish);
            measured
        })?;
    let mut service_time = LatencyHistogram::new();
    for outcome in &outcomes {
        service_time.merge(&outcome.service_time);
    }
    tell(config, &measured, &service_time, session)?;
    if let Some(error) = measured.failure {
        return Err(error);
    }
    workload::first_error(&mut outcomes, server.name())
}

/// What a measurement gave.
pub struct Measured {
    /// What this end saw.
    pub own: EndReport,
    /// What the server saw, if it lived to tell.
    pub peer: Option<EndReport>,
    /// Why it ended early, if it did not by order.
    pub failure: Option<meter::Error>,
}

fn tell(
    config: &ProbeConfig,
    measured: &Measured,
    service_time: &LatencyHistogram,
    session: &mut Session<'_>,
) -> Result<()> {
    let Measured { own, peer, .. } = measured;
    let mut notes = Vec::new();
    if let Some(others) = peer.as_ref().map(|peer| peer.other_sessions).filter(|&others| others > 0) {
        notes.push(format!(
            "the server had {others} other sessions: its CPU time and interrupts include theirs"
        ));
    }
    let order = &config.order;
    match order.workload {
        Workload::Stream { direction, .. } => {
            session.summary(&stream_summary(direction, order.flows, own, peer.as_ref()), notes, Vec::new())
        }
        Workload::Transactions { .. } => {
            let elapsed_s = own.elapsed_s.min(order.duration_ns as f64 / 1e9);
            let transactions = service_time.count();
            let summary = TransactionSummary {
                elapsed_s,
                transactions,
                transactions_per_s: rate(transactions, elapsed_s),
                service_time: service_time.summary(),
                flows: order.flows,
                usage: own.usage.clone(),
                interrupts: own.interrupts.clone(),
                peer: peer.clone(),
            };
            session.summary(&summary, notes, Vec::new())
        }
    }
}

fn stream_summary(
    direction: Direction,
    flows: u32,
    own: &EndReport,
    peer: Option<&EndReport>,
) -> StreamSummary {
    let (theirs_received, theirs_sent) = peer.map_or((0, 0), |peer| (peer.received_bytes, peer.sent_bytes));
    let their_rate = peer.map_or(0.0, |peer| rate(peer.received_bytes, peer.elapsed_s));
    StreamSummary {
        elapsed_s: match (direction, peer) {
            (Direction::Send, Some(peer)) => peer.elapsed_s,
            _ => own.elapsed_s,
        },
        direction,
        goodput_bps: 8.0 * (rate(own.received_bytes, own.elapsed_s) + their_rate),
        received_bytes: own.received_bytes + theirs_received,
        sent_bytes: own.sent_bytes + theirs_sent,
        flows,
        usage: own.usage.clone(),
        interrupts: own.interrupts.clone(),
        peer: peer.cloned(),
    }
}

/// `amount` per second; 0 for no time.
fn rate(amount: u64, elapsed_s: f64) -> f64 {
    if elapsed_s > 0.0 { amount as f64 / elapsed_s } else { 0.0 }
}
