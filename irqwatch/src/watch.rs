//! Differences per source and CPU, interval by interval: as records, as text, or as a live view.

use std::fmt;

use meter::{Result, clock, session::Session, units, wait::Waiter};
use serde::Serialize;

use crate::{
    filter::Filter,
    live::Screen,
    observer::{Difference, Observer, OwnCost},
};

/// A resolved watch.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Config {
    /// Distance of the samples, in nanoseconds.
    pub interval_ns: u64,
    /// How many samples.
    pub count: u64,
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
    /// Samples left out because the one before took longer than an interval.
    pub missed: u64,
    /// What the watching itself cost.
    pub own: OwnCost,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "=== {}\n{}", self.difference, self.own)
    }
}

/// Watches until the last sample or the stop, and gives `session` the records.
///
/// # Errors
/// When /proc can't be read, a record can't be written, or a live view has no terminal.
pub fn run(config: &Config, session: &mut Session<'_>) -> Result<()> {
    if !session.start(config)? {
        return Ok(());
    }
    let mut screen = config.live.then(Screen::open).transpose()?;
    let stop = session.stop();
    let waiter = Waiter { margin_ns: 0 };
    session.ready()?;
    let mut observer = Observer::new();
    let first = observer.snapshot()?;
    let (mut last, mut current) = (first.clone(), first.clone());
    let (mut samples, mut missed) = (0, 0);
    let start_ns = clock::now_ns();
    let mut number = 0;
    while number < config.count {
        // An edge that has passed already is missed load of this tool's own: counted, not caught up.
        let passed = (clock::now_ns() - start_ns) / config.interval_ns;
        missed += passed.saturating_sub(number);
        number = number.max(passed) + 1;
        let edge_ns = start_ns.saturating_add(config.interval_ns.saturating_mul(number));
        waiter.until(edge_ns, &stop);
        observer.woke();
        if stop.is_raised() {
            break;
        }
        observer.read(&mut current)?;
        let difference = observer.compare(&last, &current, &config.filter);
        let sample = Sample { at_s: (clock::now_ns() - start_ns) as f64 / 1e9, difference };
        match &mut screen {
            Some(screen) => screen.draw(&sample.to_string())?,
            None => session.sample(&sample)?,
        }
        samples += 1;
        std::mem::swap(&mut last, &mut current);
    }
    drop(screen);
    observer.read(&mut current)?;
    let difference = observer.compare(&first, &current, &config.filter);
    let mut notes = current.unread();
    if missed > 0 {
        notes.push(format!("{missed} intervals were too short for this machine's tables and were left out"));
    }
    let summary = Summary { difference, samples, missed, own: observer.own_cost() };
    session.summary(&summary, notes, Vec::new())
}
