//! What was typed.

use clap::Parser;
use meter::{
    Error, Result,
    cli::CommonArgs,
    cpulist::CpuList,
    session::{Session, Tool},
    tool::Program,
    units::Nanoseconds,
};

use crate::{Config, Duty, Load, kernel::Kernel};

/// Bounded by default, as every tool of this family: no load outlives its purpose.
const DEFAULT_DURATION_NS: u64 = 10_000_000_000;

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
    pub kernel: Kernel,

    /// Length of the period
    #[arg(long, value_name = "TIME", default_value = "100ms")]
    pub period: Nanoseconds,

    /// The flags that every tool has.
    #[command(flatten)]
    pub common: CommonArgs,
}

impl Args {
    /// What the arguments mean on this machine.
    ///
    /// # Errors
    /// Arguments that contradict each other (exit code 2) or CPUs that can't be used (3).
    pub fn resolve(&self) -> Result<Config> {
        if self.period.0 < 1_000 {
            return Err(Error::bad_arguments("--period must be 1us or longer"));
        }
        let cpus = match &self.common.cpus {
            Some(cpus) => {
                cpus.check_allowed()?;
                cpus.clone()
            }
            None => CpuList::allowed()?,
        };
        Ok(Config {
            cpus,
            sched: self.common.sched,
            kernel: self.kernel,
            load: Load::Cycle { duty_percent: self.duty, period_ns: self.period.0 },
            duration_ns: self.common.duration_ns(DEFAULT_DURATION_NS)?,
            warmup_ns: self.common.warmup_ns(),
            interval_ns: self.common.interval_ns()?,
        })
    }
}

impl Program for Args {
    const TOOL: Tool = Tool { name: "cpuload", version: env!("CARGO_PKG_VERSION") };

    fn common(&self) -> &CommonArgs {
        &self.common
    }

    fn run(self, session: &mut Session<'_>) -> Result<()> {
        if self.common.hlog.is_some() {
            return Err(Error::bad_arguments("--hlog: cpuload measures no latencies; leave it out"));
        }
        crate::run(&self.resolve()?, session)
    }
}
