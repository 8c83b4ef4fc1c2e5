//! What was typed.

use clap::{Parser, Subcommand};
use meter::{
    Error, Result,
    cli::CommonArgs,
    session::{Session, Tool},
    tool::Program,
};

use crate::{cost, watch};

const DEFAULT_INTERVAL_NS: u64 = 1_000_000_000;
const DEFAULT_COUNT: u64 = 10;

/// Count interrupts: who raised them, where, how many
///
/// Without a command: differences per source and CPU, interval by interval.
#[derive(Parser, Debug)]
#[command(name = "irqwatch", version, args_conflicts_with_subcommands = false)]
pub struct Args {
    /// How many intervals to watch [default: 10, or as many as fit into --duration]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// What else to do.
    #[command(subcommand)]
    pub command: Option<Command>,

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
}

impl Program for Args {
    const TOOL: Tool = Tool { name: "irqwatch", version: env!("CARGO_PKG_VERSION") };

    fn common(&self) -> &CommonArgs {
        &self.common
    }

    fn run(self, session: &mut Session<'_>) -> Result<()> {
        match &self.command {
            Some(Command::Run { command }) => cost::run(&cost::Config { command: command.clone() }, session),
            None => watch::run(&self.watch()?, session),
        }
    }
}

impl Args {
    /// What the arguments of a watch mean.
    fn watch(&self) -> Result<watch::Config> {
        let interval_ns = self.common.interval_ns()?.unwrap_or(DEFAULT_INTERVAL_NS);
        let count = match (self.count, self.common.duration) {
            (Some(_), Some(_)) => {
                return Err(Error::bad_arguments("--count and --duration exclude each other"));
            }
            (Some(count), None) => count,
            (None, Some(_)) => (self.common.duration_ns(0)? / interval_ns).max(1),
            (None, None) => DEFAULT_COUNT,
        };
        Ok(watch::Config { interval_ns, count })
    }
}
