//! The command line, as typed. What it means is [`crate::config`], how it becomes that is [`crate::resolve`].

use std::path::PathBuf;

use clap::{Args as Arguments, Parser, Subcommand, ValueEnum};
use meter::{
    cli::CommonArgs,
    units::{Bytes, Nanoseconds},
};

use crate::{
    config::{Durability, Layout, Order},
    data::Data,
    pace::RateText,
    require::Requirement,
};

/// Disk probe: how long a guest's I/O takes, how much that varies, and what it costs
#[derive(Parser, Debug)]
#[command(name = "diskprobe", version)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// The flags of every tool.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// Direction, and the flags that only one direction has.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Write to a file or block device
    Write(WriteArgs),
    /// Read from a file or block device
    Read(ReadArgs),
}

#[derive(Arguments, Debug)]
pub(crate) struct WriteArgs {
    #[command(flatten)]
    pub work: WorkArgs,

    /// Write over an existing file, or to a block device that is empty
    #[arg(long)]
    pub overwrite: bool,

    /// Write behind the end of an existing file; what was written stays
    #[arg(long, conflicts_with_all = ["overwrite", "layout"])]
    pub append: bool,

    /// The device's name once more: write to it although it is not empty (never when mounted or in use)
    #[arg(long, value_name = "PATH", requires = "overwrite")]
    pub device: Option<PathBuf>,

    /// What a file's space is before each run
    #[arg(long, value_enum, default_value = "preallocate")]
    pub layout: Layout,

    /// What is written
    #[arg(long, value_enum, default_value = "random")]
    pub data: Data,

    /// Write random data that follows from its offset and the seed, for a later `read --verify`
    #[arg(long)]
    pub verifiable: bool,

    /// Read everything back after each run and compare; implies --verifiable
    #[arg(long)]
    pub verify: bool,

    /// Make the data durable after each run; the time it takes is told apart
    #[arg(long, value_enum, default_value = "none")]
    pub sync: Durability,
}

#[derive(Arguments, Debug)]
pub(crate) struct ReadArgs {
    #[command(flatten)]
    pub work: WorkArgs,

    /// Create and fill a missing file first
    #[arg(long)]
    pub create: bool,

    /// Do not object to holes and unwritten extents, which are read without the disk
    #[arg(long)]
    pub allow_holes: bool,

    /// Compare with what `write --verifiable` (or --create) of the same --seed left there
    #[arg(long)]
    pub verify: bool,
}

/// How operations reach the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineName {
    /// io_uring with registered buffers and file
    #[value(name = "io_uring")]
    IoUring,
    /// pread and pwrite, one at a time, as dd does
    Sync,
    /// NVMe commands to a generic device such as /dev/ng0n1
    Nvme,
}

/// How operations arrive under --rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ArrivalsName {
    /// Evenly
    Fixed,
    /// With exponential gaps
    Poisson,
}

#[derive(Arguments, Debug)]
pub(crate) struct WorkArgs {
    /// File or block device
    pub path: PathBuf,

    /// Length of one operation
    #[arg(long, value_name = "SIZE", default_value = "128KiB")]
    pub block_size: Bytes,

    /// Bytes of one run [default: 1048576000, or all of a smaller target; no bound with --duration]
    #[arg(long, value_name = "SIZE")]
    pub total: Option<Bytes>,

    /// Where in the target the region begins
    #[arg(long, value_name = "SIZE", default_value = "0")]
    pub offset: Bytes,

    /// Length of the region; a longer run passes over it again [default: as much as --total]
    #[arg(long, value_name = "SIZE")]
    pub span: Option<Bytes>,

    /// Order of the blocks; random takes each once a pass
    #[arg(long, value_enum, default_value = "sequential")]
    pub order: Order,

    /// Seed of random order, verifiable data and arrivals
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// How operations reach the kernel
    #[arg(long, value_enum, default_value = "io_uring")]
    pub engine: EngineName,

    /// Go through the page cache instead of O_DIRECT
    #[arg(long)]
    pub buffered: bool,

    /// Operations in flight, per worker [default: 8, or 1 with --engine sync]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub queue_depth: Option<u16>,

    /// Completions to wait for before new operations begin [default: as many as come within 20 µs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: Option<u32>,

    /// Poll for completions instead of waiting for interrupts; the device needs poll queues
    #[arg(long, conflicts_with = "buffered")]
    pub io_poll: bool,

    /// Let a thread of the kernel submit, pinned to a CPU if one is given
    #[arg(long, value_name = "CPU", num_args = 0..=1, require_equals = true)]
    #[expect(clippy::option_option, reason = "absent, without a value, with a value")]
    pub submission_poll: Option<Option<u32>>,

    /// Intended load: `5000/s` operations or `200MB/s`, with response times from the intended start
    #[arg(long, value_name = "RATE")]
    pub rate: Option<RateText>,

    /// How operations arrive under --rate
    #[arg(long, value_enum, default_value = "fixed", requires = "rate")]
    pub arrivals: ArrivalsName,

    /// Number of runs, a sample each [default: 1, or at most 25 with --steady-state]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: Option<u32>,

    /// Repeat until five runs are steady by SNIA's rule
    #[arg(long)]
    pub steady_state: bool,

    /// Rest between runs
    #[arg(long, value_name = "TIME", default_value = "0s")]
    pub settle: Nanoseconds,

    /// Unrelated data to write before each run, such as `4GiB`; the page cache is dropped afterwards
    #[arg(long, value_name = "SIZE")]
    pub precondition: Option<Bytes>,

    /// Folder for the unrelated data [default: the target's, or the device itself if it is written to]
    #[arg(long, value_name = "FOLDER", requires = "precondition")]
    pub precondition_in: Option<PathBuf>,

    /// Bound on the summary, such as `bytes_per_s>=500MB` or `completion_latency.p99_ns<=2ms`; exit code 4
    /// when missed. May be repeated
    #[arg(long, value_name = "BOUND")]
    pub require: Vec<Requirement>,

    /// Put the whole histograms into the summary
    #[arg(long)]
    pub histogram: bool,

    /// Keep a file that diskprobe created
    #[arg(long)]
    pub keep: bool,
}
