//! The records: one sample an interval, one summary at the end.

use std::fmt;

use meter::{units, usage::Usage};
use serde::Serialize;

use crate::{
    account::Account,
    facts::{CpuFacts, Temperature},
};

pub use crate::account::SpreadFigures;

/// Work of one interval.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sample {
    /// End of the interval, in seconds after the measurement began.
    pub at_s: f64,
    /// Length of the interval, in seconds.
    pub elapsed_s: f64,
    /// Operations of all workers.
    pub operations: u64,
    /// CPU time received over elapsed time, mean of the workers; `null` where one had not begun.
    pub duty_percent: Option<f64>,
    /// Operations of each worker, in their order.
    pub worker_operations: Vec<u64>,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = units::si(self.operations as f64 / self.elapsed_s, "operations/s");
        write!(f, "{:8.1} s  {rate:>22}", self.at_s)?;
        self.duty_percent.map_or(Ok(()), |duty| write!(f, "  {duty:7.3} %"))
    }
}

/// What one worker did.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkerResult {
    /// Its CPU; `null` where the scheduler chose.
    pub cpu: Option<usize>,
    /// CPU time received over elapsed time.
    pub duty_percent: f64,
    /// Operations done.
    pub operations: u64,
    /// CPU time received, in nanoseconds.
    pub cpu_ns: u64,
    /// CPU time that the schedule demanded, in nanoseconds.
    pub demanded_ns: u64,
    /// Time within its busy windows when it had not the CPU, in nanoseconds: others' tasks, a CPU quota of
    /// its cgroup, interrupts of this kernel and, where the kernel tells steal apart, the hypervisor. With
    /// the kernels `sync` and `disk` also the time that it waited for disks itself.
    pub denied_ns: u64,
    /// How long it ran, in seconds: with a number of operations, the time to finish.
    pub elapsed_s: f64,
    /// Whether it did all the operations that were asked for; `false` where no number was.
    pub finished: bool,
    /// Received minus demanded CPU time, window by window, in percentage points of the window.
    pub window_error_points: Option<SpreadFigures>,
    /// Begin of the busy windows, actual minus intended, in nanoseconds; `null` where none began with a sleep.
    pub begin_error_ns: Option<SpreadFigures>,
}

impl WorkerResult {
    pub(crate) fn new(cpu: Option<usize>, account: &Account) -> Self {
        let elapsed_ns = account.elapsed_ns();
        Self {
            cpu,
            duty_percent: percent(account.cpu_ns, elapsed_ns),
            operations: account.operations,
            cpu_ns: account.cpu_ns,
            demanded_ns: account.demanded_ns,
            denied_ns: account.denied_ns,
            elapsed_s: elapsed_ns as f64 / 1e9,
            finished: account.finished,
            window_error_points: account.window_error.figures(),
            begin_error_ns: account.begin_error.figures(),
        }
    }
}

/// `part` of `whole` in percent; 0 of nothing.
pub(crate) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 }
}

/// The whole measurement.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Summary {
    /// Length of the measurement, in seconds.
    pub elapsed_s: f64,
    /// CPU time demanded over elapsed time.
    pub target_duty_percent: f64,
    /// CPU time received over elapsed time, mean of the workers.
    pub duty_percent: f64,
    /// Operations of all workers.
    pub operations: u64,
    /// The same per second.
    pub operations_per_s: f64,
    /// CPU time that the schedule demanded of all workers, in nanoseconds.
    pub demanded_ns: u64,
    /// CPU time that all workers received, in nanoseconds.
    pub cpu_ns: u64,
    /// Each worker.
    pub workers: Vec<WorkerResult>,
    /// Operations/s of all workers, interval by interval; `null` without `--interval`.
    pub interval_operations_per_s: Option<SpreadFigures>,
    /// What the process cost.
    pub usage: Usage,
    /// Time stolen by the hypervisor from the CPUs of the workers, as a share of theirs; `null` where
    /// the kernel does not tell.
    pub steal_percent: Option<f64>,
    /// Load of the workers' CPUs by everybody, as the kernel accounts it (in clock ticks), mean of the
    /// CPUs; `null` for workers that are not pinned.
    pub total_load_percent: Option<f64>,
    /// Frequency of each CPU.
    pub cpu_facts: Vec<CpuFacts>,
    /// Sensors of the machine.
    pub temperatures: Vec<Temperature>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "duty {:.3} % of {:.3} % demanded over {}",
            self.duty_percent,
            self.target_duty_percent,
            units::duration(self.elapsed_s * 1e9)
        )?;
        write!(f, "{} operations, {}", self.operations, units::si(self.operations_per_s, "operations/s"))?;
        if let Some(steal) = self.steal_percent {
            write!(f, ", {steal:.3} % stolen")?;
        }
        if let Some(total) = self.total_load_percent {
            write!(f, ", total load of the CPUs {total:.1} %")?;
        }
        for worker in &self.workers {
            let place = worker.cpu.map_or_else(|| "unpinned".to_owned(), |cpu| format!("CPU {cpu}"));
            let denied = units::duration(worker.denied_ns as f64);
            write!(
                f,
                "\n  {place}: {:.3} %, {} operations, denied {denied}",
                worker.duty_percent, worker.operations
            )?;
        }
        Ok(())
    }
}
