//! Intervals of both ends, brought together to samples.

use std::collections::VecDeque;

use meter::{Result, session::Session};

use crate::{
    protocol::{
        order::{Direction, Workload},
        report::{IntervalReport, TcpInfo},
    },
    record::{Percentile, StreamSample, TransactionSample, percentiles_of},
    workload::{Latencies, window::Moved},
};

/// One interval at this end.
pub struct OwnInterval {
    /// Its begin after that of the measured time, in nanoseconds.
    pub offset_ns: u64,
    /// Its length, in nanoseconds.
    pub length_ns: u64,
    /// What moved here.
    pub moved: Moved,
    /// This end's TCP connections at its end.
    pub tcp: Vec<TcpInfo>,
    /// Latencies of its transactions; `None` for streams.
    pub latencies: Option<Latencies>,
}

/// Intervals that wait to be told: a stream's need the part of the server as well.
#[derive(Default)]
pub struct Intervals {
    own: VecDeque<OwnInterval>,
    theirs: VecDeque<IntervalReport>,
}

impl Intervals {
    /// An interval at this end has passed.
    pub fn push_own(&mut self, interval: OwnInterval) {
        self.own.push_back(interval);
    }

    /// The server told of one.
    pub fn push_theirs(&mut self, interval: IntervalReport) {
        self.theirs.push_back(interval);
    }

    /// Tells all samples for which everything is known.
    ///
    /// # Errors
    /// When a record can't be written.
    pub fn tell(
        &mut self,
        workload: &Workload,
        percentiles: &[f64],
        session: &mut Session<'_>,
    ) -> Result<()> {
        while let (Some(_), Some(_)) = (self.own.front(), self.theirs.front()) {
            let (Some(own), Some(theirs)) = (self.own.pop_front(), self.theirs.pop_front()) else { break };
            match workload {
                Workload::Stream { direction, .. } => {
                    session.sample(&stream_sample(*direction, own, theirs))?;
                }
                Workload::Transactions { .. } | Workload::Connections { .. } => {
                    session.sample(&transaction_sample(own, theirs, percentiles))?;
                }
            }
        }
        Ok(())
    }
}

fn stream_sample(direction: Direction, own: OwnInterval, theirs: IntervalReport) -> StreamSample {
    // Where only the server receives, its clock is the one that counts.
    let length_ns = if direction == Direction::Send { theirs.length_ns } else { own.length_ns };
    let received_bytes = own.moved.received_bytes + theirs.received_bytes;
    let length_s = length_ns as f64 / 1e9;
    StreamSample {
        offset_s: own.offset_ns as f64 / 1e9,
        length_s,
        received_bytes,
        goodput_bps: received_bytes as f64 * 8.0 / length_s,
        tcp: own.tcp,
        peer_tcp: theirs.tcp,
    }
}

fn transaction_sample(own: OwnInterval, theirs: IntervalReport, percentiles: &[f64]) -> TransactionSample {
    let latencies = own.latencies.unwrap_or_default();
    let length_s = own.length_ns as f64 / 1e9;
    let list = |histogram| -> Vec<Percentile> { percentiles_of(histogram, percentiles) };
    TransactionSample {
        offset_s: own.offset_ns as f64 / 1e9,
        length_s,
        transactions: own.moved.transactions,
        transactions_per_s: own.moved.transactions as f64 / length_s,
        service_time: latencies.service.summary(),
        service_percentiles: list(&latencies.service),
        response_time: latencies.response.summary(),
        response_percentiles: list(&latencies.response),
        tcp: own.tcp,
        peer_tcp: theirs.tcp,
    }
}
