//! From what was typed to what it means; contradictions end here.

use meter::{Error, Result, cli::CommonArgs, units::Bytes};

use crate::{
    args::{Args, ArrivalsName, Command, EngineName, ReadArgs, WorkArgs, WriteArgs},
    config::{Config, EngineKind, Existing, LARGEST_BUFFERS, Mode, Precondition, ReadMode, WriteMode},
    data::{Data, Filler, SECTOR},
    outcome::Summary,
    setup::{RingOptions, SubmissionPoll},
};

/// Operations in flight unless another number is typed.
const DEFAULT_QUEUE_DEPTH: u16 = 8;
/// Rounds that steady state gets unless another number is typed, as in SNIA's test specification.
const DEFAULT_ROUNDS: u32 = 25;

/// What was typed, understood.
///
/// # Errors
/// When it contradicts itself (exit code 2), or a CPU can't be used (exit code 3).
pub fn config(args: &Args) -> Result<Config> {
    let (work, mode) = match &args.command {
        Command::Write(write) => (&write.work, Mode::Write(write_mode(write, &args.common)?)),
        Command::Read(read) => (&read.work, Mode::Read(read_mode(read))),
    };
    let common = &args.common;
    let queue_depth = queue_depth(work)?;
    let block_size_bytes = block_size(work, queue_depth)?;
    check_sectors(work)?;
    check_requirements(work)?;
    Ok(Config {
        path: work.path.clone(),
        mode,
        engine: engine(work)?,
        direct: !work.buffered,
        block_size_bytes,
        queue_depth,
        batch: work.batch.map(|batch| batch.min(queue_depth.into())),
        offset_bytes: work.offset.0,
        span_bytes: work.span.map(|span| span.0),
        total_bytes: work.total.map(|total| total.0),
        duration_ns: duration_ns(common)?,
        warmup_ns: common.warmup_ns(),
        order: work.order,
        seed: work.seed,
        rate: work
            .rate
            .map(|rate| rate.resolve(work.block_size.0, work.arrivals == ArrivalsName::Poisson))
            .transpose()?,
        runs: work.repeat.unwrap_or(if work.steady_state { DEFAULT_ROUNDS } else { 1 }),
        steady_state: work.steady_state,
        settle_ns: work.settle.0,
        precondition: work
            .precondition
            .filter(|size| size.0 > 0)
            .map(|size| Precondition { bytes: size.0, folder: work.precondition_in.clone() }),
        require: work.require.clone(),
        interval_ns: common.interval_ns()?,
        histogram: work.histogram,
        hlog: common.hlog.clone(),
        cpus: common.cpus.clone().unwrap_or_default(),
        placements: common.placements()?,
    })
}

fn write_mode(write: &WriteArgs, common: &CommonArgs) -> Result<WriteMode> {
    let verifiable = write.verifiable || write.verify;
    if verifiable && write.data != Data::Random {
        let flag = if write.verify { "--verify" } else { "--verifiable" };
        return Err(Error::bad_arguments(format!(
            "{flag} needs --data random: other data has no place of its own"
        )));
    }
    let existing = match (write.overwrite, write.append) {
        (true, _) => Existing::Overwrite,
        (false, true) => Existing::Append,
        (false, false) => Existing::Refuse,
    };
    if write.verify && common.duration.is_some() {
        return Err(Error::bad_arguments(
            "--verify reads back a known amount; give --total instead of --duration",
        ));
    }
    Ok(WriteMode {
        existing,
        device: write.device.clone(),
        layout: write.layout,
        data: Filler { data: write.data, seed: write.work.seed, verifiable },
        verify: write.verify,
        sync: write.sync,
        keep: write.work.keep,
    })
}

fn read_mode(read: &ReadArgs) -> ReadMode {
    ReadMode { create: read.create, allow_holes: read.allow_holes, verify: read.verify, keep: read.work.keep }
}

fn engine(work: &WorkArgs) -> Result<EngineKind> {
    let options = RingOptions {
        io_poll: work.io_poll,
        submission_poll: work.submission_poll.map(|cpu| SubmissionPoll { cpu }),
    };
    match work.engine {
        EngineName::IoUring => Ok(EngineKind::IoUring(options)),
        EngineName::Nvme if work.buffered => {
            Err(Error::bad_arguments("--engine nvme passes the page cache by; leave --buffered out"))
        }
        EngineName::Nvme => Ok(EngineKind::Nvme(options)),
        EngineName::Sync if options != RingOptions::default() => Err(Error::bad_arguments(
            "--io-poll and --submission-poll belong to io_uring, not to --engine sync",
        )),
        EngineName::Sync => Ok(EngineKind::Sync),
    }
}

fn queue_depth(work: &WorkArgs) -> Result<u16> {
    match (work.engine, work.queue_depth) {
        (EngineName::Sync, None | Some(1)) => Ok(1),
        (EngineName::Sync, Some(_)) => Err(Error::bad_arguments(
            "--engine sync has one operation in flight; leave --queue-depth out or use --engine io_uring",
        )),
        (_, depth) => Ok(depth.unwrap_or(DEFAULT_QUEUE_DEPTH)),
    }
}

fn block_size(work: &WorkArgs, queue_depth: u16) -> Result<u32> {
    let size = work.block_size.0;
    if size == 0 || !size.is_multiple_of(SECTOR as u64) {
        return Err(Error::bad_arguments(format!(
            "--block-size must be a multiple of 512 bytes, not {size}"
        )));
    }
    match u32::try_from(size) {
        Ok(small) if size * u64::from(queue_depth) <= LARGEST_BUFFERS && small <= i32::MAX as u32 => {
            Ok(small)
        }
        _ => Err(Error::bad_arguments(format!(
            "--block-size times --queue-depth must not exceed 1 GiB, but {size} times {queue_depth} does"
        ))),
    }
}

/// The duration, `None` where none was typed.
fn duration_ns(common: &CommonArgs) -> Result<Option<u64>> {
    common.duration.map(|_| common.duration_ns(0)).transpose()
}

fn check_sectors(work: &WorkArgs) -> Result<()> {
    let sizes = [("--total", work.total), ("--span", work.span), ("--offset", Some(work.offset))];
    for (flag, size) in sizes {
        let Some(Bytes(size)) = size else { continue };
        if !size.is_multiple_of(SECTOR as u64) || (size == 0 && flag != "--offset") {
            return Err(Error::bad_arguments(format!("{flag} must be a multiple of 512 bytes, not {size}")));
        }
    }
    Ok(())
}

fn check_requirements(work: &WorkArgs) -> Result<()> {
    if work.require.is_empty() {
        return Ok(());
    }
    let example = Summary::example();
    work.require.iter().try_for_each(|bound| bound.check_key(&example)).map_err(Error::bad_arguments)?;
    match work.require.iter().find(|bound| work.rate.is_none() && bound.is_of("response_time")) {
        Some(bound) => Err(Error::bad_arguments(format!(
            "--require {bound} needs --rate: only a rate gives intended starts to respond to"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn resolved(line: &str) -> Result<Config> {
        config(
            &Args::try_parse_from(line.split(' '))
                .map_err(|error| Error::bad_arguments(error.to_string()))?,
        )
    }

    #[test]
    fn the_defaults_are_the_published_measurement() {
        let config = resolved("diskprobe write x").unwrap();
        assert_eq!((config.block_size_bytes, config.queue_depth, config.runs), (131_072, 8, 1));
        assert!(config.direct);
    }

    #[test]
    fn contradictions_are_bad_arguments() {
        for line in [
            "diskprobe write x --engine sync --queue-depth 4",
            "diskprobe write x --engine sync --io-poll",
            "diskprobe write x --block-size 1000B",
            "diskprobe write x --block-size 0B",
            "diskprobe write x --block-size 1GiB --queue-depth 2",
            "diskprobe write x --total 0B",
            "diskprobe write x --total 1000B",
            "diskprobe write x --verify --data zeros",
            "diskprobe write x --verifiable --data repeated",
            "diskprobe write x --device /dev/y",
            "diskprobe write x --rate 0/s",
            "diskprobe write x --rate fast",
            "diskprobe write x --arrivals poisson",
            "diskprobe write x --append --overwrite",
            "diskprobe write x --buffered --io-poll",
            "diskprobe write x --require speed>=1",
            "diskprobe write x --require speed>=1GB",
            "diskprobe write x --require bytes_per_s=>1GB",
            "diskprobe write x --require response_time.p99_ns<=1ms",
            "diskprobe write x --repeat 0",
            "diskprobe read x --overwrite",
        ] {
            let error = resolved(line).err().unwrap_or_else(|| panic!("accepted: {line}"));
            assert_eq!(error.kind().exit_code(), 2, "{line}: {error}");
        }
    }

    #[test]
    fn a_rate_in_bytes_is_exact() {
        let rate = resolved("diskprobe write x --block-size 4KiB --rate 100MB/s").unwrap().rate.unwrap();
        let rate = rate.rate;
        assert_eq!(
            u128::from(rate.per_ns()) * 100_000_000,
            u128::from(rate.operations()) * 4096 * 1_000_000_000
        );
    }
}
