//! Socket options: set, read back, and refused with a reason where the kernel does otherwise.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
};

use meter::{
    Error, Result,
    address::{self, Host},
    socket_buffer::Buffer,
};
use serde::Serialize;
use socket2::{SockAddr, Socket, Type};

use crate::protocol::order::SocketOptions;

impl SocketOptions {
    /// Sets what was asked for on a TCP or UDP socket that is not connected, listens, or was accepted.
    ///
    /// # Errors
    /// Exit code 3 for what the kernel refuses or makes smaller.
    pub fn apply(&self, socket: &Socket) -> Result<()> {
        if let Some(bytes) = self.send_buffer_bytes {
            Buffer::Send.set(socket.as_fd(), bytes)?;
        }
        if let Some(bytes) = self.receive_buffer_bytes {
            Buffer::Receive.set(socket.as_fd(), bytes)?;
        }
        if socket.r#type().map_err(refused("SO_TYPE"))? == Type::STREAM {
            self.apply_tcp(socket)?;
        }
        Ok(())
    }

    fn apply_tcp(&self, socket: &Socket) -> Result<()> {
        socket.set_tcp_nodelay(!self.delay_small_writes).map_err(refused("TCP_NODELAY"))?;
        if let Some(name) = &self.congestion {
            socket.set_tcp_congestion(name.as_bytes()).map_err(|error| {
                let told = format!("no congestion control `{name}` here; see /proc/sys/net/ipv4/tcp_available_congestion_control");
                Error::unavailable(told).with_source(error)
            })?;
        }
        if let Some(bytes) = self.segment_bytes {
            socket.set_tcp_mss(bytes).map_err(refused("TCP_MAXSEG"))?;
        }
        if self.quick_ack {
            socket.set_tcp_quickack(true).map_err(refused("TCP_QUICKACK"))?;
        }
        Ok(())
    }
}

fn refused(option: &'static str) -> impl Fn(io::Error) -> Error {
    move |error| Error::unavailable(format!("the kernel refuses {option}")).with_source(error)
}

/// Socket options of this end alone.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LocalOptions {
    /// Source address; `null` leaves it to the routing.
    pub source_address: Option<Host>,
    /// Source port of the first flow, further flows take the following ones; `null` for any.
    pub source_port: Option<u16>,
    /// Interface to send and receive through (SO_BINDTODEVICE); `null` leaves it to the routing.
    pub device: Option<String>,
    /// Whether only directly connected hosts can be reached (SO_DONTROUTE).
    pub dont_route: bool,
}

impl LocalOptions {
    /// Sets what was asked for on the socket of flow number `flow`, which will connect to `peer`.
    ///
    /// # Errors
    /// Exit code 3 for what the kernel refuses: no such interface or address, a port in use, no right.
    pub fn apply(&self, socket: &Socket, peer: SocketAddr, flow: u32) -> Result<()> {
        if let Some(device) = &self.device {
            socket.bind_device(Some(device.as_bytes())).map_err(|error| {
                Error::unavailable(format!("can't use the interface `{device}`")).with_source(error)
            })?;
        }
        if self.dont_route {
            meter::sys::setsockopt(socket.as_fd(), libc::SOL_SOCKET, libc::SO_DONTROUTE, 1)
                .map_err(refused("SO_DONTROUTE"))?;
        }
        if self.source_address.is_none() && self.source_port.is_none() {
            return Ok(());
        }
        let unspecified = match peer {
            SocketAddr::V4(_) => IpAddr::from([0; 4]),
            SocketAddr::V6(_) => IpAddr::from([0; 16]),
        };
        let port = self.source_port.map_or(Some(0), |port| port.checked_add(u16::try_from(flow).ok()?));
        let port =
            port.ok_or_else(|| Error::bad_arguments("the flows' source ports would go beyond 65535"))?;
        let source = self.source_address.unwrap_or(unspecified.into()).toward(peer).with_port(port);
        // A port that an earlier run left in TIME_WAIT may be used again.
        socket.set_reuse_address(true).map_err(refused("SO_REUSEADDR"))?;
        socket.bind(&SockAddr::from(source)).map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) if address::lacks_scope(source) => address::scope_missing(source),
            _ => Error::unavailable(format!("can't send from {source}")).with_source(error),
        })
    }
}
