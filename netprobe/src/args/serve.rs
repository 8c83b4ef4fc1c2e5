//! Flags of the server.

use std::{net::SocketAddr, path::PathBuf};

use meter::{
    Error, Result, address,
    cli::CommonArgs,
    units::{Bytes, Nanoseconds},
};

use crate::{
    config::{Access, ServeConfig},
    limits::Limits,
};

#[derive(clap::Args, Debug)]
pub(super) struct ServeArgs {
    /// Address to listen on, such as `10.0.0.2:12865` or `[fe80::2%eth0]:12865`; other than loopback needs --token-file or --no-token
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:12865")]
    listen: String,
    /// Let in whoever knows the token in this file; it never crosses the wire
    #[arg(long, value_name = "FILE", conflicts_with = "no_token")]
    token_file: Option<PathBuf>,
    /// For closed test networks: let in every loopback, private and link-local address
    #[arg(long)]
    no_token: bool,
    /// Sessions at a time [default: 16]
    #[arg(long, value_name = "N")]
    max_sessions: Option<u32>,
    /// Connections that have not said what they want, at a time; beyond it the oldest goes [default: 512]
    #[arg(long, value_name = "N")]
    max_pending: Option<u32>,
    /// Flows of a session [default: 128]
    #[arg(long, value_name = "N")]
    max_flows: Option<u32>,
    /// Longest measurement, warm-up included [default: 1h]
    #[arg(long, value_name = "TIME")]
    max_duration: Option<Nanoseconds>,
    /// How long a client may keep its session waiting, or measure without payload [default: 30s]
    #[arg(long, value_name = "TIME")]
    max_idle: Option<Nanoseconds>,
    /// How long a connection may take to say what it wants [default: 5s]
    #[arg(long, value_name = "TIME")]
    max_hello: Option<Nanoseconds>,
    /// Largest write, read, request, response or socket buffer [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    max_buffer: Option<Bytes>,
    /// Let clients limit this machine's idle states while they measure (their --cpu-dma-latency)
    #[arg(long)]
    allow_cpu_dma_latency: bool,
    /// Threads of a session that may spin (the client's --wait spin or adaptive) [default: 0, but any number for clients on
    /// loopback]
    #[arg(long, value_name = "N")]
    max_spin_threads: Option<u32>,
}

impl ServeArgs {
    pub(super) fn resolve(&self, common: &CommonArgs) -> Result<ServeConfig> {
        let placements = common.placements()?;
        let listen = address::resolve(&self.listen)?;
        Ok(ServeConfig {
            listen,
            access: self.access(listen)?,
            limits: self.limits()?,
            duration_ns: common.duration.map(|_| common.duration_ns(0)).transpose()?,
            cpus: placements.iter().filter_map(|placement| placement.cpu).collect(),
            placements,
        })
    }

    fn access(&self, listen: SocketAddr) -> Result<Access> {
        match &self.token_file {
            Some(file) => Ok(Access::Token { file: file.clone() }),
            None if self.no_token => Ok(Access::ClosedNetwork),
            None if listen.ip().to_canonical().is_loopback() => Ok(Access::Loopback),
            None => Err(Error::bad_arguments(format!(
                "listening on {listen} lets others in: give --token-file FILE, or --no-token in a closed test network"
            ))),
        }
    }

    fn limits(&self) -> Result<Limits> {
        let default = Limits::default();
        let numbers = [self.max_sessions, self.max_pending, self.max_flows];
        let times = [self.max_duration, self.max_idle, self.max_hello];
        if numbers.contains(&Some(0))
            || times.contains(&Some(Nanoseconds(0)))
            || self.max_buffer == Some(Bytes(0))
        {
            return Err(Error::bad_arguments("a limit of 0 would let nobody in"));
        }
        Ok(Limits {
            sessions: self.max_sessions.unwrap_or(default.sessions),
            pending_connections: self.max_pending.unwrap_or(default.pending_connections),
            flows: self.max_flows.unwrap_or(default.flows),
            duration_ns: self.max_duration.map_or(default.duration_ns, |time| time.0),
            idle_ns: self.max_idle.map_or(default.idle_ns, |time| time.0),
            hello_ns: self.max_hello.map_or(default.hello_ns, |time| time.0),
            buffer_bytes: self.max_buffer.map_or(default.buffer_bytes, |size| size.0),
            cpu_dma_latency: self.allow_cpu_dma_latency,
            spin_threads: self.max_spin_threads,
        })
    }
}
