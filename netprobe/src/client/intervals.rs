//! Intervals of both ends, brought together to samples.

use std::collections::VecDeque;

use meter::{Result, runtime::Interval, session::Session};

use crate::{
    protocol::{
        order::{Direction, Order, Workload},
        report::{IntervalReport, TcpInfo},
    },
    record::{Percentile, StreamSample, TransactionSample, percentiles_of},
    workload::{Latencies, window::Moved},
};

/// One interval at this end, or several that belong together.
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

impl OwnInterval {
    /// What moved in `interval`.
    #[must_use]
    pub fn new(interval: &Interval, moved: Moved, tcp: Vec<TcpInfo>) -> Self {
        let offset_ns = interval.from_ns - interval.zero_ns;
        Self { offset_ns, length_ns: interval.elapsed_ns(), moved, tcp, latencies: None }
    }

    fn end_ns(&self) -> u64 {
        self.offset_ns + self.length_ns
    }

    fn append(&mut self, later: Self) {
        self.length_ns += later.length_ns;
        self.moved = self.moved.plus(later.moved);
        self.tcp = later.tcp;
        if let (Some(sum), Some(more)) = (&mut self.latencies, &later.latencies) {
            sum.merge(more);
        }
    }
}

fn append_report(sum: &mut IntervalReport, later: IntervalReport) {
    sum.length_ns += later.length_ns;
    sum.received_bytes += later.received_bytes;
    sum.tcp = later.tcp;
}

/// Intervals that wait to be told: a sample needs the part of the server as well. Either end may be late or stand
/// still, and its interval is longer then: it is told with all those of the other end that it covers.
#[derive(Default)]
pub struct Intervals {
    own: VecDeque<OwnInterval>,
    theirs: VecDeque<IntervalReport>,
    /// End of the last interval of the server's that was told, after the begin of its measured time.
    their_end_ns: u64,
}

/// What a sample is made of: at the end of the run one of the ends may have nothing more.
type Pair = (Option<OwnInterval>, Option<IntervalReport>);

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
    pub fn tell(&mut self, order: &Order, percentiles: &[f64], session: &mut Session<'_>) -> Result<()> {
        let apart_ns = order.interval_ns.unwrap_or(0) / 2;
        while let Some(pair) = self.next_pair(apart_ns) {
            tell_pair(&order.workload, pair, percentiles, session)?;
        }
        Ok(())
    }

    /// Tells what is left as the last sample: both ends' measured time is over.
    ///
    /// # Errors
    /// When a record can't be written.
    pub fn finish(&mut self, order: &Order, percentiles: &[f64], session: &mut Session<'_>) -> Result<()> {
        self.tell(order, percentiles, session)?;
        let own = self.own.drain(..).reduce(|mut sum, later| {
            sum.append(later);
            sum
        });
        let theirs = self.theirs.drain(..).reduce(|mut sum, later| {
            append_report(&mut sum, later);
            sum
        });
        let is_stream = matches!(order.workload, Workload::Stream { .. });
        if own.is_none() && (theirs.is_none() || !is_stream) {
            return Ok(());
        }
        tell_pair(&order.workload, (own, theirs), percentiles, session)
    }

    /// The first intervals of both ends that end within `apart_ns` of each other, with all before; `None` while
    /// one end has not told of its part.
    fn next_pair(&mut self, apart_ns: u64) -> Option<Pair> {
        let (mut owns, mut reports) = (1, 1);
        let mut their_end_ns = self.their_end_ns + self.theirs.front()?.length_ns;
        let mut own_end_ns = self.own.front()?.end_ns();
        while own_end_ns.abs_diff(their_end_ns) > apart_ns {
            if own_end_ns < their_end_ns {
                own_end_ns = self.own.get(owns)?.end_ns();
                owns += 1;
            } else {
                their_end_ns += self.theirs.get(reports)?.length_ns;
                reports += 1;
            }
        }
        self.their_end_ns = their_end_ns;
        let own = self.own.drain(..owns).reduce(|mut sum, later| {
            sum.append(later);
            sum
        });
        let theirs = self.theirs.drain(..reports).reduce(|mut sum, later| {
            append_report(&mut sum, later);
            sum
        });
        Some((own, theirs))
    }
}

fn tell_pair(
    workload: &Workload,
    (own, theirs): Pair,
    percentiles: &[f64],
    session: &mut Session<'_>,
) -> Result<()> {
    match workload {
        Workload::Stream { direction, .. } => session.sample(&stream_sample(*direction, own, theirs)),
        Workload::Transactions { .. } | Workload::Connections { .. } => match own {
            Some(own) => session.sample(&transaction_sample(own, theirs, percentiles)),
            None => Ok(()),
        },
    }
}

/// `amount` per second of a time in nanoseconds; 0 for no time.
fn per_second(amount: f64, length_ns: u64) -> f64 {
    if length_ns > 0 { amount / (length_ns as f64 / 1e9) } else { 0.0 }
}

fn stream_sample(
    direction: Direction,
    own: Option<OwnInterval>,
    theirs: Option<IntervalReport>,
) -> StreamSample {
    // Where only the server receives, its clock is the one that counts.
    let length_ns = match direction {
        Direction::Send => theirs.as_ref().map_or(0, |theirs| theirs.length_ns),
        _ => own.as_ref().map_or(0, |own| own.length_ns),
    };
    let received_bytes = own.as_ref().map_or(0, |own| own.moved.received_bytes)
        + theirs.as_ref().map_or(0, |theirs| theirs.received_bytes);
    StreamSample {
        offset_s: own.as_ref().map_or(0.0, |own| own.offset_ns as f64 / 1e9),
        length_s: length_ns as f64 / 1e9,
        received_bytes,
        goodput_bps: per_second(received_bytes as f64 * 8.0, length_ns),
        tcp: own.map(|own| own.tcp).unwrap_or_default(),
        peer_tcp: theirs.map(|theirs| theirs.tcp).unwrap_or_default(),
    }
}

fn transaction_sample(
    own: OwnInterval,
    theirs: Option<IntervalReport>,
    percentiles: &[f64],
) -> TransactionSample {
    let latencies = own.latencies.unwrap_or_default();
    let list = |histogram| -> Vec<Percentile> { percentiles_of(histogram, percentiles) };
    // Those that the summary counts: of the measured time alone.
    let transactions = latencies.service.count();
    TransactionSample {
        offset_s: own.offset_ns as f64 / 1e9,
        length_s: own.length_ns as f64 / 1e9,
        transactions,
        transactions_per_s: per_second(transactions as f64, own.length_ns),
        service_time: latencies.service.summary(),
        service_percentiles: list(&latencies.service),
        response_time: latencies.response.summary(),
        response_percentiles: list(&latencies.response),
        tcp: own.tcp,
        peer_tcp: theirs.map(|theirs| theirs.tcp).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(offset_ns: u64, length_ns: u64, bytes: u64) -> OwnInterval {
        let moved = Moved { received_bytes: bytes, ..Moved::default() };
        OwnInterval { offset_ns, length_ns, moved, tcp: Vec::new(), latencies: None }
    }

    fn theirs(length_ns: u64, received_bytes: u64) -> IntervalReport {
        IntervalReport { index: 0, length_ns, received_bytes, tcp: Vec::new() }
    }

    #[test]
    fn an_interval_that_a_stall_made_longer_is_told_with_all_that_it_covers() {
        let mut intervals = Intervals::default();
        intervals.push_own(own(0, 100, 1));
        assert!(intervals.next_pair(50).is_none(), "the server has not told");
        intervals.push_theirs(theirs(101, 10));
        let (first, _) = intervals.next_pair(50).unwrap();
        assert_eq!(first.unwrap().moved.received_bytes, 1);
        // This end stood still over two edges of the server's.
        intervals.push_own(own(100, 290, 2));
        intervals.push_theirs(theirs(100, 20));
        intervals.push_theirs(theirs(100, 30));
        assert!(intervals.next_pair(50).is_none(), "more of it will come");
        intervals.push_theirs(theirs(99, 40));
        let (stalled, covered) = intervals.next_pair(50).unwrap();
        assert_eq!(stalled.unwrap().moved.received_bytes, 2);
        assert_eq!((covered.as_ref().unwrap().length_ns, covered.unwrap().received_bytes), (299, 90));
        // And the other way round.
        intervals.push_theirs(theirs(200, 50));
        intervals.push_own(own(390, 110, 3));
        intervals.push_own(own(500, 100, 4));
        let (covered, _) = intervals.next_pair(50).unwrap();
        let covered = covered.unwrap();
        assert_eq!((covered.length_ns, covered.moved.received_bytes), (210, 7));
    }
}
