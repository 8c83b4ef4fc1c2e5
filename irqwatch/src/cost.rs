//! `irqwatch run -- COMMAND`: what a command cost in interrupts.

use std::fmt;

use meter::{Error, Result, session::Session};
use serde::Serialize;

use crate::{
    command::{Outcome, Running},
    filter::Filter,
    observer::{Difference, Observer, OwnCost},
    source::rate,
};

/// A resolved run of a command.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Config {
    /// The command and its arguments.
    pub command: Vec<String>,
    /// Which sources.
    pub filter: Filter,
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "counting interrupts while `{}` runs", self.command.join(" "))
    }
}

/// What the command cost.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Summary {
    /// Interrupts of the whole machine meanwhile: others' are in them.
    #[serde(flatten)]
    pub difference: Difference,
    /// How the command ended.
    pub command: Outcome,
    /// Hard interrupts per second of the command's CPU time; `null` where it used none to speak of.
    pub interrupts_per_cpu_s: Option<f64>,
    /// What `irqwatch` itself cost meanwhile.
    pub own: OwnCost,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "=== {}\nby class:", self.difference)?;
        for class in &self.difference.classes {
            write!(f, "\n  {:<20} {:>11} {:>12.1}/s", class.class.name(), class.count, class.per_s)?;
        }
        write!(f, "\nby CPU:")?;
        for cpu in &self.difference.cpus {
            write!(f, "\n  CPU {:<16}", cpu.cpu)?;
            match cpu.interrupts.zip(cpu.interrupts_per_s) {
                Some((hard, per_s)) => write!(f, " {hard:>11} {per_s:>12.1}/s")?,
                None => write!(f, " {:>11} {:>14}", "unknown", "")?,
            }
            match cpu.softirqs {
                Some(soft) => write!(f, " {soft:>11} softirqs")?,
                None => write!(f, " {:>11} softirqs", "unknown")?,
            }
        }
        write!(f, "\n{}", self.command)?;
        if let Some(rate) = self.interrupts_per_cpu_s {
            write!(f, ": {rate:.1} interrupts per second of it")?;
        }
        write!(f, "\n{}", self.own)
    }
}

/// Runs the command and tells its cost. Whatever the command's exit code, the measurement of it is valid.
///
/// # Errors
/// When the command can't be started (exit code 2 where it does not exist) or /proc can't be read.
pub fn run(config: &Config, session: &mut Session<'_>) -> Result<()> {
    if !session.start(config)? {
        return Ok(());
    }
    let stop = session.stop();
    if !session.ready()? {
        return Err(Error::failed("stopped before the command was started"));
    }
    let mut observer = Observer::new();
    observer.require_interrupts()?;
    let before = observer.snapshot()?;
    let outcome = Running::start(&config.command)?.wait(&stop, || observer.woke())?;
    let after = observer.snapshot()?;
    let difference = observer.compare(&before, &after, &config.filter);
    let cpu_s = outcome.cpu_ns as f64 / 1e9;
    let summary = Summary {
        interrupts_per_cpu_s: difference
            .interrupts
            .filter(|_| outcome.cpu_ns > 0)
            .map(|interrupts| rate(interrupts, cpu_s)),
        difference,
        command: outcome,
        own: observer.own_cost(),
    };
    session.summary(&summary, after.unread(), Vec::new())
}
