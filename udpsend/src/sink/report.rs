//! What the workers of a sink have seen, as records.

use meter::runtime::{Interval, Measured};

use crate::{
    interfaces::InterfaceTraffic,
    sink::{
        config::SinkConfig,
        counters::Totals,
        delay::DelayVariation,
        record::{Numbers, SinkSample, SinkSummary},
        worker::{Finished, Span},
    },
};

/// What came in one interval.
pub fn sample(totals: &Totals, interval: &Interval) -> SinkSample {
    SinkSample {
        interval_s: interval.elapsed_s(),
        delivered_datagrams: totals.delivered,
        delivered_bytes: totals.bytes,
        delivered_pps: interval.per_second(totals.delivered),
        goodput_bps: interval.per_second(totals.bytes.saturating_mul(8)),
        lost_datagrams: totals.lost(),
        dropped_at_socket: Some(totals.dropped),
        reordered_datagrams: totals.reordered,
        duplicated_datagrams: totals.duplicated,
    }
}

/// What came in the whole measured time.
pub struct Arrived {
    /// The counts.
    pub totals: Totals,
    /// The one-way delay and its variation, if any was measured.
    pub delays: Option<(meter::histogram::LatencySummary, DelayVariation)>,
    /// What the interfaces carried.
    pub interfaces: Option<Vec<InterfaceTraffic>>,
    /// The measured time and what the workers left behind.
    pub measured: Measured<Finished>,
}

impl Arrived {
    fn sum(&self, of: impl Fn(&Finished) -> u64) -> u64 {
        self.measured.outcomes.iter().map(of).sum()
    }

    /// From the first datagram to the last, over all workers.
    fn span(&self) -> Option<Span> {
        let spans = self.measured.outcomes.iter().filter_map(|worker| worker.span);
        spans.reduce(|one, other| {
            let first = if one.first_ns <= other.first_ns { one } else { other };
            Span { last_ns: one.last_ns.max(other.last_ns), ..first }
        })
    }

    fn first_numbers(&self) -> Option<Numbers> {
        let numbers = self.measured.outcomes.iter().flat_map(|worker| worker.first_numbers.iter().copied());
        numbers.fold(None, |range: Option<Numbers>, number| {
            let Numbers { lowest, highest } = range.unwrap_or(Numbers { lowest: number, highest: number });
            Some(Numbers { lowest: lowest.min(number), highest: highest.max(number) })
        })
    }

    /// The summary.
    pub fn summary(&self) -> SinkSummary {
        let totals = &self.totals;
        let elapsed_s = self.measured.elapsed_s();
        let per_second = |amount: u64| if elapsed_s > 0.0 { amount as f64 / elapsed_s } else { 0.0 };
        let ratio = |amount: u64, of: u64| (of > 0).then(|| amount as f64 / of as f64);
        let span = self.span();
        let arrival_span_s = span.map(|span| (span.last_ns - span.first_ns) as f64 / 1e9);
        // What came at the begin of the span came in no time of it.
        let later = span.map_or(0, |span| totals.delivered.saturating_sub(span.first_datagrams));
        let arrival_pps = arrival_span_s.filter(|span_s| *span_s > 0.0).map(|span_s| later as f64 / span_s);
        let knows_drops = self.measured.outcomes.iter().all(|worker| worker.knows_drops);
        let (one_way_delay, delay_variation) = self.delays.clone().unzip();
        SinkSummary {
            elapsed_s,
            delivered_datagrams: totals.delivered,
            delivered_bytes: totals.bytes,
            delivered_pps: per_second(totals.delivered),
            goodput_bps: per_second(totals.bytes.saturating_mul(8)),
            arrival_span_s,
            arrival_pps,
            lost_datagrams: u64::try_from(totals.lost()).unwrap_or(0),
            first_numbers: self.first_numbers(),
            dropped_at_socket: knows_drops.then_some(totals.dropped),
            reordered_datagrams: totals.reordered,
            duplicated_datagrams: totals.duplicated,
            unnumbered_datagrams: totals.unnumbered,
            foreign_datagrams: totals.foreign,
            discarded_datagrams: self.sum(|worker| worker.discarded),
            flows: self.sum(|worker| worker.first_numbers.len() as u64),
            datagrams_per_syscall: ratio(totals.delivered, totals.calls),
            cpu_ns_per_datagram: ratio(self.sum(|worker| worker.cpu_ns), totals.delivered),
            errors: totals.errors.by_kind(),
            one_way_delay,
            delay_variation,
            interfaces: self.interfaces.clone(),
            usage: self.measured.usage.clone(),
        }
    }

    /// Things worth knowing that do not harm the result.
    pub fn notes(&self, config: &SinkConfig) -> Vec<String> {
        let joined_late = match config.expect_from {
            Some(_) => 0,
            None => self.sum(|worker| worker.first_numbers.iter().filter(|&&first| first > 0).count() as u64),
        };
        let other_clock = self.sum(|worker| worker.other_clock);
        let discarded = self.sum(|worker| worker.discarded);
        let mut notes = Vec::new();
        if let Some(first) = self.first_numbers().filter(|_| joined_late > 0) {
            notes.push(format!(
                "{joined_late} flows were joined late, the latest at number {}: what they sent before is not counted as \
                 lost; --expect-from 0 counts it",
                first.highest
            ));
        }
        if discarded > 0 {
            notes.push(format!("{discarded} datagrams had arrived before the start and were thrown away"));
        }
        if other_clock > 0 {
            notes.push(format!(
                "{other_clock} datagrams came from a sender with another clock: their one-way delay can't be told"
            ));
        }
        if config.gro && self.totals.lost() > self.totals.dropped as i64 && self.totals.dropped > 0 {
            notes.push(
                "the kernel counts drops at the socket in messages, and one may hold many datagrams when the sender \
                 segments late (GSO); pass --no-gro to count datagrams"
                    .to_owned(),
            );
        }
        notes
    }

    /// Why the result can't be trusted, if so.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.measured.outcomes.iter().any(|worker| !worker.pin_held) {
            warnings.push("a worker was moved away from its CPU while it was measured".to_owned());
        }
        if self.totals.untracked > 0 {
            warnings.push(format!(
                "{} datagrams came from more flows than can be told apart; pass --flows with a larger number",
                self.totals.untracked
            ));
        }
        warnings
    }
}
