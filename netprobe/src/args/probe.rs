//! Flags of the measurements.

use std::path::PathBuf;

use clap::ValueEnum;
use meter::{
    Error, Result, address, cli::CommonArgs, clock::SECOND_NS, cpulist::CpuList, rate::Rate, units::Bytes,
};

use super::wait::WaitArgs;
use crate::{
    config::{ProbeConfig, Repetition},
    limits::MOST_OUTSTANDING,
    options::LocalOptions,
    protocol::order::{
        Direction, LARGEST_DATAGRAM, Order, Pace, ReceiveWith, SendWith, SocketOptions, Transport, Workload,
        distinguishable, tag_bytes,
    },
};

/// Default length of a measurement, in nanoseconds.
const DURATION_NS: u64 = 10 * SECOND_NS;

/// What every measurement has.
#[derive(clap::Args, Debug)]
struct ProbeArgs {
    /// The server
    #[arg(value_name = "HOST:PORT")]
    server: String,
    /// The token that the server needs
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Flows: connections, UDP sockets, or connections being made at a time
    #[arg(long, value_name = "N", default_value_t = 1)]
    flows: u32,
    /// Threads here, where --cpus does not say [default: one per flow]
    #[arg(long, value_name = "N", conflicts_with = "cpus")]
    threads: Option<u32>,
    /// CPUs for the server's threads, one pinned thread each [default: as the server was started]
    #[arg(long, value_name = "LIST")]
    peer_cpus: Option<CpuList>,
    /// Threads of the server, where CPUs do not say [default: one per flow]
    #[arg(long, value_name = "N", conflicts_with = "peer_cpus")]
    peer_threads: Option<u32>,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    socket: SocketArgs,
    #[command(flatten)]
    repeat: RepeatArgs,
}

/// Options of the sockets.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Socket options")]
struct SocketArgs {
    /// Congestion control, at both ends
    #[arg(long, value_name = "NAME")]
    congestion: Option<String>,
    /// Largest TCP segment in bytes (88 to 32767)
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(88..=32767))]
    mss: Option<u32>,
    /// Let small writes wait for acknowledgements (Nagle); without it TCP_NODELAY is set
    #[arg(long)]
    nagle: bool,
    /// Acknowledge at once, at both ends (TCP_QUICKACK)
    #[arg(long)]
    quick_ack: bool,
    /// Send buffer, at both ends [default: the kernel tunes it]
    #[arg(long, value_name = "SIZE")]
    send_buffer: Option<Bytes>,
    /// Receive buffer, at both ends [default: the kernel tunes it]
    #[arg(long, value_name = "SIZE")]
    receive_buffer: Option<Bytes>,
    /// Address to connect from, such as `10.0.0.1` or `fe80::1%eth0`
    #[arg(long, value_name = "ADDR")]
    source_address: Option<String>,
    /// Port of the first flow; further flows take the following ones
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    source_port: Option<u16>,
    /// Interface to go through
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Reach directly connected hosts only
    #[arg(long)]
    dont_route: bool,
}

/// How often.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Repetition")]
struct RepeatArgs {
    /// Measure N times and tell how sure the mean is
    #[arg(long, value_name = "N", conflicts_with = "until_ci")]
    repeat: Option<u64>,
    /// Repeat until the confidence interval is at most ± PERCENT of the mean
    #[arg(long, value_name = "PERCENT")]
    until_ci: Option<f64>,
    /// Fewest repetitions for --until-ci
    #[arg(long, value_name = "N", default_value_t = 5, requires = "until_ci")]
    repeat_min: u64,
    /// Most repetitions for --until-ci; then the exit code is 4 [default: no limit]
    #[arg(long, value_name = "N", requires = "until_ci")]
    repeat_max: Option<u64>,
    /// Confidence of the interval in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 95.0)]
    confidence: f64,
}

impl ProbeArgs {
    fn resolve(&self, workload: Workload, percentiles: &[f64], common: &CommonArgs) -> Result<ProbeConfig> {
        for (count, flag) in [
            (Some(self.flows), "--flows"),
            (self.threads, "--threads"),
            (self.peer_threads, "--peer-threads"),
        ] {
            if count == Some(0) {
                return Err(Error::bad_arguments(format!("{flag} must be at least 1")));
            }
        }
        if let Some(wrong) = percentiles.iter().find(|percent| !(0.0..=100.0).contains(*percent)) {
            return Err(Error::bad_arguments(format!("{wrong} is no percentile; use 0 to 100")));
        }
        let placements = common.placements()?;
        Ok(ProbeConfig {
            server: self.server.clone(),
            token_file: self.token_file.clone(),
            order: Order {
                flows: self.flows,
                peer_threads: self.peer_threads,
                peer_cpus: self.peer_cpus.as_ref().map(|list| list.cpus().to_vec()),
                warmup_ns: common.warmup_ns(),
                duration_ns: common.duration_ns(DURATION_NS)?,
                interval_ns: common.interval_ns()?,
                wait: self.wait.resolve(&workload)?,
                cpu_dma_latency_us: self.wait.cpu_dma_latency_us(),
                workload,
                socket: self.socket.both_ends(),
            },
            local: self.socket.this_end()?,
            cpus: placements.iter().filter_map(|placement| placement.cpu).collect(),
            threads: self.threads,
            placements,
            repetition: self.repeat.resolve()?,
            percentiles: percentiles.to_vec(),
            hlog: common.hlog.clone(),
        })
    }
}

impl SocketArgs {
    fn both_ends(&self) -> SocketOptions {
        SocketOptions {
            congestion: self.congestion.clone(),
            segment_bytes: self.mss,
            delay_small_writes: self.nagle,
            quick_ack: self.quick_ack,
            send_buffer_bytes: self.send_buffer.map(|size| size.0),
            receive_buffer_bytes: self.receive_buffer.map(|size| size.0),
        }
    }

    fn this_end(&self) -> Result<LocalOptions> {
        Ok(LocalOptions {
            source_address: self.source_address.as_deref().map(address::resolve_host).transpose()?,
            source_port: self.source_port,
            device: self.device.clone(),
            dont_route: self.dont_route,
        })
    }
}

impl RepeatArgs {
    fn resolve(&self) -> Result<Repetition> {
        if !(self.confidence > 0.0 && self.confidence < 100.0) {
            return Err(Error::bad_arguments("--confidence must be between 0 and 100"));
        }
        let confidence_percent = self.confidence;
        match (self.repeat, self.until_ci) {
            (Some(0), _) => Err(Error::bad_arguments("--repeat must be at least 1")),
            (Some(count), _) => Ok(Repetition::Times { count, confidence_percent }),
            (None, None) => Ok(Repetition::Once),
            (None, Some(width)) if !(width > 0.0 && width.is_finite()) => {
                Err(Error::bad_arguments("--until-ci must be above 0"))
            }
            (None, Some(_)) if self.repeat_max.is_some_and(|most| most < self.repeat_min) => {
                Err(Error::bad_arguments("--repeat-max must not be below --repeat-min"))
            }
            (None, Some(half_width_percent)) => Ok(Repetition::UntilSure {
                half_width_percent,
                confidence_percent,
                // One value has no interval.
                at_least: self.repeat_min.max(2),
                at_most: self.repeat_max,
            }),
        }
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

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DirectionArg {
    Send,
    Receive,
    Both,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SendWithArg {
    /// send(2)
    Copy,
    /// send(2) with MSG_ZEROCOPY
    Zerocopy,
    /// sendfile(2) from memory
    Sendfile,
}

impl SendWithArg {
    /// The size that was fastest where it was measured: copying gains from few system calls as long as both
    /// ends' buffers stay in the second-level cache, sending a file's pages from pages that stay there.
    fn best_size(self) -> Bytes {
        match self {
            Self::Copy | Self::Zerocopy => Bytes(512 << 10),
            Self::Sendfile => Bytes(128 << 10),
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ReceiveWithArg {
    /// recv(2)
    Copy,
    /// recv(2) with MSG_TRUNC: nothing is copied, nothing could be used
    Discard,
}

#[derive(clap::Args, Debug)]
pub(super) struct StreamArgs {
    #[command(flatten)]
    probe: ProbeArgs,
    /// Which way payload goes, seen from here; `both` has --flows each way
    #[arg(long, value_enum, default_value = "send")]
    direction: DirectionArg,
    /// Bytes handed to the kernel per system call [default: 512KiB; with sendfile 128KiB]
    #[arg(long, value_name = "SIZE")]
    write_size: Option<Bytes>,
    /// Bytes asked of the kernel per system call
    #[arg(long, value_name = "SIZE", default_value = "128KiB")]
    read_size: Bytes,
    /// How payload is handed to the kernel; marked in the result
    #[arg(long, value_enum, default_value = "copy")]
    send_with: SendWithArg,
    /// What the receiving end does with it; marked in the result
    #[arg(long, value_enum, default_value = "copy")]
    receive_with: ReceiveWithArg,
}

impl StreamArgs {
    pub(super) fn resolve(&self, common: &CommonArgs) -> Result<ProbeConfig> {
        if common.hlog.is_some() {
            return Err(Error::bad_arguments("a stream has no latencies for --hlog; use `rr` or `crr`"));
        }
        let workload = Workload::Stream {
            direction: match self.direction {
                DirectionArg::Send => Direction::Send,
                DirectionArg::Receive => Direction::Receive,
                DirectionArg::Both => Direction::Both,
            },
            write_bytes: size(self.write_size.unwrap_or(self.send_with.best_size()), "--write-size")?,
            read_bytes: size(self.read_size, "--read-size")?,
            send_with: match self.send_with {
                SendWithArg::Copy => SendWith::Copy,
                SendWithArg::Zerocopy => SendWith::Zerocopy,
                SendWithArg::Sendfile => SendWith::Sendfile,
            },
            receive_with: match self.receive_with {
                ReceiveWithArg::Copy => ReceiveWith::Copy,
                ReceiveWithArg::Discard => ReceiveWith::Discard,
            },
        };
        self.probe.resolve(workload, &[], common)
    }
}

/// What transactions are made of.
#[derive(clap::Args, Debug)]
struct SizeArgs {
    /// Bytes of a request
    #[arg(long, value_name = "SIZE", default_value = "1")]
    request_size: Bytes,
    /// Bytes of a response
    #[arg(long, value_name = "SIZE", default_value = "1")]
    response_size: Bytes,
    /// Further percentiles of latency to tell, such as `75,99.999`
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    percentiles: Vec<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TransportArg {
    Tcp,
    Udp,
}

#[derive(clap::Args, Debug)]
pub(super) struct RrArgs {
    #[command(flatten)]
    probe: ProbeArgs,
    #[command(flatten)]
    sizes: SizeArgs,
    /// What carries requests and responses
    #[arg(long, value_enum, default_value = "tcp")]
    transport: TransportArg,
    /// Requests of a flow under way: kept so many, or with --rate at most so many [default: 1; with --rate 1024]
    #[arg(long, value_name = "N")]
    outstanding: Option<u32>,
    /// Open loop: so many requests per second at intended times, all flows together, such as `50k`, `1.5/s` or `2/min`
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,
    /// Exponential gaps between the intended times instead of equal ones
    #[arg(long, requires = "rate")]
    poisson: bool,
    /// Seed of the exponential gaps
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Most requests of a flow under way in a paced loop, unless told otherwise.
const PACED_OUTSTANDING: u32 = 1024;

impl RrArgs {
    pub(super) fn resolve(&self, common: &CommonArgs) -> Result<ProbeConfig> {
        let request_bytes = size(self.sizes.request_size, "--request-size")?;
        let response_bytes = size(self.sizes.response_size, "--response-size")?;
        let mut most = MOST_OUTSTANDING;
        let transport = match self.transport {
            TransportArg::Tcp => Transport::Tcp,
            TransportArg::Udp => Transport::Udp,
        };
        if transport == Transport::Udp {
            if request_bytes.max(response_bytes) > LARGEST_DATAGRAM {
                return Err(Error::bad_arguments(format!("a datagram has at most {LARGEST_DATAGRAM} bytes")));
            }
            most = distinguishable(tag_bytes(request_bytes, response_bytes));
        }
        let default = if self.rate.is_some() { PACED_OUTSTANDING.min(most) } else { 1 };
        let outstanding = self.outstanding.unwrap_or(default);
        if outstanding == 0 || outstanding > most {
            return Err(Error::bad_arguments(format!(
                "--outstanding must be 1 to {most}: over UDP, requests and responses of 3 bytes or more allow {MOST_OUTSTANDING}"
            )));
        }
        let pace = self.rate.map(|rate| Pace { rate, poisson: self.poisson, seed: self.seed });
        let workload = Workload::Transactions { transport, request_bytes, response_bytes, outstanding, pace };
        self.probe.resolve(workload, &self.sizes.percentiles, common)
    }
}

#[derive(clap::Args, Debug)]
pub(super) struct CrrArgs {
    #[command(flatten)]
    probe: ProbeArgs,
    #[command(flatten)]
    sizes: SizeArgs,
}

impl CrrArgs {
    pub(super) fn resolve(&self, common: &CommonArgs) -> Result<ProbeConfig> {
        if self.probe.socket.source_port.is_some() {
            return Err(Error::bad_arguments("`crr` makes ever new connections: no --source-port"));
        }
        let workload = Workload::Connections {
            request_bytes: size(self.sizes.request_size, "--request-size")?,
            response_bytes: size(self.sizes.response_size, "--response-size")?,
        };
        self.probe.resolve(workload, &self.sizes.percentiles, common)
    }
}
