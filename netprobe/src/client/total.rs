//! All repetitions of a measurement together, and the summary of them.

use meter::{Result, histogram::LatencySummary, session::Session};

use crate::{
    confidence::Confidence,
    config::{ProbeConfig, Repetition},
    protocol::{
        order::{Direction, Order, Transport, Workload},
        report::EndReport,
    },
    record::{
        Loop, RepetitionSample, StreamCost, StreamSummary, TransactionCost, TransactionSummary,
        percentiles_of,
    },
    workload::{Latencies, window::Moved},
};

/// The sum of all repetitions.
pub struct Total {
    order: Order,
    own: Option<EndReport>,
    peer: Option<EndReport>,
    moved: Moved,
    latencies: Latencies,
    unanswered: u64,
    /// The figure of each repetition on which confidence is based.
    figures: Vec<f64>,
    last: Option<(f64, Option<LatencySummary>)>,
}

impl Total {
    /// Nothing measured yet.
    #[must_use]
    pub fn new(config: &ProbeConfig) -> Self {
        Self {
            order: config.order.clone(),
            own: None,
            peer: None,
            moved: Moved::default(),
            latencies: Latencies::new(),
            unanswered: 0,
            figures: Vec::new(),
            last: None,
        }
    }

    /// Whether nothing has been measured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.figures.is_empty()
    }

    /// Measured time so far, in nanoseconds.
    #[must_use]
    pub fn elapsed_ns(&self) -> u64 {
        self.own.as_ref().map_or(0, |own| (own.elapsed_s * 1e9) as u64)
    }

    /// Adds one repetition.
    pub fn add(
        &mut self,
        own: EndReport,
        moved: Moved,
        peer: Option<EndReport>,
        latencies: &Latencies,
        unanswered: u64,
    ) {
        let service = latencies.service.summary();
        let figure = match self.order.workload {
            Workload::Stream { .. } => goodput_bps(&own, peer.as_ref()),
            _ => rate(latencies.service.count(), own.elapsed_s),
        };
        self.figures.push(figure);
        self.last = Some((own.elapsed_s, service));
        self.moved.lost += moved.lost;
        self.moved.stray += moved.stray;
        self.moved.errors = self.moved.errors.plus(moved.errors);
        self.latencies.merge(latencies);
        self.unanswered += unanswered;
        // A server that went away once leaves no sum.
        self.peer = match (self.peer.take(), peer, self.own.is_none()) {
            (None, peer, true) => peer,
            (Some(mut sum), Some(peer), _) => {
                sum.add(peer);
                Some(sum)
            }
            _ => None,
        };
        match &mut self.own {
            Some(sum) => sum.add(own),
            None => self.own = Some(own),
        }
    }

    fn confidence(&self, percent: f64) -> Confidence {
        let metric = match self.order.workload {
            Workload::Stream { .. } => "goodput_bps",
            _ => "transactions_per_s",
        };
        Confidence::of(metric, &self.figures, percent)
    }

    /// Whether there must be another repetition.
    #[must_use]
    pub fn wants_more(&self, repetition: &Repetition) -> bool {
        let done = self.figures.len() as u64;
        match *repetition {
            Repetition::Once => done == 0,
            Repetition::Times { count, .. } => done < count,
            Repetition::UntilSure { half_width_percent, confidence_percent, at_least, at_most } => {
                let sure = || {
                    let width = self.confidence(confidence_percent).half_width_percent;
                    width.is_some_and(|width| width <= half_width_percent)
                };
                done < at_least || (at_most.is_none_or(|most| done < most) && !sure())
            }
        }
    }

    /// The repetition that was added last, as a sample.
    #[must_use]
    pub fn last_repetition(&self) -> RepetitionSample {
        let figure = self.figures.last().copied();
        let (elapsed_s, service_time) = self.last.clone().unwrap_or_default();
        let is_stream = matches!(self.order.workload, Workload::Stream { .. });
        RepetitionSample {
            repetition: self.figures.len() as u64,
            elapsed_s,
            goodput_bps: figure.filter(|_| is_stream),
            transactions_per_s: figure.filter(|_| !is_stream),
            service_time,
        }
    }

    /// Gives the summary.
    ///
    /// # Errors
    /// When the record can't be written.
    pub fn tell(&self, config: &ProbeConfig, session: &mut Session<'_>) -> Result<()> {
        let Some(own) = &self.own else { return Ok(()) };
        let stopped = session.stop().is_raised();
        let confidence = config.repetition.confidence_percent().map(|percent| self.confidence(percent));
        let (notes, mut warnings) = (self.notes(), Vec::new());
        if let (Repetition::UntilSure { half_width_percent, .. }, Some(confidence), false) =
            (&config.repetition, &confidence, stopped)
            && confidence.half_width_percent.is_none_or(|width| width > *half_width_percent)
        {
            warnings.push(format!(
                "after {} repetitions the mean is not sure to ± {half_width_percent} %",
                confidence.repetitions
            ));
        }
        if matches!(self.order.workload, Workload::Stream { .. }) {
            return session.summary(&self.stream_summary(own, confidence), notes, warnings);
        }
        let summary = self.transaction_summary(own, confidence, &config.percentiles);
        // Of random arrivals the number that was due is known only afterwards.
        let due = summary.transactions + summary.unanswered.unwrap_or(0) + summary.lost.unwrap_or(0);
        if let (Some(_), false) = (summary.intended_load_per_s, stopped)
            && (summary.transactions as f64) < REACHED * due as f64
        {
            warnings.push(format!(
                "of {due} intended transactions only {} were answered in time",
                summary.transactions
            ));
        }
        if summary.transactions == 0 && !stopped {
            warnings.push("not one transaction was completed".into());
        }
        session.summary(&summary, notes, warnings)
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(others) = self.peer.as_ref().map(|peer| peer.other_sessions).filter(|&others| others > 0)
        {
            notes.push(format!(
                "the server had {others} other sessions: its CPU time and interrupts include theirs"
            ));
        }
        if !matches!(self.order.workload, Workload::Stream { .. }) && self.order.is_closed_loop() {
            notes.push(
                "closed loop: a stall delays the requests after it instead of counting against them; \
                 --rate measures response times"
                    .into(),
            );
        }
        notes
    }

    fn stream_summary(&self, own: &EndReport, confidence: Option<Confidence>) -> StreamSummary {
        let Workload::Stream { direction, send_with, receive_with, .. } = self.order.workload else {
            unreachable!("only streams are summed up as streams")
        };
        let peer = self.peer.as_ref();
        let theirs = |choose: fn(&EndReport) -> Option<u64>| peer.and_then(choose).unwrap_or(0);
        let received_bytes = own.received_bytes.unwrap_or(0) + theirs(|peer| peer.received_bytes);
        StreamSummary {
            elapsed_s: match (direction, peer) {
                (Direction::Send, Some(peer)) => peer.elapsed_s,
                _ => own.elapsed_s,
            },
            direction,
            goodput_bps: goodput_bps(own, peer),
            send_goodput_bps: peer.and_then(received_bps),
            receive_goodput_bps: received_bps(own),
            received_bytes,
            sent_bytes: own.sent_bytes.unwrap_or(0) + theirs(|peer| peer.sent_bytes),
            flows: self.order.flows,
            send_with,
            receive_with,
            zerocopy: own.zerocopy,
            cpus: own.cpus.clone(),
            threads: own.threads,
            usage: own.usage.clone(),
            interrupts: own.interrupts.clone(),
            cost: StreamCost::new(own, received_bytes),
            peer_cost: peer.map(|peer| StreamCost::new(peer, received_bytes)),
            tcp: own.tcp.clone(),
            confidence,
            peer: self.peer.clone(),
        }
    }

    fn transaction_summary(
        &self,
        own: &EndReport,
        confidence: Option<Confidence>,
        percentiles: &[f64],
    ) -> TransactionSummary {
        let Latencies { service, response } = &self.latencies;
        let pace = match &self.order.workload {
            Workload::Transactions { pace, .. } => pace.as_ref(),
            _ => None,
        };
        let is_udp = matches!(self.order.workload, Workload::Transactions { transport: Transport::Udp, .. });
        let transactions = service.count();
        TransactionSummary {
            elapsed_s: own.elapsed_s,
            kind: if pace.is_some() { Loop::Open } else { Loop::Closed },
            transactions,
            transactions_per_s: rate(transactions, own.elapsed_s),
            intended_load_per_s: pace.map(|pace| pace.rate.per_second()),
            unanswered: pace.map(|_| self.unanswered),
            lost: is_udp.then_some(self.moved.lost),
            stray: is_udp.then_some(self.moved.stray),
            errors: self.order.survives_errors().then_some(self.moved.errors),
            service_time: service.summary(),
            service_percentiles: percentiles_of(service, percentiles),
            response_time: response.summary(),
            response_percentiles: percentiles_of(response, percentiles),
            flows: self.order.flows,
            cpus: own.cpus.clone(),
            threads: own.threads,
            usage: own.usage.clone(),
            interrupts: own.interrupts.clone(),
            cost: TransactionCost::new(own, transactions),
            peer_cost: self.peer.as_ref().map(|peer| TransactionCost::new(peer, transactions)),
            tcp: own.tcp.clone(),
            confidence,
            peer: self.peer.clone(),
        }
    }
}

/// Part of the intended transactions that must be answered for the load to count as reached.
const REACHED: f64 = 0.99;

/// What arrived at an end, in bits/s by its own clock; `None` where it does not receive.
fn received_bps(end: &EndReport) -> Option<f64> {
    end.received_bytes.map(|bytes| 8.0 * rate(bytes, end.elapsed_s))
}

fn goodput_bps(own: &EndReport, peer: Option<&EndReport>) -> f64 {
    received_bps(own).unwrap_or(0.0) + peer.and_then(received_bps).unwrap_or(0.0)
}

/// `amount` per second; 0 for no time.
fn rate(amount: u64, elapsed_s: f64) -> f64 {
    if elapsed_s > 0.0 { amount as f64 / elapsed_s } else { 0.0 }
}
