//! What was typed.

use std::net::SocketAddr;

use clap::{Parser, Subcommand};
use meter::{
    Error, Result, address,
    cli::CommonArgs,
    clock::SECOND_NS,
    rate::BitRate,
    session::{Session, Tool},
    tool::Program,
    units::{Bytes, Nanoseconds},
};

use crate::{
    load::{Load, Pace, TypedLoad},
    method::{
        self, Path,
        kind::{Method, TypedMethod},
    },
    netlink::{Netlink, Queue},
    sender::{
        self,
        config::{FlowConfig, Limit, SendConfig},
    },
    sink::{self, args::SinkArgs},
    sizes::Sizes,
    socket::SocketOptions,
    target,
};

/// Sends UDP datagrams of any size at any interval, and receives them.
#[derive(Parser, Debug)]
#[command(name = "udpsend", version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    send: SendArgs,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Receive datagrams: what was delivered, lost, reordered, duplicated, and dropped at the socket
    Sink(SinkArgs),
}

/// Flags of the sender.
#[derive(clap::Args, Debug)]
struct SendArgs {
    /// Where to send to, such as `192.168.1.2:5010` or `[fe80::1%eth0]:5010`; several make several flows
    #[arg(value_name = "HOST:PORT", required = true)]
    targets: Vec<String>,

    /// Payload bytes: one size, a range `64-1472`, a mix `12:7,548:4,1472:1`, or `imix`
    #[arg(long, default_value = "64", value_name = "BYTES")]
    size: Sizes,

    /// Intended load: `unlimited`, packets/s such as `50kpps`, or payload bits/s such as `100Mbps`
    #[arg(long, default_value = "unlimited", value_name = "LOAD", conflicts_with = "gap")]
    load: TypedLoad,

    /// Time from one datagram to the next, such as `20us`
    #[arg(long, value_name = "TIME")]
    gap: Option<Nanoseconds>,

    /// Datagrams that are sent back to back, at one intended time
    #[arg(long, value_name = "N", default_value_t = 1)]
    burst: u64,

    /// Time from the begin of one burst to the begin of the next
    #[arg(long, value_name = "TIME", requires = "burst", conflicts_with_all = ["gap", "load"])]
    burst_period: Option<Nanoseconds>,

    /// How datagrams arrive: `fixed` gaps, or `poisson` for exponential ones (on the wire only up to about a tenth of the
    /// unlimited rate: a gap can't be shorter than a datagram takes)
    #[arg(long, default_value = "fixed", value_name = "KIND", value_parser = ["fixed", "poisson"])]
    arrivals: String,

    /// How datagrams are handed over: `auto`, `send`, `sendmmsg`, `gso`, `io_uring`, `packet`, `xdp`
    #[arg(long, default_value = "auto", value_name = "METHOD")]
    method: TypedMethod,

    /// Datagrams in one system call, at most
    #[arg(long, default_value_t = 64, value_name = "N")]
    batch: usize,

    /// How late a datagram may be before its slot is given up and counted as missed
    #[arg(long, default_value = "100ms", value_name = "TIME")]
    catch_up: Nanoseconds,

    /// Stop after this many datagrams [default duration: 10s, or 1h with this]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    datagrams: Option<u64>,

    /// Stop after this much payload, such as `1GB` [default duration: 10s, or 1h with this]
    #[arg(long, value_name = "SIZE")]
    bytes: Option<Bytes>,

    /// Flows, each with a source port of its own [default: one per target and worker]
    #[arg(long, value_name = "N")]
    flows: Option<usize>,

    /// Destination ports per target, counted up from the one named
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    target_ports: u16,

    /// First source port, counted up with the flows [default: chosen by the kernel]
    #[arg(long, value_name = "PORT")]
    source_port: Option<u16>,

    /// Address to send from, such as `10.0.0.1` or `fe80::1%eth0`
    #[arg(long, value_name = "ADDRESS")]
    source: Option<String>,

    /// Interface to send through
    #[arg(long, value_name = "NAME")]
    device: Option<String>,

    /// DSCP, 0 to 63
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..64))]
    dscp: Option<u8>,

    /// ECN codepoint: 0 not capable, 1 ECT(1), 2 ECT(0), 3 congestion experienced
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..4))]
    ecn: Option<u8>,

    /// Time to live, or hop limit, 1 to 255
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    hop_limit: Option<u8>,

    /// Refuse to be fragmented: what is too large for the path is an error
    #[arg(long)]
    dont_fragment: bool,

    /// Socket send buffer, in bytes that can be used, such as `4MiB`
    #[arg(long, value_name = "SIZE")]
    buffer: Option<Bytes>,

    /// Let the kernel pace the flow at this rate, such as `100Mbps` (SO_MAX_PACING_RATE; needs the qdisc fq)
    #[arg(long, value_name = "RATE")]
    kernel_pacing: Option<BitRate>,

    /// Hand datagrams over this long ahead and let the kernel launch them at their intended times
    /// (SO_TXTIME; needs the qdisc fq and a load)
    #[arg(long, value_name = "TIME")]
    txtime: Option<Nanoseconds>,

    /// Seed of random sizes and arrivals
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,

    /// Allow targets that are not loopback, link-local or private
    #[arg(long)]
    allow_public: bool,
}

impl Program for Args {
    const TOOL: Tool = Tool { name: "udpsend", version: env!("CARGO_PKG_VERSION") };

    fn common(&self) -> &CommonArgs {
        &self.common
    }

    fn run(self, session: &mut Session<'_>) -> Result<()> {
        match &self.command {
            Some(Command::Sink(args)) => sink::run(args.open(&self.common)?, session),
            None => sender::run(&self.send.resolve(&self.common)?, session),
        }
    }
}

impl SendArgs {
    /// Fills in defaults, resolves names, and makes the choices that were left to the tool.
    fn resolve(&self, common: &CommonArgs) -> Result<SendConfig> {
        let workers = common.placements()?;
        let socket = self.socket_options()?;
        let targets = self
            .targets
            .iter()
            .map(|text| target::resolve(text, self.allow_public))
            .collect::<Result<Vec<_>>>()?;
        let flows = self.flow_configs(&targets, workers.len())?;
        let paths = targets.iter().map(|&target| Path::to(target, &socket)).collect::<Result<Vec<_>>>()?;
        check_queueing(&targets, &socket)?;
        let load = self.load()?;
        let (method, notes) = self.method(&load, &paths)?;
        if !(1..=1024).contains(&self.batch) {
            return Err(Error::bad_arguments("--batch must be 1 to 1024"));
        }
        if self.bytes.is_some_and(|bytes| bytes.0 == 0) {
            return Err(Error::bad_arguments("--bytes must be more than 0"));
        }
        let bounded = self.datagrams.is_some() || self.bytes.is_some();
        Ok(SendConfig {
            flows,
            sizes: self.size.clone(),
            load,
            method,
            batch_size: self.batch,
            catch_up_ns: self.catch_up.0,
            seed: self.seed,
            limit: Limit {
                duration_ns: common.duration_ns(if bounded { 3600 } else { 10 } * SECOND_NS)?,
                datagrams: self.datagrams,
                bytes: self.bytes.map(|bytes| bytes.0),
            },
            warmup_ns: common.warmup_ns(),
            interval_ns: common.interval_ns()?,
            socket,
            cpus: common.cpus.as_ref().map(|list| list.cpus().to_vec()).unwrap_or_default(),
            policy: common.sched,
            hlog: common.hlog.clone(),
            notes,
        })
    }

    /// The method that was asked for, or the choice of the tool and a note about it.
    fn method(&self, load: &Load, paths: &[Path]) -> Result<(Method, Vec<String>)> {
        if self.txtime.is_some() {
            if *load == Load::Unlimited {
                return Err(Error::bad_arguments(
                    "--txtime needs intended times; pass --load, --gap or --burst-period",
                ));
            }
            return match self.method.0 {
                None => {
                    Ok((Method::Sendmmsg, vec!["auto chose the method sendmmsg, for --txtime".to_owned()]))
                }
                Some(Method::Sendmmsg) => Ok((Method::Sendmmsg, Vec::new())),
                Some(method) => {
                    Err(Error::bad_arguments(format!("--txtime works with --method sendmmsg, not {method}")))
                }
            };
        }
        if let Some(method) = self.method.0.filter(|method| method.is_raw())
            && (self.kernel_pacing.is_some() || self.buffer.is_some())
        {
            return Err(Error::bad_arguments(format!(
                "--kernel-pacing and --buffer are for sockets that --method {method} passes by"
            )));
        }
        Ok(self.method.0.map_or_else(
            || {
                let (method, note) = method::choose(&self.size, paths);
                (method, vec![note])
            },
            |method| (method, Vec::new()),
        ))
    }

    fn load(&self) -> Result<Load> {
        if self.burst == 0 {
            return Err(Error::bad_arguments("--burst must be 1 or more"));
        }
        let base = match (self.gap, self.burst_period) {
            (Some(gap), _) => Pace::new(1, gap.0.into()).map(Load::Paced),
            (None, Some(period)) => Pace::new(self.burst.into(), period.0.into()).map(Load::Paced),
            (None, None) => self.load.resolve(&self.size),
        }?;
        let poisson = self.arrivals == "poisson";
        match base {
            Load::Paced(pace) => Pace { burst: self.burst, poisson, ..pace }.check().map(Load::Paced),
            Load::Unlimited if poisson || self.burst > 1 => Err(Error::bad_arguments(
                "bursts and Poisson arrivals need a load; pass --load, --gap or --burst-period",
            )),
            Load::Unlimited => Ok(Load::Unlimited),
        }
    }

    fn socket_options(&self) -> Result<SocketOptions> {
        let traffic_class = (self.dscp.is_some() || self.ecn.is_some())
            .then(|| self.dscp.unwrap_or(0) << 2 | self.ecn.unwrap_or(0));
        Ok(SocketOptions {
            source: self.source.as_deref().map(address::resolve_host).transpose()?,
            device: self.device.clone(),
            traffic_class,
            hop_limit: self.hop_limit,
            dont_fragment: self.dont_fragment,
            buffer_bytes: self.buffer.map(|bytes| bytes.0),
            kernel_pacing_bps: self.kernel_pacing.map(whole_bytes).transpose()?,
            launch_lead_ns: self.txtime.map(|lead| lead.0),
        })
    }

    /// The flows: every target and destination port in turn, each flow with a source port of its own.
    fn flow_configs(&self, targets: &[SocketAddr], workers: usize) -> Result<Vec<FlowConfig>> {
        let ends = targets.len() * usize::from(self.target_ports);
        let flows = self.flows.unwrap_or(ends.max(workers));
        if flows < ends.max(workers) || flows > 4096 {
            return Err(Error::bad_arguments(format!(
                "--flows {flows} is out of range: {workers} workers and {ends} destinations need at least {}, and 4096 is the most",
                ends.max(workers)
            )));
        }
        let port_after = |first: u16, step: usize| {
            u16::try_from(usize::from(first) + step)
                .map_err(|_| Error::bad_arguments(format!("port {first} and {step} more go beyond 65535")))
        };
        (0..flows)
            .map(|flow| {
                let end = flow % ends.max(1);
                let mut target = targets[end % targets.len()];
                target.set_port(port_after(target.port(), end / targets.len())?);
                let source_port = self.source_port.map_or(Ok(0), |first| port_after(first, flow))?;
                Ok(FlowConfig { source_port, target })
            })
            .collect()
    }
}

/// Refuses what only the queueing discipline `fq` heeds where there is none: the kernel would take the
/// option and do nothing.
fn check_queueing(targets: &[SocketAddr], socket: &SocketOptions) -> Result<()> {
    let Some(option) = socket.needs_fq() else {
        return Ok(());
    };
    let mut netlink = Netlink::open()?;
    for &target in targets {
        let interface = netlink.route(target, socket.device.as_deref())?.interface;
        let is_fq = |queue: &Queue| queue.interface == interface && queue.kind == "fq";
        if !netlink.queues()?.iter().any(is_fq) {
            let name = netlink.link(interface)?.name;
            return Err(Error::unavailable(format!(
                "{option} needs the queueing discipline fq on {name}; try `tc qdisc replace dev {name} root fq`"
            )));
        }
    }
    Ok(())
}

/// A rate for SO_MAX_PACING_RATE, in bits/s: the kernel takes whole bytes per second.
fn whole_bytes(BitRate(rate): BitRate) -> Result<u64> {
    let per_second = rate.scaled(1, 8).map_err(Error::bad_arguments)?;
    let bytes_ns = u128::from(per_second.operations()) * 1_000_000_000;
    let per_ns = u128::from(per_second.per_ns());
    u64::try_from(bytes_ns / per_ns * 8).ok().filter(|_| bytes_ns % per_ns == 0).ok_or_else(|| {
        Error::bad_arguments("--kernel-pacing takes whole bytes per second: a multiple of 8 bit/s")
    })
}
