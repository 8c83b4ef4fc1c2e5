//! What a measurement is, after the command line was understood.

use std::{fmt, path::PathBuf};

use meter::{
    cpulist::CpuList,
    placement::Placement,
    units::{self, Bytes, Nanoseconds},
};
use serde::Serialize;

use crate::{data::Filler, engine::Operation, pace::Pace, require::Requirement, setup::RingOptions};

/// Buffers that one worker may have, in bytes: the longest that the kernel registers in one piece.
pub const LARGEST_BUFFERS: u64 = 1 << 30;

/// Everything that decides what is measured. Sizes are in bytes, times in nanoseconds.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Config {
    /// The file or device.
    pub path: PathBuf,
    /// Direction, and what may become of the target.
    #[serde(flatten)]
    pub mode: Mode,
    /// How operations reach the kernel.
    pub engine: EngineKind,
    /// Whether the page cache is passed by (O_DIRECT).
    pub direct: bool,
    /// Length of one operation.
    pub block_size_bytes: u32,
    /// Operations in flight that are asked for, per worker.
    pub queue_depth: u16,
    /// Completions that are waited for before new operations begin; `null` for as many as come within 20 µs.
    pub batch: Option<u32>,
    /// First byte of the region that is used.
    pub offset_bytes: u64,
    /// Length of that region; `null` for as much as a run transfers.
    pub span_bytes: Option<u64>,
    /// Bytes of one run; `null` for the default or the duration's.
    pub total_bytes: Option<u64>,
    /// Longest time of one run.
    pub duration_ns: Option<u64>,
    /// Time of the same work before each run that is not measured.
    pub warmup_ns: u64,
    /// Order of the blocks.
    pub order: Order,
    /// Seed of random order, verifiable data and arrivals.
    pub seed: u64,
    /// Intended load; `null` for as fast as it goes.
    pub rate: Option<Pace>,
    /// Number of runs, the most of them with `steady_state`.
    pub runs: u32,
    /// Whether runs go on only until SNIA's rule finds them steady.
    pub steady_state: bool,
    /// Rest between runs.
    pub settle_ns: u64,
    /// Unrelated data written before each run.
    pub precondition: Option<Precondition>,
    /// Bounds that make the result untrusted when missed.
    pub require: Vec<Requirement>,
    /// Length of the intervals that are sampled within a run.
    pub interval_ns: Option<u64>,
    /// Whether the summary has the whole histograms.
    pub histogram: bool,
    /// File of the HdrHistogram interval log.
    pub hlog: Option<PathBuf>,
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
    Write(WriteMode),
    /// Data comes from the target.
    Read(ReadMode),
}

/// How a target is written to.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WriteMode {
    /// What may become of data that is there.
    pub existing: Existing,
    /// The device's name, given a second time: it may be written to although it is not empty.
    pub device: Option<PathBuf>,
    /// What a file's space is before each run.
    pub layout: Layout,
    /// What is written.
    pub data: Filler,
    /// Whether each run is read back and compared.
    pub verify: bool,
    /// What makes the data durable after each run.
    pub sync: Durability,
    /// Whether a file that this program creates stays.
    pub keep: bool,
}

/// How a target is read.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReadMode {
    /// Whether a missing file is created and filled first.
    pub create: bool,
    /// Whether holes and extents that were never written may be among what is read.
    pub allow_holes: bool,
    /// Whether blocks are compared with what a `write --verifiable` of the same seed left there.
    pub verify: bool,
    /// Whether a file that this program creates stays.
    pub keep: bool,
}

/// What may become of a target that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Existing {
    /// Nothing: it is an error.
    Refuse,
    /// It is written over.
    Overwrite,
    /// Data is written behind a file's end, and stays.
    Append,
}

/// What a file's space is before each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Reserved (fallocate(2)), as fio does.
    Preallocate,
    /// None: the file grows with every write, as with dd. File systems write one block at a time then.
    Extend,
    /// Filled with data once, so that every run writes over it.
    Fill,
}

/// What makes data durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Nothing: it may still be in a cache of the device.
    None,
    /// fdatasync(2).
    Fdatasync,
    /// fsync(2).
    Fsync,
}

/// How operations reach the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum EngineKind {
    /// io_uring with registered buffers and file.
    IoUring(RingOptions),
    /// pread(2) and pwrite(2), one at a time, as dd does.
    Sync,
    /// NVMe commands through io_uring, past the file system and block layer.
    Nvme(RingOptions),
}

/// Order of the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Ascending.
    Sequential,
    /// Random, each block once a pass.
    Random,
}

/// Unrelated data before each run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Precondition {
    /// How much.
    pub bytes: u64,
    /// In which folder a nameless file takes it; `null` for the folder of a file, or the region of a
    /// device that is written to.
    pub folder: Option<PathBuf>,
}

impl Config {
    /// Whether blocks come in random order.
    #[must_use]
    pub fn is_random(&self) -> bool {
        self.order == Order::Random
    }

    /// Buffers of a worker with io_uring: one for each operation in flight, and where every block is filled half as many
    /// again, which are filled meanwhile.
    #[must_use]
    pub fn slots(&self) -> u16 {
        match &self.mode {
            Mode::Write(write) if write.data.fills_each() => {
                let room = LARGEST_BUFFERS / u64::from(self.block_size_bytes).max(1);
                let wanted = self.queue_depth + self.queue_depth.div_ceil(2);
                u16::try_from(room).unwrap_or(u16::MAX).min(wanted).max(self.queue_depth)
            }
            _ => self.queue_depth,
        }
    }

    /// Direction of the operations.
    #[must_use]
    pub fn operation(&self) -> Operation {
        match self.mode {
            Mode::Write(_) => Operation::Write,
            Mode::Read(_) => Operation::Read,
        }
    }

    /// Whether what workers record is collected while they work, for intervals or a log.
    #[must_use]
    pub fn is_collected(&self) -> bool {
        self.interval_ns.is_some() || self.hlog.is_some()
    }

    /// Whether operations have intended starts.
    #[must_use]
    pub fn is_paced(&self) -> bool {
        self.rate.is_some()
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
        let order = if self.order == Order::Random { " in random order" } else { "" };
        write!(f, ", blocks of {}{order}, depth {}", Bytes(self.block_size_bytes.into()), self.queue_depth)?;
        if let Some(pace) = self.rate {
            let per_s = pace.rate.per_second();
            write!(f, ", {}", units::si(per_s, "operations/s"))?;
        }
        if self.runs > 1 {
            write!(f, ", {}{} runs", if self.steady_state { "at most " } else { "" }, self.runs)?;
        }
        Ok(())
    }
}
