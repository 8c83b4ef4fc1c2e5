//! The choice of `--method auto`.

use std::net::SocketAddr;

use meter::Result;

use crate::{
    method::kind::Method,
    sizes::Sizes,
    socket::{Flow, SocketOptions},
};

/// What of the way to a target matters for the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Largest UDP payload that goes in one packet, in bytes.
    pub payload_bytes: u32,
    /// Whether the kernel cuts a send into segments.
    pub can_segment: bool,
}

impl Path {
    /// The way to `target`, looked up with a socket that sends nothing.
    ///
    /// # Errors
    /// When an option is refused or there is no route.
    pub fn to(target: SocketAddr, options: &SocketOptions) -> Result<Self> {
        let flow = Flow::open(target, 0, options)?;
        let headers = if target.is_ipv6() { 48 } else { 28 };
        let payload_bytes = flow.path_mtu_bytes()?.saturating_sub(headers);
        Ok(Self { payload_bytes, can_segment: flow.can_segment() })
    }
}

/// The fastest method that works for these sizes over these paths, and a sentence that says so. It is
/// never one that passes by the sender's own firewall.
#[must_use]
pub fn choose(sizes: &Sizes, paths: &[Path]) -> (Method, String) {
    let fits = |size: u32| paths.iter().all(|path| size <= path.payload_bytes);
    let (method, why) = match sizes {
        _ if !paths.iter().all(|path| path.can_segment) => (Method::Sendmmsg, "a kernel without UDP_SEGMENT"),
        Sizes::Fixed(size) if !fits(*size) => (Method::Sendmmsg, "datagrams larger than the path's MTU"),
        Sizes::Fixed(_) => (Method::Gso, "datagrams of one size"),
        Sizes::Uniform(..) | Sizes::Mix(_) => (Method::Sendmmsg, "datagrams of several sizes"),
    };
    (method, format!("auto chose the method {method}, for {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segmentation_where_it_is_of_use_and_works() {
        let ethernet = Path { payload_bytes: 1472, can_segment: true };
        let chosen = |sizes: &str, path| choose(&sizes.parse().unwrap(), &[path]).0;
        assert_eq!(chosen("1472", ethernet), Method::Gso);
        assert_eq!(chosen("1473", ethernet), Method::Sendmmsg);
        assert_eq!(chosen("imix", ethernet), Method::Sendmmsg);
        assert_eq!(chosen("64", Path { can_segment: false, ..ethernet }), Method::Sendmmsg);
    }
}
