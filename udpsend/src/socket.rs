//! Sockets of the sender: bound, connected, and with the options that were asked for.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::AsFd,
};

use meter::{
    Error, ErrorKind, Result,
    address::{self, Host},
    socket_buffer::Buffer,
};
use serde::Serialize;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::sys;

/// Options of the sender's sockets. `None` leaves the kernel's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SocketOptions {
    /// Address to send from.
    pub source: Option<Host>,
    /// Interface to send through (SO_BINDTODEVICE).
    pub device: Option<String>,
    /// The DSCP and ECN bits: the whole traffic class byte (RFC 2474, RFC 3168).
    pub traffic_class: Option<u8>,
    /// Time to live or hop limit, 1 to 255.
    pub hop_limit: Option<u8>,
    /// Forbid fragmentation: a datagram that does not fit the path is an error (EMSGSIZE).
    pub dont_fragment: bool,
    /// Send buffer, in bytes; the kernel must grant all of it.
    pub buffer_bytes: Option<u64>,
    /// Rate at which the kernel lets datagrams go, in bits/s (SO_MAX_PACING_RATE).
    pub kernel_pacing_bps: Option<u64>,
    /// How long before its intended time a datagram is handed over, in nanoseconds; the kernel holds it
    /// until then (SO_TXTIME).
    pub launch_lead_ns: Option<u64>,
}

impl SocketOptions {
    /// The first option that only the queueing discipline `fq` heeds.
    #[must_use]
    pub fn needs_fq(&self) -> Option<&'static str> {
        let pacing = self.kernel_pacing_bps.map(|_| "--kernel-pacing (SO_MAX_PACING_RATE)");
        pacing.or(self.launch_lead_ns.map(|_| "--txtime (SO_TXTIME)"))
    }
}

/// One flow: a connected socket and its two ends.
#[derive(Debug)]
pub struct Flow {
    /// The socket, connected to `target`.
    pub socket: UdpSocket,
    /// Its own address and port.
    pub source: SocketAddr,
    /// Where it sends to.
    pub target: SocketAddr,
}

impl Flow {
    /// Opens a flow from `source_port` (0: any) to `target`.
    ///
    /// # Errors
    /// When an option is refused, the port is taken or there is no route.
    pub fn open(target: SocketAddr, source_port: u16, options: &SocketOptions) -> Result<Self> {
        let socket = Socket::new(Domain::for_address(target), Type::DGRAM, Some(Protocol::UDP))
            .map_err(|error| Error::system("open a UDP socket", error))?;
        set_options(&socket, target.is_ipv6(), options)?;
        let source = options.source.unwrap_or_else(|| unspecified(target).into());
        let source = source.toward(target).with_port(source_port);
        if source.is_ipv6() != target.is_ipv6() {
            return Err(Error::bad_arguments(format!(
                "--source {} and {target} are of two address families; pass one of the target's",
                source.ip()
            )));
        }
        socket.bind(&SockAddr::from(source)).map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) if address::lacks_scope(source) => address::scope_missing(source),
            Some(libc::EADDRNOTAVAIL) => {
                Error::unavailable(format!("no interface has the address {}; see `ip address`", source.ip()))
                    .with_source(error)
            }
            Some(libc::EADDRINUSE) => {
                Error::failed(format!("port {source_port} is in use; pass another --source-port"))
                    .with_source(error)
            }
            _ => Error::system(format!("bind a UDP socket to {source}"), error),
        })?;
        connect(&socket, target)?;
        let socket = UdpSocket::from(socket);
        let source =
            socket.local_addr().map_err(|error| Error::system("read the address of a UDP socket", error))?;
        Ok(Self { socket, source, target })
    }

    /// Whether the kernel cuts a send into segments (UDP_SEGMENT, Linux 4.18).
    #[must_use]
    pub fn can_segment(&self) -> bool {
        sys::setsockopt(self.socket.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok()
    }

    /// Largest IP packet that the route to the target carries in one piece, in bytes (`IP_MTU`, ip(7)).
    ///
    /// # Errors
    /// When the kernel has no route any more.
    pub fn path_mtu_bytes(&self) -> Result<u32> {
        let (level, name) = match self.target {
            SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MTU),
            SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MTU),
        };
        let mut value = [0; 4];
        sys::getsockopt_bytes(self.socket.as_fd(), level, name, &mut value)
            .map_err(|error| Error::system(format!("read the path MTU to {}", self.target), error))?;
        Ok(u32::from_ne_bytes(value))
    }
}

fn unspecified(target: SocketAddr) -> IpAddr {
    match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Connects; the kernel refuses the broadcast address of a subnet here, since SO_BROADCAST is not set.
fn connect(socket: &Socket, target: SocketAddr) -> Result<()> {
    socket.connect(&SockAddr::from(target)).map_err(|error| match error.raw_os_error() {
        Some(libc::EACCES) => {
            Error::bad_arguments(format!("{target} is a broadcast address: it is never flooded"))
        }
        Some(libc::EINVAL) if address::lacks_scope(target) => address::scope_missing(target),
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH) => {
            Error::failed(format!("there is no route to {target}")).with_source(error)
        }
        _ => Error::system(format!("connect a UDP socket to {target}"), error),
    })
}

fn set_options(socket: &Socket, ipv6: bool, options: &SocketOptions) -> Result<()> {
    let refused = |what: String| move |error| Error::system(what, error);
    // A sender decides itself how long it waits for room: a batch of a thousand would else wait a thousand times.
    socket.set_nonblocking(true).map_err(refused("let a UDP socket not block".into()))?;
    if let Some(device) = &options.device {
        socket.bind_device(Some(device.as_bytes())).map_err(|error| {
            Error::system(format!("bind to the device {device}"), error).with_kind(ErrorKind::Unavailable)
        })?;
    }
    let set = |value: Option<i32>, v4: i32, v6: i32, what: &str| match value {
        None => Ok(()),
        Some(value) => {
            let (level, name) = if ipv6 { (libc::IPPROTO_IPV6, v6) } else { (libc::IPPROTO_IP, v4) };
            sys::setsockopt(socket.as_fd(), level, name, value)
                .map_err(refused(format!("set {what} to {value}")))
        }
    };
    set(options.traffic_class.map(i32::from), libc::IP_TOS, libc::IPV6_TCLASS, "the traffic class")?;
    set(options.hop_limit.map(i32::from), libc::IP_TTL, libc::IPV6_UNICAST_HOPS, "the hop limit")?;
    let discover = options.dont_fragment.then_some(libc::IP_PMTUDISC_DO);
    set(discover, libc::IP_MTU_DISCOVER, libc::IPV6_MTU_DISCOVER, "don't-fragment")?;
    if let Some(rate) = options.kernel_pacing_bps {
        let bytes_per_s = (rate / 8).to_ne_bytes();
        sys::setsockopt_bytes(socket.as_fd(), libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, &bytes_per_s)
            .map_err(refused("set the kernel's pacing rate".into()))?;
    }
    if options.launch_lead_ns.is_some() {
        sys::set_launch_clock(socket.as_fd()).map_err(|error| {
            Error::system("this kernel has no SO_TXTIME (Linux 4.19)", error)
                .with_kind(ErrorKind::Unavailable)
        })?;
    }
    match options.buffer_bytes {
        Some(bytes) => Buffer::Send.set(socket.as_fd(), bytes).map(drop),
        None => Ok(()),
    }
}
