//! What a run does, resolved: nothing in it can contradict itself.

use std::fmt;

use meter::{cpulist::CpuList, placement::Placement, units};
use serde::Serialize;

use crate::{Duty, kernel::Kernel, scheduling::Scheduling};

/// How busy the workers are, and when.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Load {
    /// The same share of every period.
    Cycle {
        /// That share, in percent.
        duty_percent: Duty,
        /// Length of the period, in nanoseconds.
        period_ns: u64,
        /// Busy from so long after each multiple of the period in wall-clock time, in nanoseconds;
        /// `null` counts periods from the start.
        phase_ns: Option<u64>,
    },
    /// Busy and idle times of random length.
    Random {
        /// Share of the busy ones, in percent.
        duty_percent: Duty,
        /// Mean of a busy and an idle time together, in nanoseconds.
        period_ns: u64,
        /// Seed of the first worker; each has one of its own.
        seed: u64,
    },
    /// As much as others leave of a total.
    Hold {
        /// The total, in percent of each CPU.
        total_percent: Duty,
        /// How often it is looked at, in nanoseconds.
        period_ns: u64,
    },
}

/// Where the workers run.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Places {
    /// One worker pinned to each CPU.
    Pinned {
        /// The CPUs.
        cpus: CpuList,
    },
    /// Where the scheduler wants them.
    Free {
        /// How many workers.
        workers: usize,
    },
}

/// A resolved run.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Config {
    /// Where the workers run.
    pub places: Places,
    /// How the kernel schedules them.
    pub sched: Scheduling,
    /// What they do.
    pub kernel: Kernel,
    /// How busy they are.
    pub load: Load,
    /// Operations after which a worker ends; `null` for no limit.
    pub operations: Option<u64>,
    /// Length of the measurement, in nanoseconds; with a number of operations the longest.
    pub duration_ns: u64,
    /// Length of the load before it, in nanoseconds.
    pub warmup_ns: u64,
    /// Distance of the samples, in nanoseconds; `null` for none.
    pub interval_ns: Option<u64>,
    /// How far the achieved duty (the total load, where that is held) may be from the demanded, in percentage
    /// points, for the result to be trusted; `null` for as far as it likes.
    pub required_points: Option<f64>,
}

impl Config {
    /// Where each worker runs.
    #[must_use]
    pub fn placements(&self) -> Vec<Placement> {
        let policy = self.sched.policy();
        match &self.places {
            Places::Pinned { cpus } => {
                cpus.cpus().iter().map(|&cpu| Placement { cpu: Some(cpu), policy }).collect()
            }
            Places::Free { workers } => vec![Placement { cpu: None, policy }; *workers],
        }
    }

    /// The CPUs of pinned workers; none for free ones.
    #[must_use]
    pub fn cpus(&self) -> &[usize] {
        match &self.places {
            Places::Pinned { cpus } => cpus.cpus(),
            Places::Free { .. } => &[],
        }
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |ns: u64| units::duration(ns as f64);
        write!(f, "{}: ", self.kernel)?;
        match &self.load {
            Load::Cycle { duty_percent, period_ns, .. } => {
                write!(f, "{duty_percent} of every {}", time(*period_ns))?;
            }
            Load::Random { duty_percent, period_ns, seed } => {
                write!(f, "{duty_percent} in random stretches of {} (seed {seed})", time(*period_ns))?;
            }
            Load::Hold { total_percent, .. } => write!(f, "what is missing from {total_percent}")?,
        }
        match &self.places {
            Places::Pinned { cpus } => write!(f, " on CPUs {cpus}")?,
            Places::Free { workers } => write!(f, " by {}", units::counted(*workers as u64, "free worker"))?,
        }
        match self.operations {
            Some(operations) => write!(f, ", {operations} operations each within {}", time(self.duration_ns)),
            None => write!(f, " for {}", time(self.duration_ns)),
        }
    }
}
