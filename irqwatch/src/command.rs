//! A command that is run, waited for, and ended when `irqwatch` is told to stop.

use std::{
    fmt,
    os::fd::AsFd,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus},
    time::Duration,
};

use meter::{Error, ErrorKind, Result, clock, control::Stop, units};
use serde::Serialize;

use crate::sys;

/// Pause between two looks at the stop flag: bounds how long a stop takes.
const PAUSE: Duration = Duration::from_millis(40);
/// Pause between two looks at a command on kernels that can't tell its end.
const BLIND_PAUSE: Duration = Duration::from_millis(1);
/// How long a command may take to end after SIGTERM before SIGKILL follows.
const GRACE_NS: u64 = 5_000_000_000;

/// How a command ended and what it used.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Outcome {
    /// Its exit code; `null` when a signal ended it.
    pub exit_code: Option<i32>,
    /// The signal that ended it; `null` when it exited by itself.
    pub signal: Option<i32>,
    /// CPU time of the command and of those of its children that it waited for, in nanoseconds.
    pub cpu_ns: u64,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.exit_code {
            Some(code) => write!(f, "the command exited with {code}")?,
            None => write!(f, "signal {} ended the command", self.signal.unwrap_or(0))?,
        }
        write!(f, " after {} of CPU time", units::duration(self.cpu_ns as f64))
    }
}

/// A running command. It is in the process group of this process, as under time(1): it may read the terminal,
/// Ctrl-C and Ctrl-Z reach it and its children.
pub struct Running {
    child: Child,
}

impl Running {
    /// Starts it.
    ///
    /// # Errors
    /// When it can't be started: exit code 2 where it does not exist.
    pub fn start(command: &[String]) -> Result<Self> {
        let (program, arguments) =
            command.split_first().ok_or_else(|| Error::bad_arguments("no command after --"))?;
        let child = Command::new(program).args(arguments).spawn().map_err(|error| {
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            let refused = Error::system(format!("start `{program}`"), error);
            if missing { refused.with_kind(ErrorKind::BadArguments) } else { refused }
        })?;
        Ok(Self { child })
    }

    /// Waits for its end. `woke` is called after every pause that a timer ended.
    ///
    /// SIGINT is the command's own business: it is passed on, and what the command makes of it decides when it
    /// ends. Any other stop sends SIGTERM to it and its descendants, and SIGKILL if that does not help.
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    pub fn wait(mut self, stop: &Stop, mut woke: impl FnMut()) -> Result<Outcome> {
        let before_ns = children_cpu_ns();
        let end = sys::pidfd_open(self.child.id()).ok();
        let (mut kill_at_ns, mut passed_on) = (None, false);
        loop {
            let ended =
                self.child.try_wait().map_err(|error| Error::system("wait for the command", error))?;
            if let Some(status) = ended {
                return Ok(outcome(status, children_cpu_ns().saturating_sub(before_ns)));
            }
            match kill_at_ns {
                // Where it came from a terminal the command has it already; once more does no harm.
                None if stop.is_interrupt() && !passed_on => {
                    sys::kill(self.child.id(), libc::SIGINT);
                    passed_on = true;
                }
                None if stop.is_interrupt() => {}
                None if stop.is_raised() => {
                    self.signal_all(libc::SIGTERM);
                    kill_at_ns = Some(clock::now_ns() + GRACE_NS);
                }
                Some(at_ns) if clock::now_ns() > at_ns => self.signal_all(libc::SIGKILL),
                _ => {}
            }
            let ended = match &end {
                Some(end) => sys::wait_readable(end.as_fd(), PAUSE),
                None => {
                    std::thread::sleep(BLIND_PAUSE);
                    false
                }
            };
            if !ended {
                woke();
            }
        }
    }
}

impl Running {
    /// Sends a signal to the command and all its descendants.
    fn signal_all(&self, signal: libc::c_int) {
        for process in descendants(self.child.id()) {
            sys::kill(process, signal);
        }
    }
}

/// The process and those that it and its children started, as far as their parents live; it comes first.
fn descendants(process: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let id = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name in parentheses may hold anything; the parent is the second field after it.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((id, parent))
        })
        .collect();
    let mut found = vec![process];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(id, _)| *id));
        next += 1;
    }
    found
}

impl Drop for Running {
    fn drop(&mut self) {
        // Still running only where waiting failed: it must not outlive its controller.
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal_all(libc::SIGKILL);
            let _: std::io::Result<ExitStatus> = self.child.wait();
        }
    }
}

fn outcome(status: ExitStatus, cpu_ns: u64) -> Outcome {
    Outcome { exit_code: status.code(), signal: status.signal(), cpu_ns }
}

/// CPU time of all children that have been waited for.
fn children_cpu_ns() -> u64 {
    let usage = meter::sys::getrusage(libc::RUSAGE_CHILDREN);
    let ns = |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000;
    ns(usage.ru_utime) + ns(usage.ru_stime)
}
