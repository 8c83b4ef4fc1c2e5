//! Which bytes of the target a run is about.

use std::sync::Arc;

use meter::{Error, Result};

use crate::{
    blocks::{Blocks, Region},
    config::{Config, Existing, Mode},
    engine::Operation,
    inspect::Found,
    work::{Check, CommonBegin, Work},
};

/// 128 KiB × 8000: what the published measurement wrote.
const DEFAULT_TOTAL_BYTES: u64 = 8000 << 17;

/// The region and the bytes of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Where.
    pub region: Region,
    /// How much; `None` when only the duration ends a run.
    pub total: Option<u64>,
    /// How far the region moves from run to run: each appends behind the one before.
    advance: u64,
}

impl Workload {
    /// What `config` means for a target of that kind and size, whose offsets and lengths must be
    /// multiples of `alignment`.
    ///
    /// # Errors
    /// When it does not fit the target or its alignment (exit code 2).
    pub fn new(config: &Config, found: &Found, alignment: u32) -> Result<Self> {
        let offset = config.offset_bytes + append_offset(config, found);
        let room = match (found, config.operation()) {
            (Found::Nothing | Found::File { .. }, Operation::Write) => u64::MAX - offset,
            (Found::Nothing, Operation::Read) => u64::MAX - offset,
            _ => found.size().saturating_sub(offset) / u64::from(alignment) * u64::from(alignment),
        };
        let path = config.path.display();
        if room == 0 {
            return Err(Error::bad_arguments(format!("{path} has no data from offset {offset} on")));
        }
        let asked = config.span_bytes.or(config.total_bytes).unwrap_or(DEFAULT_TOTAL_BYTES.min(room));
        if asked > room {
            let flag = if config.span_bytes.is_some() { "--span" } else { "--total" };
            return Err(Error::bad_arguments(format!(
                "{path} has only {room} bytes from offset {offset} on, fewer than {flag} {asked}; with --span a run passes over them again"
            )));
        }
        let total = match (config.total_bytes, config.duration_ns) {
            (None, Some(_)) => None,
            (total, _) => Some(total.unwrap_or(asked)),
        };
        let appends = matches!(&config.mode, Mode::Write(write) if write.existing == Existing::Append);
        let advance = if appends { asked } else { 0 };
        let workload = Self { region: Region { offset, length: asked }, total, advance };
        workload.check(config, alignment)?;
        Ok(workload)
    }

    fn check(&self, config: &Config, alignment: u32) -> Result<()> {
        let lengths = [
            ("--block-size", u64::from(config.block_size_bytes)),
            ("the first byte", self.region.offset),
            ("--total", self.total.unwrap_or(0)),
            ("--span", self.region.length),
        ];
        for (name, length) in lengths {
            if config.direct && !length.is_multiple_of(u64::from(alignment)) {
                return Err(Error::bad_arguments(format!(
                    "{name} is {length}, but O_DIRECT on {} needs multiples of {alignment} bytes",
                    config.path.display()
                )));
            }
        }
        let blocks = self.region.length.div_ceil(u64::from(config.block_size_bytes));
        if blocks < config.placements.len() as u64 {
            return Err(Error::bad_arguments(format!(
                "{blocks} blocks are too few for {} workers; name fewer CPUs with --cpus",
                config.placements.len()
            )));
        }
        Ok(())
    }

    /// Checks sizes and offsets once more, against what the opened file says that it requires.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn check_alignment(&self, config: &Config, alignment: Option<u32>) -> Result<()> {
        alignment.map_or(Ok(()), |alignment| self.check(config, alignment.max(1)))
    }

    /// The parts of the target that the first run is about. In random order it may end before it has seen all of them.
    #[must_use]
    pub fn parts(&self, config: &Config) -> Vec<Region> {
        let workers = config.placements.len() as u64;
        let part = |worker| {
            let (region, total) = self.share(config, worker, workers);
            let length = if config.is_random() { region.length } else { region.length.min(total) };
            Region { length, ..region }
        };
        (0..workers).map(part).collect()
    }

    /// The same work without an end of its own: what warms up for a time, over and over the region.
    #[must_use]
    pub fn unbounded(self) -> Self {
        Self { total: None, ..self }
    }

    /// What each worker does in run number `run`: a stretch of the region each.
    #[must_use]
    pub fn orders(&self, config: &Config, run: u32, duration_ns: Option<u64>) -> Arc<Vec<Work>> {
        let workers = config.placements.len() as u64;
        let begin = CommonBegin::default();
        let order = |worker| {
            let (schedule, lead_ns) = match config.rate {
                Some(rate) => {
                    let (schedule, lead_ns) = rate.schedule(worker, workers, config.seed);
                    (Some(schedule), lead_ns)
                }
                None => (None, 0),
            };
            Work {
                operation: config.operation(),
                blocks: self.blocks(config, worker, workers, run),
                begin: begin.clone(),
                duration_ns: duration_ns.unwrap_or(u64::MAX),
                schedule,
                lead_ns,
                batch: config.batch,
                check: match &config.mode {
                    Mode::Read(read) if read.verify => Some(Check { seed: config.seed }),
                    _ => None,
                },
            }
        };
        Arc::new((0..workers).map(order).collect())
    }

    /// What each worker reads back to verify run number `run`: the blocks that it wrote, once each.
    #[must_use]
    pub fn verification(&self, config: &Config, run: u32) -> Arc<Vec<Work>> {
        let workers = config.placements.len() as u64;
        let begin = CommonBegin::default();
        let once = Self { total: self.total.map(|total| total.min(self.region.length)), ..*self };
        let order = |worker| Work {
            operation: Operation::Read,
            blocks: once.blocks(config, worker, workers, run),
            begin: begin.clone(),
            duration_ns: u64::MAX,
            schedule: None,
            lead_ns: 0,
            batch: Some(1),
            check: Some(Check { seed: config.seed }),
        };
        Arc::new((0..workers).map(order).collect())
    }

    /// One worker's blocks in run number `run`.
    fn blocks(&self, config: &Config, worker: u64, workers: u64, run: u32) -> Blocks {
        let (mut region, total) = self.share(config, worker, workers);
        region.offset += self.advance * u64::from(run);
        if !config.is_random() {
            return Blocks::sequential(region, config.block_size_bytes, total);
        }
        let seed = config.seed ^ (u64::from(run) << 32 | worker).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Blocks::random(region, config.block_size_bytes, total, seed)
    }

    /// One worker's stretch of the region and its part of the total, in whole blocks but for the last.
    fn share(&self, config: &Config, worker: u64, workers: u64) -> (Region, u64) {
        let block_size = u64::from(config.block_size_bytes);
        let part = |length: u64| {
            let blocks = length.div_ceil(block_size);
            let edge = |worker: u64| {
                let edge = u128::from(blocks) * u128::from(worker) / u128::from(workers);
                (edge as u64).saturating_mul(block_size).min(length)
            };
            (edge(worker), edge(worker + 1) - edge(worker))
        };
        let (start, length) = part(self.region.length);
        let total = self.total.map_or(u64::MAX, |total| part(total).1);
        (Region { offset: self.region.offset + start, length }, total)
    }
}

fn append_offset(config: &Config, found: &Found) -> u64 {
    match (&config.mode, found) {
        (Mode::Write(write), Found::File { size }) if write.existing == Existing::Append => *size,
        _ => 0,
    }
}
