//! `irqwatch run -- COMMAND`: what a command cost in interrupts.

use std::{
    fmt,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitStatus},
    time::Duration,
};

use meter::{
    Error, Result, clock,
    control::Stop,
    session::Session,
    units,
    usage::{Usage, UsageMeter},
};
use serde::Serialize;

use crate::{
    source::{Snapshot, Source},
    sys,
};

/// How often a running command is looked at: bounds how long a stop takes.
const LOOK: Duration = Duration::from_millis(5);
/// How long a command may take to end after SIGTERM before SIGKILL follows.
const GRACE_NS: u64 = 5_000_000_000;

/// A resolved run of a command.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Config {
    /// The command and its arguments.
    pub command: Vec<String>,
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "running {}", self.command.join(" "))
    }
}

/// What the command cost.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Summary {
    /// How long it ran, in seconds.
    pub elapsed_s: f64,
    /// Its exit code; `null` when a signal ended it.
    pub exit_code: Option<i32>,
    /// The signal that ended it; `null` when it exited by itself.
    pub signal: Option<i32>,
    /// Interrupts of the whole machine meanwhile, busiest source first.
    pub sources: Vec<Source>,
    /// What `irqwatch` itself cost meanwhile.
    pub usage: Usage,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "=== {:.3} s", self.elapsed_s)?;
        self.sources.iter().try_for_each(|source| write!(f, "\n{source}"))?;
        write!(f, "\nown CPU time {}", units::duration(self.usage.cpu_ns() as f64))
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
    let usage = UsageMeter::start(&[]);
    let before = Snapshot::take()?;
    let start_ns = clock::now_ns();
    let child = spawn(&config.command)?;
    let status = wait(child, &stop)?;
    let elapsed_s = (clock::now_ns() - start_ns) as f64 / 1e9;
    let after = Snapshot::take()?;
    let notes = after.unread().into_iter().map(|line| format!("not understood: {line}")).collect();
    let summary = Summary {
        elapsed_s,
        exit_code: status.code(),
        signal: status.signal(),
        sources: after.since(&before, elapsed_s),
        usage: usage.read(),
    };
    session.summary(&summary, notes, Vec::new())
}

/// Starts the command in a process group of its own, so that a stop reaches its children too.
fn spawn(command: &[String]) -> Result<Child> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| Error::bad_arguments("no command after --"))?;
    Command::new(program).args(arguments).process_group(0).spawn().map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let refused = Error::system(format!("start `{program}`"), error);
        if missing { refused.with_kind(meter::ErrorKind::BadArguments) } else { refused }
    })
}

/// Waits for its end; a stop ends it.
fn wait(mut child: Child, stop: &Stop) -> Result<ExitStatus> {
    let mut kill_at_ns = None;
    loop {
        let ended = child.try_wait().map_err(|error| Error::system("wait for the command", error))?;
        if let Some(status) = ended {
            return Ok(status);
        }
        match kill_at_ns {
            None if stop.is_raised() => {
                sys::kill_group(child.id(), libc::SIGTERM);
                kill_at_ns = Some(clock::now_ns() + GRACE_NS);
            }
            Some(at_ns) if clock::now_ns() > at_ns => {
                sys::kill_group(child.id(), libc::SIGKILL);
            }
            _ => {}
        }
        std::thread::sleep(LOOK);
    }
}
