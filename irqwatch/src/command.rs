//! A command that is run, waited for, and ended when `irqwatch` is told to stop.

use std::{
    fmt,
    os::fd::AsFd,
    os::unix::process::{CommandExt, ExitStatusExt},
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

/// A running command, in a process group of its own so that a stop reaches its children too.
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
        let child = Command::new(program).args(arguments).process_group(0).spawn().map_err(|error| {
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            let refused = Error::system(format!("start `{program}`"), error);
            if missing { refused.with_kind(ErrorKind::BadArguments) } else { refused }
        })?;
        Ok(Self { child })
    }

    /// Waits for its end. A stop sends SIGTERM, and SIGKILL if that does not help. `woke` is called
    /// after every pause that a timer ended.
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    pub fn wait(mut self, stop: &Stop, mut woke: impl FnMut()) -> Result<Outcome> {
        let before_ns = children_cpu_ns();
        let end = sys::pidfd_open(self.child.id()).ok();
        let mut kill_at_ns = None;
        loop {
            let ended =
                self.child.try_wait().map_err(|error| Error::system("wait for the command", error))?;
            if let Some(status) = ended {
                return Ok(outcome(status, children_cpu_ns().saturating_sub(before_ns)));
            }
            match kill_at_ns {
                None if stop.is_raised() => {
                    sys::kill_group(self.child.id(), libc::SIGTERM);
                    kill_at_ns = Some(clock::now_ns() + GRACE_NS);
                }
                Some(at_ns) if clock::now_ns() > at_ns => sys::kill_group(self.child.id(), libc::SIGKILL),
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

impl Drop for Running {
    fn drop(&mut self) {
        // Still running only where waiting failed: it must not outlive its controller.
        if matches!(self.child.try_wait(), Ok(None)) {
            sys::kill_group(self.child.id(), libc::SIGKILL);
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
