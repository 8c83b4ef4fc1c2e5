//! A domain: a place where tools run, and a tool running there.
//!
//! This boundary is all that trials know of places. A namespace on this machine, a guest behind SSH
//! and the fake of the tests look the same from here: records come out, lines go in.

#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod local;
pub mod process;
mod queue;
pub mod shell;
pub mod space;
pub mod ssh;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use meter::{control::Stop, printable::printable};
use serde_json::Value;
use tools::Binaries;

/// What all domains of a run share.
#[derive(Clone)]
pub struct RunContext {
    /// The tools, as they were when the run began.
    pub binaries: Arc<Binaries>,
    /// The user's wish to end: waits are cut short by it.
    pub stop: Stop,
}

/// The user stopped everything before this was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopped")
    }
}

impl std::error::Error for Stopped {}

/// A tool and its arguments; `--json --controlled` are added by whoever starts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCommand {
    /// Name of the tool.
    pub tool: String,
    /// Its own arguments.
    pub args: Vec<String>,
}

impl fmt::Display for ToolCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.tool)?;
        self.args.iter().try_for_each(|arg| write!(f, " {arg}"))
    }
}

/// A place where tools run.
pub trait Domain {
    /// Starts a tool under control: it waits for `go`, and stops when this end of its input closes.
    fn start(&self, command: &ToolCommand) -> Result<Box<dyn Process>>;
}

/// A tool that runs somewhere. When it is dropped it is ended, whatever it does.
pub trait Process {
    /// Sends one line to its standard input.
    fn say(&mut self, line: &str) -> Result<()>;

    /// Closes its standard input: the order to stop and give the summary.
    fn close(&mut self);

    /// The next thing that it tells, waiting until `deadline` at most.
    fn next(&mut self, deadline: Instant) -> Event;
}

/// What a tool tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// One record.
    Record(Value),
    /// It has ended.
    Ended(Exit),
    /// Nothing until the deadline.
    Silent,
}

/// How a tool ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code; `None` when a signal ended it or the way to it broke.
    pub code: Option<i32>,
    /// What it did that it was killed for, if it was killed by this program.
    pub killed_because: Option<String>,
    /// The end of what it wrote to standard error.
    pub stderr: String,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.killed_because, self.code) {
            (Some(why), _) => write!(f, "killed: {why}")?,
            (None, Some(code)) => write!(f, "exit code {code}")?,
            (None, None) => write!(f, "ended by a signal or a broken connection")?,
        }
        match self.stderr.trim() {
            "" => Ok(()),
            // What a tool or its transport said: a terminal gets it, and so does the report.
            text => write!(f, ": {}", printable(text)),
        }
    }
}

/// Kind of a record: `start`, `ready`, `sample`, `quiet`, `summary`, `error`.
pub fn kind(record: &Value) -> &str {
    record.get("record").and_then(Value::as_str).unwrap_or_default()
}

/// A moment `seconds` from now.
pub fn after(seconds: f64) -> Instant {
    Instant::now() + Duration::from_secs_f64(seconds)
}

/// The number at `key` of a record, dots between levels.
pub fn number(record: &Value, key: &str) -> Option<f64> {
    key.split('.').try_fold(record, |value, part| value.get(part))?.as_f64()
}
