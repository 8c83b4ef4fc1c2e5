//! The command line.

use std::path::PathBuf;

use clap::{Args as Arguments, Parser, Subcommand};
use meter::{
    Error, Result,
    cli::CommonArgs,
    session::{Session, Tool},
    tool::Program,
    units::{Bytes, Nanoseconds},
};

use crate::{
    config::{Config, Mode},
    data::{Data, Filler},
    measure,
};

/// Disk probe: how long a guest's I/O takes, how much that varies, and what it costs.
#[derive(Parser, Debug)]
#[command(name = "diskprobe", version)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Write to a file or block device
    Write(WriteArgs),
    /// Read from a file or block device
    Read(ReadArgs),
}

#[derive(Arguments, Debug)]
struct WriteArgs {
    #[command(flatten)]
    work: WorkArgs,

    /// Write over an existing file, or to a block device
    #[arg(long)]
    overwrite: bool,

    /// The block device's name once more: write to it although it is not empty
    #[arg(long, value_name = "PATH", requires = "overwrite")]
    device: Option<PathBuf>,

    /// What is written
    #[arg(long, value_enum, default_value = "random")]
    data: Data,

    /// Fill every block anew with data of its own before it is written
    #[arg(long)]
    refill: bool,
}

#[derive(Arguments, Debug)]
struct ReadArgs {
    #[command(flatten)]
    work: WorkArgs,

    /// Create and fill the file first if it does not exist
    #[arg(long)]
    create: bool,
}

#[derive(Arguments, Debug)]
struct WorkArgs {
    /// File or block device
    path: PathBuf,

    /// Length of one operation
    #[arg(long, value_name = "SIZE", default_value = "128KiB")]
    block_size: Bytes,

    /// Bytes of one run [default: 1048576000, or all of a smaller target]
    #[arg(long, value_name = "SIZE")]
    total: Option<Bytes>,

    /// Operations in flight, per worker
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=4096))]
    queue_depth: u16,

    /// Completions to wait for before new operations begin
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch: u32,

    /// Number of runs, a sample each
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,

    /// Rest between runs
    #[arg(long, value_name = "TIME", default_value = "0s")]
    settle: Nanoseconds,

    /// Unrelated bytes written before each run, such as `4GiB`
    #[arg(long, value_name = "SIZE")]
    precondition: Option<Bytes>,

    /// Seed of everything random
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Keep a file that diskprobe created
    #[arg(long)]
    keep: bool,
}

impl Args {
    /// What was typed, understood.
    ///
    /// # Errors
    /// When it contradicts itself (exit code 2), or a CPU can't be used (exit code 3).
    pub fn config(&self) -> Result<Config> {
        let (work, mode) = match &self.command {
            Command::Write(write) => {
                let data = Filler { data: write.data, seed: write.work.seed, refill: write.refill };
                let keep = write.work.keep;
                (
                    &write.work,
                    Mode::Write { overwrite: write.overwrite, device: write.device.clone(), data, keep },
                )
            }
            Command::Read(read) => {
                let filler = Filler { data: Data::Random, seed: read.work.seed, refill: true };
                (&read.work, Mode::Read { create: read.create.then_some(filler), keep: read.work.keep })
            }
        };
        let block_size_bytes = u32::try_from(work.block_size.0)
            .ok()
            .filter(|size| *size > 0 && size.is_multiple_of(512))
            .ok_or_else(|| {
                Error::bad_arguments("--block-size must be a multiple of 512 bytes below 4 GiB")
            })?;
        if let Some(Bytes(total)) = work.total
            && (total == 0 || !total.is_multiple_of(512))
        {
            return Err(Error::bad_arguments("--total must be a multiple of 512 bytes"));
        }
        Ok(Config {
            path: work.path.clone(),
            mode,
            block_size_bytes,
            total_bytes: work.total.map(|total| total.0),
            duration_ns: self.common.duration.map(|duration| duration.0),
            queue_depth: work.queue_depth,
            batch: work.batch.clamp(1, u32::from(work.queue_depth)),
            runs: work.repeat,
            settle_ns: work.settle.0,
            precondition_bytes: work.precondition.map_or(0, |size| size.0),
            cpus: self.common.cpus.clone().unwrap_or_default(),
            placements: self.common.placements()?,
        })
    }
}

impl Program for Args {
    const TOOL: Tool = Tool { name: "diskprobe", version: env!("CARGO_PKG_VERSION") };

    fn common(&self) -> &CommonArgs {
        &self.common
    }

    fn run(self, session: &mut Session<'_>) -> Result<()> {
        measure::run(&self.config()?, session)
    }
}
