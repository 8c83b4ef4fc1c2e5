//! Differences per source and CPU, interval by interval.

use std::fmt;

use meter::{
    Result, clock,
    session::Session,
    units,
    usage::{Usage, UsageMeter},
    wait::Waiter,
};
use serde::Serialize;

use crate::source::{Snapshot, Source};

/// A resolved watch.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Config {
    /// Distance of the samples, in nanoseconds.
    pub interval_ns: u64,
    /// How many samples.
    pub count: u64,
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} samples, one every {}", self.count, units::duration(self.interval_ns as f64))
    }
}

/// One interval.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sample {
    /// End of the interval, in seconds after the start.
    pub at_s: f64,
    /// Its length, in seconds.
    pub elapsed_s: f64,
    /// Sources that raised anything, busiest first.
    pub sources: Vec<Source>,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--- {:.1} s", self.at_s)?;
        self.sources.iter().try_for_each(|source| write!(f, "\n{source}"))
    }
}

/// The whole watch.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Summary {
    /// Its length, in seconds.
    pub elapsed_s: f64,
    /// Sources that raised anything, busiest first.
    pub sources: Vec<Source>,
    /// What the watch itself cost.
    pub usage: Usage,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "=== {:.3} s", self.elapsed_s)?;
        self.sources.iter().try_for_each(|source| write!(f, "\n{source}"))?;
        write!(f, "\nown CPU time {}", units::duration(self.usage.cpu_ns() as f64))
    }
}

/// Watches until the last sample or the stop, and gives `session` the records.
///
/// # Errors
/// When /proc can't be read or a record can't be written.
pub fn run(config: &Config, session: &mut Session<'_>) -> Result<()> {
    if !session.start(config)? {
        return Ok(());
    }
    let stop = session.stop();
    let waiter = Waiter { margin_ns: 0 };
    session.ready()?;
    let usage = UsageMeter::start(&[]);
    let start_ns = clock::now_ns();
    let first = Snapshot::take()?;
    let (mut last, mut last_ns) = (first.clone(), start_ns);
    for number in 1..=config.count {
        let edge_ns = start_ns.saturating_add(config.interval_ns.saturating_mul(number));
        let now = waiter.until(edge_ns, &stop);
        if stop.is_raised() {
            break;
        }
        let current = Snapshot::take()?;
        let elapsed_s = (now - last_ns) as f64 / 1e9;
        let sources = current.since(&last, elapsed_s);
        session.sample(&Sample { at_s: (now - start_ns) as f64 / 1e9, elapsed_s, sources })?;
        (last, last_ns) = (current, now);
    }
    let elapsed_s = (clock::now_ns() - start_ns) as f64 / 1e9;
    let end = Snapshot::take()?;
    let notes = end.unread().into_iter().map(|line| format!("not understood: {line}")).collect();
    let summary = Summary { elapsed_s, sources: end.since(&first, elapsed_s), usage: usage.read() };
    session.summary(&summary, notes, Vec::new())
}
