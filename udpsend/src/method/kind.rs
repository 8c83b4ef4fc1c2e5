//! The names of the ways to hand datagrams to the kernel.

use std::{fmt, str::FromStr};

use serde::Serialize;

/// A way to hand datagrams to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// One send(2) each, on a connected socket.
    Send,
    /// One sendmmsg(2) for a batch.
    Sendmmsg,
    /// One send(2) of up to 64 equal datagrams that the kernel or the device segments (UDP_SEGMENT).
    Gso,
    /// A batch of sends through a ring (io_uring(7)), one system call for all.
    IoUring,
    /// Whole frames through an AF_PACKET socket, past routing, the UDP layer and the queueing discipline.
    Packet,
    /// Whole frames through an AF_XDP socket in copy mode.
    Xdp,
}

impl Method {
    /// Whether it builds frames itself, and so needs CAP_NET_RAW and one interface.
    #[must_use]
    pub fn is_raw(self) -> bool {
        matches!(self, Self::Packet | Self::Xdp)
    }
}

/// Every method with its name.
const METHODS: [(Method, &str); 6] = [
    (Method::Send, "send"),
    (Method::Sendmmsg, "sendmmsg"),
    (Method::Gso, "gso"),
    (Method::IoUring, "io_uring"),
    (Method::Packet, "packet"),
    (Method::Xdp, "xdp"),
];

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        METHODS.iter().find(|(method, _)| method == self).map_or(Ok(()), |(_, name)| f.write_str(name))
    }
}

/// A method as typed: a name, or `auto` for the choice of the tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypedMethod(pub Option<Method>);

impl FromStr for TypedMethod {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self(None));
        }
        METHODS.iter().find(|(_, name)| *name == text).map(|(method, _)| Self(Some(*method))).ok_or_else(
            || {
                let names: Vec<&str> = METHODS.iter().map(|(_, name)| *name).collect();
                format!("`{text}` is not a method; use auto, {}", names.join(", "))
            },
        )
    }
}
