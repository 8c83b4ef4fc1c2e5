//! The choice of `--method auto`.

use std::net::SocketAddr;

use crate::{method::Method, sizes::Sizes};

/// The fastest method that works for these sizes, targets and path MTU (bytes of IP packet), and a
/// sentence that says so.
#[must_use]
pub fn choose(sizes: &Sizes, targets: &[SocketAddr], path_mtu_bytes: u32) -> (Method, String) {
    let headers = if targets.iter().any(SocketAddr::is_ipv6) { 48 } else { 28 };
    let (method, why) = match sizes {
        Sizes::Fixed(size) if size + headers > path_mtu_bytes => {
            (Method::Sendmmsg, "datagrams larger than the path's MTU")
        }
        Sizes::Fixed(_) => (Method::Gso, "datagrams of one size"),
        Sizes::Uniform(..) | Sizes::Mix(_) => (Method::Sendmmsg, "datagrams of several sizes"),
    };
    (method, format!("auto chose the method {method}, for {why}"))
}
