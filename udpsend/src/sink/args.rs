//! Flags of the sink, and the sockets that they ask for.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::AsFd,
    time::Duration,
};

use meter::{
    Error, ErrorKind, Result, address,
    cli::CommonArgs,
    clock::SECOND_NS,
    socket_buffer::Buffer,
    units::{Bytes, Nanoseconds},
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{
    sink::{OpenSink, config::SinkConfig},
    sys,
};

/// Port of the sink where none is named.
pub const DEFAULT_PORT: u16 = 5010;
/// Receive buffer that is asked for where none is named, in usable bytes; the kernel may grant less.
const DEFAULT_BUFFER_BYTES: u64 = 4 << 20;
/// A receive blocks no longer than this, so that a stop is seen in time.
const RECEIVE_TIMEOUT: Duration = Duration::from_millis(20);

/// Where to listen: a port alone means all addresses.
#[derive(Clone, Copy, Debug)]
enum Listen {
    Everywhere(u16),
    At(SocketAddr),
}

impl Listen {
    /// What was typed: a port, `:PORT`, or an address and port as [`meter::address`] reads them.
    fn resolve(text: &str) -> Result<Self> {
        match text.strip_prefix(':').unwrap_or(text).parse() {
            Ok(port) => Ok(Self::Everywhere(port)),
            Err(_) => address::resolve(text).map(Self::At),
        }
    }
}

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
        let (first, buffer_bytes) = self.open_first(placements.len() > 1)?;
        let listen = local_address(&first)?;
        let mut sockets = vec![UdpSocket::from(first)];
        for _ in 1..placements.len() {
            sockets.push(self.open_socket(listen, true)?.0.into());
        }
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
            flows_max: self.flows,
            cpus: common.cpus.as_ref().map(|list| list.cpus().to_vec()).unwrap_or_default(),
            policy: common.sched,
        };
        Ok(OpenSink { config, sockets })
    }

    /// The first socket. Everywhere means IPv6 with IPv4, or IPv4 alone where there is no IPv6.
    fn open_first(&self, shared: bool) -> Result<(Socket, u64)> {
        let open = |address: SocketAddr| {
            if shared {
                // Bound alone first: with SO_REUSEPORT a port that another sink holds would be shared.
                let bound = local_address(&self.open_socket(address, false)?.0)?;
                return self.open_socket(bound, true);
            }
            self.open_socket(address, false)
        };
        match self.listen.as_deref().map_or(Ok(Listen::Everywhere(DEFAULT_PORT)), Listen::resolve)? {
            Listen::At(address) => open(address),
            Listen::Everywhere(port) => {
                let without_ipv6 = |error: &Error| {
                    matches!(error.os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
                };
                match open((Ipv6Addr::UNSPECIFIED, port).into()) {
                    Err(error) if without_ipv6(&error) => open((Ipv4Addr::UNSPECIFIED, port).into()),
                    result => result,
                }
            }
        }
    }

    fn open_socket(&self, address: SocketAddr, shared: bool) -> Result<(Socket, u64)> {
        let refused = |what: &'static str| move |error| Error::system(what, error);
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))
            .map_err(refused("open a UDP socket"))?;
        if address.is_ipv6() && address.ip().is_unspecified() {
            socket.set_only_v6(false).map_err(refused("receive IPv4 on an IPv6 socket"))?;
        }
        if shared {
            socket.set_reuse_port(true).map_err(refused("share the port between workers"))?;
        }
        socket.bind(&SockAddr::from(address)).map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) if address::lacks_scope(address) => address::scope_missing(address),
            Some(libc::EADDRINUSE) => {
                Error::failed(format!("{address} is in use; pass another --listen")).with_source(error)
            }
            _ => Error::system(format!("bind to {address}"), error),
        })?;
        socket.set_read_timeout(Some(RECEIVE_TIMEOUT)).map_err(refused("set a timeout for receiving"))?;
        let fd = socket.as_fd();
        sys::setsockopt(fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)
            .map_err(refused("ask for the count of drops"))?;
        if !self.no_timestamps {
            sys::setsockopt(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
                .map_err(refused("ask for receive timestamps; pass --no-timestamps"))?;
        }
        if !self.no_gro {
            sys::setsockopt(fd, libc::SOL_UDP, libc::UDP_GRO, 1).map_err(|error| {
                Error::system("this kernel has no UDP_GRO (Linux 5.0); pass --no-gro", error)
                    .with_kind(ErrorKind::Unavailable)
            })?;
        }
        let buffer_bytes = match self.buffer {
            None => Buffer::Receive.request(fd, DEFAULT_BUFFER_BYTES)?,
            Some(Bytes(bytes)) => Buffer::Receive.set(fd, bytes)?,
        };
        Ok((socket, buffer_bytes))
    }
}

fn local_address(socket: &Socket) -> Result<SocketAddr> {
    socket
        .local_addr()
        .ok()
        .and_then(|address| address.as_socket())
        .ok_or_else(|| Error::failed("read the address of a bound socket"))
}
