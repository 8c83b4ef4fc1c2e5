//! What a run does, resolved: nothing in it can contradict itself.

use std::fmt;

use meter::{cpulist::CpuList, placement::Placement, placement::Policy, units};
use serde::Serialize;

use crate::{Duty, kernel::Kernel};

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
    },
}

/// A resolved run.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Config {
    /// CPUs of the pinned workers, one each.
    pub cpus: CpuList,
    /// Scheduling policy of the workers.
    pub sched: Policy,
    /// What they do.
    pub kernel: Kernel,
    /// How busy they are.
    pub load: Load,
    /// Length of the measurement, in nanoseconds.
    pub duration_ns: u64,
    /// Length of the load before it, in nanoseconds.
    pub warmup_ns: u64,
    /// Distance of the samples, in nanoseconds; `null` for none.
    pub interval_ns: Option<u64>,
}

impl Config {
    /// Where each worker runs.
    #[must_use]
    pub fn placements(&self) -> Vec<Placement> {
        self.cpus.cpus().iter().map(|&cpu| Placement { cpu: Some(cpu), policy: self.sched }).collect()
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Load::Cycle { duty_percent, period_ns } = &self.load;
        write!(
            f,
            "{duty_percent} of every {} with {:?} on CPUs {} for {}",
            units::duration(*period_ns as f64),
            self.kernel,
            self.cpus,
            units::duration(self.duration_ns as f64)
        )
    }
}
