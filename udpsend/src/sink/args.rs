//! Flags of the sink, and the sockets that they ask for.

use meter::{
    Error, Result,
    cli::CommonArgs,
    clock::SECOND_NS,
    units::{Bytes, Nanoseconds},
};

use crate::sink::{
    config::SinkConfig,
    open::{Listen, OpenSink, Opened, SocketRequest},
};

/// Port of the sink where none is named.
pub const DEFAULT_PORT: u16 = 5010;

/// Flags of the sink.
#[derive(clap::Args, Debug)]
pub struct SinkArgs {
    /// Address and port to receive on, or a port alone for all addresses [default: port 5010]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,

    /// End this long after the latest datagram, such as `1s` [default: never]
    #[arg(long, value_name = "TIME")]
    idle: Option<Nanoseconds>,

    /// Receive every datagram by itself, without UDP_GRO
    #[arg(long)]
    no_gro: bool,

    /// Ask for no receive timestamps: no one-way delay, and a little less work for each datagram
    #[arg(long)]
    no_timestamps: bool,

    /// Messages in one system call, at most
    #[arg(long, default_value_t = 32, value_name = "N")]
    batch: usize,

    /// Socket receive buffer, in bytes that can be used, such as `4MiB` [default: 4 MiB, or what the kernel grants of it]
    #[arg(long, value_name = "SIZE")]
    buffer: Option<Bytes>,

    /// The first number of every flow: what is missing from it on is lost [default: the first that arrives]
    #[arg(long, value_name = "N")]
    expect_from: Option<u64>,

    /// Flows that each worker can tell apart
    #[arg(long, default_value_t = 1024, value_name = "N")]
    flows: usize,
}

impl SinkArgs {
    /// Binds the sockets, one for each worker, and fills in defaults.
    ///
    /// # Errors
    /// When an address or port can't be had, or an option is refused.
    pub fn open(&self, common: &CommonArgs) -> Result<OpenSink> {
        if !(1..=1024).contains(&self.batch) || !(1..=65_536).contains(&self.flows) {
            return Err(Error::bad_arguments("--batch must be 1 to 1024, and --flows 1 to 65536"));
        }
        let placements = common.placements()?;
        let request = SocketRequest {
            listen: self.listen.as_deref().map_or(Ok(Listen::Everywhere(DEFAULT_PORT)), Listen::resolve)?,
            without_gro: self.no_gro,
            without_timestamps: self.no_timestamps,
            buffer_bytes: self.buffer.map(|bytes| bytes.0),
        };
        let Opened { sockets, listen, buffer_bytes } = request.open(placements.len())?;
        if self.no_timestamps && common.hlog.is_some() {
            return Err(Error::bad_arguments(
                "--hlog logs the one-way delay, which --no-timestamps leaves out",
            ));
        }
        let config = SinkConfig {
            listen,
            duration_ns: common.duration_ns(3600 * SECOND_NS)?,
            warmup_ns: common.warmup_ns(),
            idle_ns: self.idle.map(|idle| idle.0),
            interval_ns: common.interval_ns()?,
            gro: !self.no_gro,
            timestamps: !self.no_timestamps,
            hlog: common.hlog.clone(),
            batch_size: self.batch,
            buffer_bytes,
            expect_from: self.expect_from,
            discards_backlog: common.controlled || common.start_at.is_some(),
            flows_max: self.flows,
            cpus: common.cpus.as_ref().map(|list| list.cpus().to_vec()).unwrap_or_default(),
            policy: common.sched,
        };
        Ok(OpenSink { config, sockets })
    }
}
