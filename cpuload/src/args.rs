//! What was typed.

use std::{fs, path::PathBuf, str::FromStr};

use clap::{Parser, ValueEnum};
use meter::{
    Error, Result,
    cli::CommonArgs,
    cpulist::CpuList,
    placement::Policy,
    session::{Session, Tool},
    tool::Program,
    units::{Bytes, Nanoseconds},
};

use crate::{
    Config, Duty, Load, Places,
    kernel::Kernel,
    scheduling::{Deadline, Scheduling},
};

/// Bounded by default, as every tool of this family: no load outlives its purpose.
const DEFAULT_DURATION_NS: u64 = 10_000_000_000;
/// The bound of a number of operations that takes as long as it takes.
const WORK_DURATION_NS: u64 = 3_600_000_000_000;
/// What `memory` and `cache` use where the size of the last-level cache is hidden.
const LARGE_SET_BYTES: u64 = 64 << 20;
/// More is never needed to be out of every cache.
const LARGEST_SET_BYTES: u64 = 512 << 20;

/// Load CPUs to an exact share of their time
///
/// One worker pinned to each CPU of --cpus (default: every CPU allowed here) is busy for its share of
/// every period and asleep for the rest.
#[derive(Parser, Debug)]
#[command(name = "cpuload", version)]
pub struct Args {
    /// Busy share of every period in percent, with up to four decimals
    #[arg(long, value_name = "PERCENT", default_value_t = Duty::FULL)]
    pub duty: Duty,

    /// What to do while busy
    #[arg(long, value_enum, default_value = "sqrt")]
    pub kernel: KernelName,

    /// Length of the period
    #[arg(long, value_name = "TIME", default_value = "100ms")]
    pub period: Nanoseconds,

    /// Begin the periods at multiples of --period in wall-clock time, later by this share of it or time, such as `0%`, `50%` or `30ms`: loads of several domains run in step, or exactly opposed
    #[arg(long, value_name = "SHARE|TIME")]
    pub phase: Option<Phase>,

    /// Busy and idle times of random length, with the means that --duty and --period give
    #[arg(long, conflicts_with_all = ["phase", "hold"])]
    pub random: bool,

    /// Seed of --random
    #[arg(long, value_name = "N", default_value_t = 1, requires = "random")]
    pub seed: u64,

    /// Hold each CPU at this total load in percent, that of others included, instead of --duty
    #[arg(long, value_name = "PERCENT", conflicts_with_all = ["duty", "phase", "workers"])]
    pub hold: Option<Duty>,

    /// End each worker after N operations [--duration is then the longest, 1 hour by default]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub operations: Option<u64>,

    /// Workers that the scheduler places, instead of one pinned to each CPU
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), conflicts_with = "cpus")]
    pub workers: Option<u16>,

    /// Nice value of the workers, -20 to 19
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-20..=19))]
    pub nice: Option<i32>,

    /// Schedule the workers by SCHED_DEADLINE, which can't be pinned: needs --workers
    #[arg(long, value_name = "RUNTIME/PERIOD", conflicts_with = "nice")]
    pub deadline: Option<Deadline>,

    /// Memory of each worker, or size of the file, for the kernels memory, cache, alloc, disk
    #[arg(long, value_name = "SIZE")]
    pub working_set: Option<Bytes>,

    /// Folder for the file of the kernel disk
    #[arg(long, value_name = "DIR")]
    pub path: Option<PathBuf>,

    /// Exit with 4 when the achieved duty (with --hold the total load) is further than this from the demanded, in percentage points
    #[arg(long, value_name = "POINTS", value_parser = points)]
    pub require: Option<f64>,

    /// The flags that every tool has.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// A kernel's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KernelName {
    /// Square roots of pseudo-random integers: what `stress -c` does
    Sqrt,
    /// Integer arithmetic
    Int,
    /// Floating-point arithmetic
    Float,
    /// Products of small matrices
    Matrix,
    /// Copies through the memory bus
    Memory,
    /// Thrashes the last-level cache
    Cache,
    /// Jumps that can't be foreseen
    Branch,
    /// The cheapest system call
    Syscall,
    /// Context switches
    Switch,
    /// sync(2): what `stress -i` does, to all disks of the machine
    Sync,
    /// Allocates, touches and frees memory: what `stress -m` does
    Alloc,
    /// Writes and removes a file: what `stress -d` does
    Disk,
}

/// Where in wall-clock time a period begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A share of the period.
    Share(Duty),
    /// A time.
    Time(Nanoseconds),
}

impl FromStr for Phase {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.strip_suffix('%').map(str::trim) {
            Some("0") => Ok(Self::Time(Nanoseconds(0))),
            Some(share) => share.parse().map(Self::Share),
            None => text.parse().map(Self::Time),
        }
    }
}

fn points(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(points) if points.is_finite() && points > 0.0 => Ok(points),
        _ => Err(format!("`{text}` is not a number of percentage points above 0")),
    }
}

impl Args {
    /// What the arguments mean on this machine.
    ///
    /// # Errors
    /// Arguments that contradict each other (exit code 2), CPUs or memory that can't be had (3).
    pub fn resolve(&self) -> Result<Config> {
        if self.period.0 < 1_000 {
            return Err(Error::bad_arguments("--period must be 1us or longer"));
        }
        if self.common.hlog.is_some() {
            return Err(Error::bad_arguments("--hlog: cpuload measures no latencies; leave it out"));
        }
        let longest_ns = if self.operations.is_some() { WORK_DURATION_NS } else { DEFAULT_DURATION_NS };
        let config = Config {
            places: self.places()?,
            sched: self.scheduling()?,
            kernel: self.kernel()?,
            load: self.load()?,
            operations: self.operations,
            duration_ns: self.common.duration_ns(longest_ns)?,
            warmup_ns: self.common.warmup_ns(),
            interval_ns: self.common.interval_ns()?,
            required_points: self.require,
        };
        check_memory(&config)?;
        Ok(config)
    }

    fn places(&self) -> Result<Places> {
        if let Some(workers) = self.workers {
            return Ok(Places::Free { workers: workers.into() });
        }
        let cpus = match &self.common.cpus {
            Some(cpus) => {
                cpus.check_allowed()?;
                cpus.clone()
            }
            None => CpuList::allowed()?,
        };
        Ok(Places::Pinned { cpus })
    }

    fn scheduling(&self) -> Result<Scheduling> {
        // clap waives `requires` for an argument that --cpus excludes.
        if self.deadline.is_some() && self.workers.is_none() {
            return Err(Error::bad_arguments(
                "--deadline: the kernel pins no such thread; pass --workers N instead of --cpus",
            ));
        }
        match (self.nice, self.deadline, self.common.sched) {
            (None, None, policy) => Ok(Scheduling::Policy(policy)),
            (Some(nice), None, Policy::Other) => Ok(Scheduling::Nice(nice)),
            (None, Some(_), Policy::Other) if self.kernel == KernelName::Switch => {
                Err(Error::bad_arguments("--deadline: a thread with a deadline can't have a second one"))
            }
            (None, Some(deadline), Policy::Other) => Ok(Scheduling::Deadline(deadline)),
            _ => Err(Error::bad_arguments("--sched, --nice and --deadline exclude each other")),
        }
    }

    fn load(&self) -> Result<Load> {
        let (duty_percent, period_ns) = (self.duty, self.period.0);
        if let Some(total_percent) = self.hold {
            return Ok(Load::Hold { total_percent, period_ns });
        }
        if self.random {
            if duty_percent.is_full() {
                return Err(Error::bad_arguments("--random needs a --duty below 100"));
            }
            return Ok(Load::Random { duty_percent, period_ns, seed: self.seed });
        }
        let phase_ns = match self.phase {
            None => None,
            Some(Phase::Share(share)) => Some(share.of_ns(period_ns) % period_ns),
            Some(Phase::Time(time)) if time.0 < period_ns => Some(time.0),
            Some(Phase::Time(_)) => {
                return Err(Error::bad_arguments("--phase must be shorter than --period"));
            }
        };
        Ok(Load::Cycle { duty_percent, period_ns, phase_ns })
    }

    fn kernel(&self) -> Result<Kernel> {
        let has_set = matches!(
            self.kernel,
            KernelName::Memory | KernelName::Cache | KernelName::Alloc | KernelName::Disk
        );
        if self.working_set.is_some() && !has_set {
            return Err(Error::bad_arguments(
                "--working-set is for the kernels memory, cache, alloc and disk",
            ));
        }
        if self.path.is_some() && self.kernel != KernelName::Disk {
            return Err(Error::bad_arguments("--path is for the kernel disk"));
        }
        let set = |default: u64| match self.working_set {
            Some(Bytes(bytes)) if bytes < 8192 => {
                Err(Error::bad_arguments("--working-set must be 8KiB or more"))
            }
            Some(Bytes(bytes)) => Ok(bytes),
            None => Ok(default),
        };
        let beyond_caches = || {
            let four_times =
                last_level_cache_bytes().map_or(LARGE_SET_BYTES, |bytes| bytes.saturating_mul(4));
            four_times.clamp(LARGE_SET_BYTES, LARGEST_SET_BYTES)
        };
        Ok(match self.kernel {
            KernelName::Sqrt => Kernel::Sqrt,
            KernelName::Int => Kernel::Int,
            KernelName::Float => Kernel::Float,
            KernelName::Matrix => Kernel::Matrix,
            KernelName::Memory => Kernel::Memory { working_set_bytes: set(beyond_caches())? },
            KernelName::Cache => Kernel::Cache { working_set_bytes: set(beyond_caches())? },
            KernelName::Branch => Kernel::Branch,
            KernelName::Syscall => Kernel::Syscall,
            KernelName::Switch => Kernel::Switch,
            KernelName::Sync => Kernel::Sync,
            KernelName::Alloc => Kernel::Alloc { working_set_bytes: set(256 << 20)? },
            KernelName::Disk => Kernel::Disk {
                folder: self.path.clone().unwrap_or_else(|| PathBuf::from(".")),
                working_set_bytes: set(1 << 30)?,
            },
        })
    }
}

/// Refuses working sets that would drive the machine out of memory, before anything is touched.
fn check_memory(config: &Config) -> Result<()> {
    let workers = config.placements().len() as u64;
    let needed = config.kernel.resident_bytes().saturating_mul(workers);
    let available = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    });
    match available {
        Some(available) if needed > available => Err(Error::unavailable(format!(
            "{workers} workers need {}, but only {} of memory are available; pass a smaller --working-set",
            Bytes(needed),
            Bytes(available)
        ))),
        _ => Ok(()),
    }
}

/// Size of the largest cache of CPU 0, from sysfs; `None` where it is hidden.
fn last_level_cache_bytes() -> Option<u64> {
    let size = |index: u32| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size");
        let text = fs::read_to_string(path).ok()?;
        text.trim().strip_suffix('K')?.parse::<u64>().ok()?.checked_mul(1024)
    };
    (0..8).filter_map(size).max()
}

impl Program for Args {
    const TOOL: Tool = Tool { name: "cpuload", version: env!("CARGO_PKG_VERSION") };

    fn common(&self) -> &CommonArgs {
        &self.common
    }

    fn run(self, session: &mut Session<'_>) -> Result<()> {
        crate::run(&self.resolve()?, session)
    }
}
