//! The command line: what was typed.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand, ValueEnum};
use meter::{
    Error, Result,
    cli::CommonArgs,
    clock::SECOND_NS,
    session::{Session, Tool},
    tool::Program,
    units::{Bytes, Nanoseconds},
};

use crate::{
    client,
    config::{Access, ProbeConfig, ServeConfig},
    protocol::message::{Direction, Order, Workload},
    server::{self, limits::Limits},
};

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
    Serve(ServeArgs),
    /// Send, receive, or both, as fast as TCP goes
    Stream(StreamArgs),
    /// Request and response over TCP
    Rr(RrArgs),
}

#[derive(clap::Args, Debug)]
struct ServeArgs {
    /// Address to listen on; other than loopback needs --token-file or --no-token
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:12865")]
    listen: SocketAddr,
    /// Let in whoever knows the token in this file; it never crosses the wire
    #[arg(long, value_name = "FILE", conflicts_with = "no_token")]
    token_file: Option<PathBuf>,
    /// For closed test networks: let in every loopback, private and link-local address
    #[arg(long)]
    no_token: bool,
    /// Sessions at a time
    #[arg(long, value_name = "N", default_value_t = 16)]
    max_sessions: u32,
    /// Connections that have not said what they want, at a time
    #[arg(long, value_name = "N", default_value_t = 512)]
    max_pending: u32,
    /// Flows of a session
    #[arg(long, value_name = "N", default_value_t = 128)]
    max_flows: u32,
    /// Longest session
    #[arg(long, value_name = "TIME", default_value = "1h")]
    max_duration: Nanoseconds,
    /// How long a client may keep its session waiting
    #[arg(long, value_name = "TIME", default_value = "30s")]
    max_idle: Nanoseconds,
    /// Largest write, read, request or response
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    max_buffer: Bytes,
}

/// What every measurement has.
#[derive(clap::Args, Debug)]
struct ProbeArgs {
    /// The server
    #[arg(value_name = "HOST:PORT")]
    server: String,
    /// The token that the server needs
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Flows (TCP connections); with `both` that many each way
    #[arg(long, value_name = "N", default_value_t = 1)]
    flows: u32,
    /// CPUs for the server's threads [default: as the server was started]
    #[arg(long, value_name = "LIST")]
    peer_cpus: Option<meter::cpulist::CpuList>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DirectionArg {
    Send,
    Receive,
    Both,
}

#[derive(clap::Args, Debug)]
struct StreamArgs {
    #[command(flatten)]
    probe: ProbeArgs,
    /// Which way payload goes, seen from here
    #[arg(long, value_enum, default_value = "send")]
    direction: DirectionArg,
    /// Bytes handed to the kernel per system call
    #[arg(long, value_name = "SIZE", default_value = "256KiB")]
    write_size: Bytes,
    /// Bytes asked of the kernel per system call
    #[arg(long, value_name = "SIZE", default_value = "256KiB")]
    read_size: Bytes,
}

#[derive(clap::Args, Debug)]
struct RrArgs {
    #[command(flatten)]
    probe: ProbeArgs,
    /// Bytes of a request
    #[arg(long, value_name = "SIZE", default_value = "1")]
    request_size: Bytes,
    /// Bytes of a response
    #[arg(long, value_name = "SIZE", default_value = "1")]
    response_size: Bytes,
}

impl Program for Args {
    const TOOL: Tool = Tool { name: "netprobe", version: env!("CARGO_PKG_VERSION") };

    fn common(&self) -> &CommonArgs {
        &self.common
    }

    fn run(self, session: &mut Session<'_>) -> Result<()> {
        match &self.command {
            Command::Serve(args) => server::serve(&args.resolve(&self.common)?, session),
            Command::Stream(args) => client::probe(&args.resolve(&self.common)?, session),
            Command::Rr(args) => client::probe(&args.resolve(&self.common)?, session),
        }
    }
}

impl ServeArgs {
    fn resolve(&self, common: &CommonArgs) -> Result<ServeConfig> {
        let access = match &self.token_file {
            Some(file) => Access::Token { file: file.clone() },
            None if self.no_token => Access::ClosedNetwork,
            None if self.listen.ip().to_canonical().is_loopback() => Access::Loopback,
            None => {
                let told = format!("listening on {} lets others in", self.listen);
                return Err(Error::bad_arguments(format!(
                    "{told}: give --token-file FILE, or --no-token in a closed test network"
                )));
            }
        };
        let placements = common.placements()?;
        Ok(ServeConfig {
            listen: self.listen,
            access,
            limits: Limits {
                sessions: self.max_sessions,
                pending_connections: self.max_pending,
                flows: self.max_flows,
                duration_ns: self.max_duration.0,
                idle_ns: self.max_idle.0,
                hello_ns: 5 * SECOND_NS,
                buffer_bytes: self.max_buffer.0,
            },
            duration_ns: common.duration.map(|_| common.duration_ns(0)).transpose()?,
            cpus: placements.iter().filter_map(|placement| placement.cpu).collect(),
            placements,
        })
    }
}

/// Default length of a measurement, in nanoseconds.
const DURATION_NS: u64 = 10 * SECOND_NS;

impl ProbeArgs {
    fn resolve(&self, workload: Workload, common: &CommonArgs) -> Result<ProbeConfig> {
        if self.flows == 0 {
            return Err(Error::bad_arguments("--flows must be at least 1"));
        }
        let placements = common.placements()?;
        Ok(ProbeConfig {
            server: self.server.clone(),
            token_file: self.token_file.clone(),
            order: Order {
                workload,
                flows: self.flows,
                warmup_ns: common.warmup_ns(),
                duration_ns: common.duration_ns(DURATION_NS)?,
                interval_ns: common.interval_ns()?,
                peer_cpus: self.peer_cpus.as_ref().map(|list| list.cpus().to_vec()),
            },
            cpus: placements.iter().filter_map(|placement| placement.cpu).collect(),
            placements,
            hlog: common.hlog.clone(),
        })
    }
}

/// A size in bytes that is not zero.
fn size(bytes: Bytes, flag: &str) -> Result<u64> {
    if bytes.0 == 0 {
        Err(Error::bad_arguments(format!("{flag} must be at least 1 byte")))
    } else {
        Ok(bytes.0)
    }
}

impl StreamArgs {
    fn resolve(&self, common: &CommonArgs) -> Result<ProbeConfig> {
        let workload = Workload::Stream {
            direction: match self.direction {
                DirectionArg::Send => Direction::Send,
                DirectionArg::Receive => Direction::Receive,
                DirectionArg::Both => Direction::Both,
            },
            write_bytes: size(self.write_size, "--write-size")?,
            read_bytes: size(self.read_size, "--read-size")?,
        };
        self.probe.resolve(workload, common)
    }
}

impl RrArgs {
    fn resolve(&self, common: &CommonArgs) -> Result<ProbeConfig> {
        let workload = Workload::Transactions {
            request_bytes: size(self.request_size, "--request-size")?,
            response_bytes: size(self.response_size, "--response-size")?,
        };
        self.probe.resolve(workload, common)
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
