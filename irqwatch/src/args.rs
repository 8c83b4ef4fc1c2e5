//! What was typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use meter::{
    Error, Result,
    cli::CommonArgs,
    cpulist::CpuList,
    idle,
    placement::Policy,
    session::{Session, Tool},
    tool::Program,
    units::{Bytes, Nanoseconds},
};

use crate::{
    affinity, cost,
    filter::{FilterArgs, Order},
    gaps, handlers, host, wakeup, watch,
};

const DEFAULT_INTERVAL_NS: u64 = 1_000_000_000;
const DEFAULT_COUNT: u64 = 10;
/// A live view that is left alone ends by itself too.
const LIVE_NS: u64 = 3_600_000_000_000;
const DEFAULT_DURATION_NS: u64 = 10_000_000_000;

/// Count interrupts: who raised them, where, how many, at what cost
///
/// Without a command: differences per source and CPU, interval by interval.
#[derive(Parser, Debug)]
#[command(name = "irqwatch", version)]
pub struct Args {
    /// How many intervals to watch [default: 10, or as many as fit into --duration]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// Redraw the terminal instead of adding text, until Ctrl-C or one hour
    #[arg(long, conflicts_with = "json")]
    pub live: bool,

    /// What else to do.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Which sources.
    #[command(flatten)]
    pub filter: FilterArgs,

    /// The flags that every tool has.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// What `irqwatch` can do besides watching.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a command and tell what it cost in interrupts
    ///
    /// The exit code is that of the measurement: 0 whenever the command ran to its end and was measured. The
    /// command's own exit code is in the summary.
    Run {
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Measure how late threads wake from timers
    Wakeup {
        /// Distance of the wake-ups
        #[arg(long, value_name = "TIME", default_value = "1ms")]
        period: Nanoseconds,
        /// SCHED_FIFO priority of the threads; 0 for SCHED_OTHER
        #[arg(long, value_name = "N", default_value_t = 80, value_parser = clap::value_parser!(u8).range(0..=99))]
        priority: u8,
        /// Longest wake-up from idle states that is allowed, in microseconds, or `off` [default: 0 where possible]
        #[arg(long, value_name = "US", value_parser = dma_latency)]
        dma_latency: Option<DmaLatency>,
        /// Leave memory unlocked
        #[arg(long)]
        no_lock_memory: bool,
    },
    /// Find every interruption of a busy loop
    Gaps {
        /// Shortest interruption that counts
        #[arg(long, value_name = "TIME", default_value = "1us")]
        threshold: Nanoseconds,
    },
    /// Measure how long handlers ran, by tracepoints (root)
    Handlers {
        /// Where tracefs is mounted
        #[arg(long, value_name = "DIR", default_value = "/sys/kernel/tracing")]
        tracefs: PathBuf,
        /// Size of the trace buffer of each CPU
        #[arg(long, value_name = "SIZE", default_value = "1MiB")]
        buffer: Bytes,
    },
    /// Show which CPUs serve interrupts, or change it for the length of a command
    Affinity {
        /// The CPUs that shall serve the chosen interrupts while the command runs
        #[arg(long, value_name = "LIST", requires = "command")]
        to: Option<CpuList>,
        /// The command and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND", requires = "to")]
        command: Vec<String>,
    },
    /// Show what a host knows of its guests: KVM's counters, times of Xen's virtual CPUs
    Host {
        /// Folder of KVM's counters
        #[arg(long, value_name = "DIR", default_value = "/sys/kernel/debug/kvm")]
        kvm: PathBuf,
    },
    /// Puts affinities back when its input ends
    #[command(hide = true, name = affinity::GUARD)]
    Guard,
}

/// A limit of idle states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DmaLatency {
    /// Left alone.
    Off,
    /// So many microseconds at most.
    Limit(u32),
}

fn dma_latency(text: &str) -> std::result::Result<DmaLatency, String> {
    match text.parse() {
        _ if text == "off" => Ok(DmaLatency::Off),
        Ok(limit) if limit <= idle::LONGEST_US => Ok(DmaLatency::Limit(limit)),
        _ => Err(format!("`{text}` is neither a number of microseconds nor `off`")),
    }
}

impl Program for Args {
    const TOOL: Tool = Tool { name: "irqwatch", version: env!("CARGO_PKG_VERSION") };

    fn common(&self) -> &CommonArgs {
        &self.common
    }

    fn run(self, session: &mut Session<'_>) -> Result<()> {
        self.refuse_what_has_no_meaning()?;
        match &self.command {
            None => watch::run(&self.watch()?, session),
            Some(Command::Run { command }) => {
                cost::run(&cost::Config { command: command.clone(), filter: self.filter.resolve()? }, session)
            }
            Some(Command::Wakeup { period, priority, dma_latency, no_lock_memory }) => {
                let config = self.wakeup(*period, *priority, *dma_latency, !no_lock_memory)?;
                wakeup::run(&config, session)
            }
            Some(Command::Gaps { threshold }) => gaps::run(&self.gaps(*threshold)?, session),
            Some(Command::Handlers { tracefs, buffer }) => {
                if !(4096..=1 << 30).contains(&buffer.0) {
                    return Err(Error::bad_arguments("--buffer must be from 4KiB to 1GiB"));
                }
                let config = handlers::Config {
                    tracefs: tracefs.clone(),
                    buffer_bytes: buffer.0,
                    duration_ns: self.duration_ns()?,
                    filter: self.filter.resolve()?,
                };
                handlers::run(&config, session)
            }
            Some(Command::Affinity { to, command }) => {
                let change = to.clone().map(|to| affinity::Change { to, command: command.clone() });
                affinity::run(&affinity::Config { filter: self.filter.resolve()?, change }, session)
            }
            Some(Command::Host { kvm }) => {
                let duration_ns = self.common.duration_ns(DEFAULT_INTERVAL_NS)?;
                host::run(&host::Config { kvm: kvm.clone(), duration_ns }, session)
            }
            Some(Command::Guard) => affinity::guard(),
        }
    }
}

/// Flags that choose and order what is listed.
const CHOICE: [&str; 5] = ["--matching", "--class", "--min-rate", "--sort", "--top"];

impl Args {
    /// A flag that the chosen part would not heed is a mistake, and its result another than was asked for.
    fn refuse_what_has_no_meaning(&self) -> Result<()> {
        let (part, heeds): (&str, Vec<&str>) = match &self.command {
            None => ("irqwatch", [&CHOICE[..], &["--interval", "--duration", "--count", "--live"]].concat()),
            Some(Command::Run { .. }) => ("irqwatch run", CHOICE.to_vec()),
            Some(Command::Wakeup { .. }) => {
                ("irqwatch wakeup", vec!["--cpus", "--sched", "--interval", "--duration", "--hlog"])
            }
            Some(Command::Gaps { .. }) => {
                ("irqwatch gaps", vec!["--cpus", "--sched", "--interval", "--duration"])
            }
            Some(Command::Handlers { .. }) => ("irqwatch handlers", [&CHOICE[..], &["--duration"]].concat()),
            Some(Command::Affinity { .. }) => ("irqwatch affinity", vec!["--matching", "--class"]),
            Some(Command::Host { .. }) => ("irqwatch host", vec!["--duration"]),
            Some(Command::Guard) => return Ok(()),
        };
        let (common, filter) = (&self.common, &self.filter);
        let typed = [
            ("--cpus", common.cpus.is_some()),
            ("--sched", common.sched != Policy::Other),
            ("--warmup", common.warmup.is_some()),
            ("--interval", common.interval.is_some()),
            ("--duration", common.duration.is_some()),
            ("--hlog", common.hlog.is_some()),
            ("--count", self.count.is_some()),
            ("--live", self.live),
            ("--matching", filter.matching.is_some()),
            ("--class", !filter.class.is_empty()),
            ("--min-rate", filter.min_rate.is_some()),
            ("--sort", filter.sort != Order::Count),
            ("--top", filter.top.is_some()),
        ];
        match typed.iter().find(|(flag, typed)| *typed && !heeds.contains(flag)) {
            Some((flag, _)) => {
                Err(Error::bad_arguments(format!("{flag} has no meaning for `{part}`; leave it out")))
            }
            None => Ok(()),
        }
    }

    fn duration_ns(&self) -> Result<u64> {
        self.common.duration_ns(DEFAULT_DURATION_NS)
    }

    fn watch(&self) -> Result<watch::Config> {
        let (interval_ns, longest_ns) = (self.common.interval_ns()?, self.common.duration_ns(u64::MAX)?);
        if interval_ns.is_some_and(|interval_ns| interval_ns > longest_ns) {
            return Err(Error::bad_arguments("--interval must not be longer than --duration"));
        }
        let interval_ns = interval_ns.unwrap_or(DEFAULT_INTERVAL_NS.min(longest_ns));
        let counted_ns = |count: u64| interval_ns.saturating_mul(count);
        let duration_ns = match (self.count, self.common.duration) {
            (Some(_), Some(_)) => {
                return Err(Error::bad_arguments("--count and --duration exclude each other"));
            }
            (Some(count), None) => counted_ns(count),
            (None, Some(_)) => longest_ns,
            (None, None) if self.live => counted_ns((LIVE_NS / interval_ns).max(1)),
            (None, None) => counted_ns(DEFAULT_COUNT),
        };
        let (count, filter) = (duration_ns.div_ceil(interval_ns), self.filter.resolve()?);
        Ok(watch::Config { interval_ns, count, duration_ns, filter, live: self.live })
    }

    /// The CPUs of the threads: those that were listed, or all that are allowed.
    fn cpus(&self) -> Result<CpuList> {
        match &self.common.cpus {
            Some(cpus) => cpus.check_allowed().map(|()| cpus.clone()),
            None => CpuList::allowed(),
        }
    }

    fn wakeup(
        &self,
        period: Nanoseconds,
        priority: u8,
        dma_latency: Option<DmaLatency>,
        lock_memory: bool,
    ) -> Result<wakeup::Config> {
        if period.0 < 10_000 {
            return Err(Error::bad_arguments("--period must be 10us or longer"));
        }
        let sched = match (self.common.sched, priority) {
            (Policy::Other, 0) => Policy::Other,
            (Policy::Other, priority) => Policy::Fifo(priority),
            (sched, _) => sched,
        };
        Ok(wakeup::Config {
            cpus: self.cpus()?,
            sched,
            period_ns: period.0,
            dma_latency_us: match dma_latency {
                None => Some(0),
                Some(DmaLatency::Off) => None,
                Some(DmaLatency::Limit(limit)) => Some(limit),
            },
            dma_latency_required: dma_latency.is_some(),
            lock_memory,
            duration_ns: self.duration_ns()?,
            interval_ns: self.common.interval_ns()?,
            hlog: self.common.hlog.clone(),
        })
    }

    fn gaps(&self, threshold: Nanoseconds) -> Result<gaps::Config> {
        if threshold.0 < 100 {
            return Err(Error::bad_arguments("--threshold must be 100ns or longer"));
        }
        Ok(gaps::Config {
            cpus: self.cpus()?,
            sched: self.common.sched,
            threshold_ns: threshold.0,
            duration_ns: self.duration_ns()?,
            interval_ns: self.common.interval_ns()?,
        })
    }
}
