//! The command line: what was typed.

mod probe;
mod serve;
mod wait;

use clap::{Parser, Subcommand};
use meter::{
    Result,
    cli::CommonArgs,
    session::{Session, Tool},
    tool::Program,
};

use crate::{client, server};

/// Network probe: goodput as received, and the latency of transactions.
#[derive(Parser, Debug)]
#[command(name = "netprobe", version, about, long_about = None)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Listen for clients until stopped
    Serve(serve::ServeArgs),
    /// Send, receive, or both, as fast as TCP goes
    Stream(probe::StreamArgs),
    /// Request and response over connections that stay open, TCP or UDP
    Rr(probe::RrArgs),
    /// Connect, request, response and close, for every transaction anew
    Crr(probe::CrrArgs),
}

impl Program for Args {
    const TOOL: Tool = Tool { name: "netprobe", version: env!("CARGO_PKG_VERSION") };

    fn common(&self) -> &CommonArgs {
        &self.common
    }

    fn run(self, session: &mut Session<'_>) -> Result<()> {
        let probe = match &self.command {
            Command::Serve(args) => return server::serve(&args.resolve(&self.common)?, session),
            Command::Stream(args) => args.resolve(&self.common)?,
            Command::Rr(args) => args.resolve(&self.common)?,
            Command::Crr(args) => args.resolve(&self.common)?,
        };
        client::probe(&probe, session)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        Args::command().debug_assert();
    }
}
