//! Who may connect to a server that asks for no token.

use std::net::IpAddr;

/// Whether `address` belongs to a closed network: loopback, private (RFC 1918, RFC 4193) or
/// link-local (RFC 3927, RFC 4291).
#[must_use]
pub fn is_closed_network(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// The addresses that stand for one peer: an IPv4 address looks the same through an IPv6 socket.
#[must_use]
pub fn same_host(one: IpAddr, other: IpAddr) -> bool {
    one.to_canonical() == other.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_networks_are_those_that_nobody_routes() {
        let closed = [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.3.4",
            "::1",
            "fe80::1",
            "fd00::1",
            "::ffff:10.0.0.1",
        ];
        let open = ["8.8.8.8", "172.32.0.1", "2001:db8::1", "::ffff:8.8.8.8", "100.64.0.1", "0.0.0.0"];
        assert!(closed.iter().all(|address| is_closed_network(address.parse().unwrap())));
        assert!(!open.iter().any(|address| is_closed_network(address.parse().unwrap())));
    }

    #[test]
    fn a_mapped_address_is_the_same_host() {
        assert!(same_host("::ffff:10.0.0.1".parse().unwrap(), "10.0.0.1".parse().unwrap()));
        assert!(!same_host("10.0.0.2".parse().unwrap(), "10.0.0.1".parse().unwrap()));
    }
}
