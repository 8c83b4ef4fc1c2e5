//! Differences per source and CPU, interval by interval: as records, as text, or as a live view.

use std::fmt;

use meter::{
    Result, clock,
    control::Stop,
    runtime::{Interval, Intervals},
    session::Session,
    units,
};
use serde::Serialize;

use crate::{
    filter::Filter,
    live::Screen,
    observer::{Difference, Observer, OwnCost},
    sums::Sums,
};

/// Longest sleep before the stop flag is looked at again, in nanoseconds: each is a timer interrupt.
const STOP_CHECK_NS: u64 = 100_000_000;

/// A resolved watch.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Config {
    /// Distance of the samples, in nanoseconds.
    pub interval_ns: u64,
    /// How many samples, where none is missed; the last one may be shorter.
    pub count: u64,
    /// Length of the watch, in nanoseconds.
    pub duration_ns: u64,
    /// Which sources.
    pub filter: Filter,
    /// Whether the terminal is redrawn instead of text added.
    pub live: bool,
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interval = units::duration(self.interval_ns as f64);
        match self.count {
            1 => write!(f, "one sample, after {interval}"),
            count => write!(f, "{count} samples, one every {interval}"),
        }
    }
}

/// One interval.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sample {
    /// End of the interval, in seconds after the start.
    pub at_s: f64,
    /// What came in it.
    #[serde(flatten)]
    pub difference: Difference,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--- {:.1} s: {}", self.at_s, self.difference)
    }
}

/// The whole watch.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Summary {
    /// What came in all of it.
    #[serde(flatten)]
    pub difference: Difference,
    /// Samples given.
    pub samples: u64,
    /// Edges without a sample of their own, because a stall or the sample before took longer than an interval:
    /// the next sample covers them.
    pub missed: u64,
    /// What the watching itself cost.
    pub own: OwnCost,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "=== {}\n{}", self.difference, self.own)
    }
}

/// Watches until the end or the stop, and gives `session` the records.
///
/// It uses the measurement runtime's intervals alone: there is nothing but the calling thread.
///
/// # Errors
/// When /proc can't be read, a record can't be written, or a live view has no terminal.
pub fn run(config: &Config, session: &mut Session<'_>) -> Result<()> {
    if !session.start(config)? {
        return Ok(());
    }
    let mut screen = config.live.then(Screen::open).transpose()?;
    let stop = session.stop();
    session.ready()?;
    let mut observer = Observer::new();
    observer.require_interrupts()?;
    let mut last = observer.snapshot()?;
    let (mut current, mut total) = (last.clone(), Sums::default());
    let until_ns = last.at_ns.saturating_add(config.duration_ns);
    let mut intervals = Intervals::new(last.at_ns, Some(config.interval_ns), until_ns);
    let (mut samples, mut missed, mut over) = (0, 0, stop.is_raised());
    while !over {
        sleep_until(intervals.next_edge_ns().unwrap_or(until_ns), &stop, &mut observer);
        observer.read(&mut current)?;
        over = stop.is_raised() || current.at_ns >= until_ns;
        let interval = intervals.end(current.at_ns);
        observer.add(&mut total, &last, &current);
        let difference = observer.compare(&last, &current, &config.filter);
        let sample = Sample { at_s: interval.at_s(), difference };
        match &mut screen {
            Some(screen) => screen.draw(&sample.to_string())?,
            None => session.sample(&sample)?,
        }
        samples += 1;
        missed += passed_edges(&interval, config).saturating_sub(1);
        std::mem::swap(&mut last, &mut current);
    }
    drop(screen);
    let mut notes = last.unread();
    if missed > 0 {
        notes.push(format!(
            "{missed} intervals were too short for this machine or its tables and were left out"
        ));
    }
    let difference = total.difference(&config.filter);
    session.summary(&Summary { difference, samples, missed, own: observer.own_cost() }, notes, Vec::new())
}

/// How many edges an interval covers, its own end included; the end of the watch is one.
fn passed_edges(interval: &Interval, config: &Config) -> u64 {
    let edges = |at_ns: u64| {
        let since_ns = at_ns - interval.zero_ns;
        if since_ns >= config.duration_ns { config.count } else { since_ns / config.interval_ns }
    };
    edges(interval.to_ns) - edges(interval.from_ns)
}

/// Sleeps until that time or the stop, and counts the timer interrupts that it took.
fn sleep_until(deadline_ns: u64, stop: &Stop, observer: &mut Observer) {
    let mut now_ns = clock::now_ns();
    while now_ns < deadline_ns && !stop.is_raised() {
        if clock::sleep_until_ns(deadline_ns.min(now_ns + STOP_CHECK_NS)).is_err() {
            return;
        }
        observer.woke();
        now_ns = clock::now_ns();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::FilterArgs;

    #[test]
    fn samples_and_missed_edges_add_up_to_what_was_asked_for() {
        let filter = FilterArgs::default().resolve().unwrap();
        let config = Config { interval_ns: 100, count: 5, duration_ns: 450, filter, live: false };
        let mut intervals = Intervals::new(1_000, Some(100), 1_450);
        // The second edge is looked at very late, and the last one after the end.
        let passed = [1_100, 1_270, 1_400, 1_455].map(|at_ns| passed_edges(&intervals.end(at_ns), &config));
        assert_eq!(passed, [1, 1, 2, 1]);
        assert_eq!(passed.iter().sum::<u64>(), config.count);
    }
}
