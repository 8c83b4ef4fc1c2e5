//! The sockets of a sink.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::AsFd,
    time::Duration,
};

use meter::{Error, ErrorKind, Result, address, socket_buffer::Buffer};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{sink::config::SinkConfig, sys};

/// Receive buffer that is asked for where none is named, in usable bytes; the kernel may grant less.
const DEFAULT_BUFFER_BYTES: u64 = 4 << 20;
/// A receive blocks no longer than this, so that a stop is seen in time.
const RECEIVE_TIMEOUT: Duration = Duration::from_millis(20);

/// A sink whose sockets are bound.
#[derive(Debug)]
pub struct OpenSink {
    /// What it does.
    pub config: SinkConfig,
    /// One socket for each worker.
    pub sockets: Vec<UdpSocket>,
}

/// Where to listen: a port alone means all addresses.
#[derive(Clone, Copy, Debug)]
pub enum Listen {
    /// All addresses.
    Everywhere(u16),
    /// One.
    At(SocketAddr),
}

impl Listen {
    /// What was typed: a port, `:PORT`, or an address and port as [`meter::address`] reads them.
    ///
    /// # Errors
    /// Exit codes 2 and 3, as there.
    pub fn resolve(text: &str) -> Result<Self> {
        match text.strip_prefix(':').unwrap_or(text).parse() {
            Ok(port) => Ok(Self::Everywhere(port)),
            Err(_) => address::resolve(text).map(Self::At),
        }
    }
}

/// What the sockets are asked for.
#[derive(Clone, Copy, Debug)]
pub struct SocketRequest {
    /// Where to listen.
    pub listen: Listen,
    /// Without UDP_GRO.
    pub without_gro: bool,
    /// Without receive timestamps.
    pub without_timestamps: bool,
    /// Receive buffer, in bytes; `None` for what the kernel grants of the default.
    pub buffer_bytes: Option<u64>,
}

/// Bound sockets.
#[derive(Debug)]
pub struct Opened {
    /// One for each worker.
    pub sockets: Vec<UdpSocket>,
    /// Address and port of all of them.
    pub listen: SocketAddr,
    /// Receive buffer of each as granted, in bytes.
    pub buffer_bytes: u64,
}

impl SocketRequest {
    /// Binds a socket for each of `workers`.
    ///
    /// # Errors
    /// When an address or port is unavailable, or an option is refused.
    pub fn open(&self, workers: usize) -> Result<Opened> {
        let (first, buffer_bytes) = self.open_first(workers > 1)?;
        let listen = local_address(&first)?;
        let mut sockets = vec![UdpSocket::from(first)];
        for _ in 1..workers {
            sockets.push(self.open_socket(listen, true)?.0.into());
        }
        Ok(Opened { sockets, listen, buffer_bytes })
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
        match self.listen {
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
        if !self.without_timestamps {
            sys::setsockopt(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
                .map_err(refused("ask for receive timestamps; pass --no-timestamps"))?;
        }
        if !self.without_gro {
            sys::setsockopt(fd, libc::SOL_UDP, libc::UDP_GRO, 1).map_err(|error| {
                Error::system("this kernel has no UDP_GRO (Linux 5.0); pass --no-gro", error)
                    .with_kind(ErrorKind::Unavailable)
            })?;
        }
        let buffer_bytes = match self.buffer_bytes {
            None => Buffer::Receive.request(fd, DEFAULT_BUFFER_BYTES)?,
            Some(bytes) => Buffer::Receive.set(fd, bytes)?,
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
