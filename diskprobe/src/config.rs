//! What a measurement is, after the command line was understood.

use std::{fmt, path::PathBuf};

use meter::{
    cpulist::CpuList,
    placement::Placement,
    units::{Bytes, Nanoseconds},
};
use serde::Serialize;

use crate::{data::Filler, engine::Operation};

/// Everything that decides what is measured. Sizes are in bytes, times in nanoseconds.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Config {
    /// The file or block device.
    pub path: PathBuf,
    /// Direction, and what may become of the target.
    #[serde(flatten)]
    pub mode: Mode,
    /// Length of one operation.
    pub block_size_bytes: u32,
    /// Bytes of one run; `null` when the duration decides alone.
    pub total_bytes: Option<u64>,
    /// Longest time of one run.
    pub duration_ns: Option<u64>,
    /// Operations in flight that are asked for, per worker.
    pub queue_depth: u16,
    /// Completions that are waited for before new operations begin.
    pub batch: u32,
    /// Number of runs.
    pub runs: u32,
    /// Rest before each run but the first.
    pub settle_ns: u64,
    /// Unrelated bytes written before each run; 0 for none.
    pub precondition_bytes: u64,
    /// CPUs of the workers, one worker each; empty for a single worker that is not pinned.
    pub cpus: CpuList,
    /// The same with the scheduling policy.
    #[serde(skip)]
    pub placements: Vec<Placement>,
}

/// Direction of the operations.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "operation", rename_all = "snake_case")]
pub enum Mode {
    /// Data goes to the target.
    Write {
        /// Whether an existing file, or a block device, may be written to.
        overwrite: bool,
        /// The device's name, given a second time: it may be written to although it is not empty.
        device: Option<PathBuf>,
        /// What is written.
        data: Filler,
        /// Whether a file that this program creates stays.
        keep: bool,
    },
    /// Data comes from the target.
    Read {
        /// What a missing file is created with first; `null` when it must exist.
        create: Option<Filler>,
        /// Whether a file that this program creates stays.
        keep: bool,
    },
}

impl Config {
    /// Direction of the operations.
    #[must_use]
    pub fn operation(&self) -> Operation {
        match self.mode {
            Mode::Write { .. } => Operation::Write,
            Mode::Read { .. } => Operation::Read,
        }
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.operation().verb(), self.path.display())?;
        if let Some(total) = self.total_bytes {
            write!(f, ", {}", Bytes(total))?;
        }
        if let Some(duration) = self.duration_ns {
            write!(f, ", {}", Nanoseconds(duration))?;
        }
        write!(f, " in blocks of {}, depth {}", Bytes(self.block_size_bytes.into()), self.queue_depth)?;
        if self.runs > 1 {
            write!(f, ", {} runs", self.runs)?;
        }
        Ok(())
    }
}
