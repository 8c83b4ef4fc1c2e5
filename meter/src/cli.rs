//! The flags that every tool has.

use std::path::PathBuf;

use clap::Args;

use crate::{
    Error, Result,
    cpulist::CpuList,
    placement::{Placement, Policy},
    start_time::StartTime,
    units::Nanoseconds,
};

/// The common flags, for `#[command(flatten)]`.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Common options")]
pub struct CommonArgs {
    /// CPUs to run on, one pinned thread per CPU, such as `0-3,8` [default: not pinned]
    #[arg(long, value_name = "LIST", global = true)]
    pub cpus: Option<CpuList>,

    /// Scheduling policy of the working threads: `other`, `fifo:N` or `rr:N`
    #[arg(long, value_name = "POLICY", default_value_t, global = true)]
    pub sched: Policy,

    /// How long to measure, such as `10s` or `500ms`
    #[arg(long, value_name = "TIME", global = true)]
    pub duration: Option<Nanoseconds>,

    /// How long to run before measuring begins [default: 0s]
    #[arg(long, value_name = "TIME", global = true)]
    pub warmup: Option<Nanoseconds>,

    /// Give a sample at this interval, such as `1s`
    #[arg(long, value_name = "TIME", global = true)]
    pub interval: Option<Nanoseconds>,

    /// Begin at this time: `+4s` from now, 2026-01-31T08:00:00Z, or seconds since 1970
    #[arg(long, value_name = "TIME", global = true)]
    pub start_at: Option<StartTime>,

    /// Write records as JSON, one object a line, instead of text
    #[arg(long, global = true)]
    pub json: bool,

    /// Write latencies as an HdrHistogram interval log
    #[arg(long, value_name = "FILE", global = true)]
    pub hlog: Option<PathBuf>,

    /// Print the resolved configuration (the `start` record) and exit
    #[arg(long, global = true)]
    pub dry_run: bool,

    /// Begin at the line `go` on standard input, send no samples after `quiet`, stop when it closes
    #[arg(long, global = true)]
    pub controlled: bool,
}

impl CommonArgs {
    /// Placements of the working threads: one per listed CPU, or a single free one.
    ///
    /// # Errors
    /// When a listed CPU can't be used here (exit code 3).
    pub fn placements(&self) -> Result<Vec<Placement>> {
        let Some(cpus) = &self.cpus else {
            return Ok(vec![Placement { cpu: None, policy: self.sched }]);
        };
        cpus.check_allowed()?;
        Ok(cpus.cpus().iter().map(|&cpu| Placement { cpu: Some(cpu), policy: self.sched }).collect())
    }

    /// The duration, or `default_ns` where none was given, in nanoseconds.
    ///
    /// # Errors
    /// When it is zero (exit code 2).
    pub fn duration_ns(&self, default_ns: u64) -> Result<u64> {
        positive(self.duration, "--duration").map(|given| given.unwrap_or(default_ns))
    }

    /// The interval in nanoseconds, if samples are wanted.
    ///
    /// # Errors
    /// When it is zero (exit code 2).
    pub fn interval_ns(&self) -> Result<Option<u64>> {
        positive(self.interval, "--interval")
    }

    /// The warm-up in nanoseconds, 0 for none.
    #[must_use]
    pub fn warmup_ns(&self) -> u64 {
        self.warmup.map_or(0, |warmup| warmup.0)
    }
}

fn positive(time: Option<Nanoseconds>, flag: &str) -> Result<Option<u64>> {
    match time {
        Some(Nanoseconds(0)) => Err(Error::bad_arguments(format!("{flag} must be longer than 0"))),
        time => Ok(time.map(|time| time.0)),
    }
}
