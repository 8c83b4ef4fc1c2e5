//! `HOST:PORT` as an address, without the resolver of the C library.
//!
//! A static binary can't count on name services: they are shared libraries that a guest may not have.
//! So a host is an IP address, `localhost`, or a name in /etc/hosts, and nothing is ever asked on a network.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use crate::{Error, Result};

/// Finds the address that `text` means: `10.0.0.1:9000`, `[fe80::1%2]:9000`, `localhost:9000`, `name:9000`.
///
/// # Errors
/// Exit code 2, with what to write instead, for a port that is none and a name that /etc/hosts lacks.
pub fn resolve(text: &str) -> Result<SocketAddr> {
    resolve_with(text, &fs::read_to_string("/etc/hosts").unwrap_or_default())
}

fn resolve_with(text: &str, hosts: &str) -> Result<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let wrong = |what: &str| {
        Error::bad_arguments(format!(
            "`{text}`: {what}; write HOST:PORT, such as 10.0.0.2:9000 or [fd00::2]:9000"
        ))
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("it has no port"))?;
    let port = port.parse().map_err(|_| wrong("its port is not a number from 0 to 65535"))?;
    if host.is_empty() {
        return Err(wrong("it has no host"));
    }
    if host.contains(':') {
        return Err(wrong("an IPv6 address stands in brackets"));
    }
    match lookup(host, hosts) {
        Some(ip) => Ok(SocketAddr::new(ip, port)),
        None if host == "localhost" => Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)),
        None => Err(wrong(&format!(
            "`{host}` is neither an IP address nor a name in /etc/hosts, and a static binary asks no name server"
        ))),
    }
}

/// The first address of `name` in a hosts(5) file, IPv4 before IPv6.
fn lookup(name: &str, hosts: &str) -> Option<IpAddr> {
    let addresses = hosts.lines().filter_map(|line| {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    });
    addresses.min_by_key(IpAddr::is_ipv6)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str =
        "::1 localhost ip6-localhost\n127.0.0.1 localhost\n# 1.1.1.1 commented\n10.0.0.7 Guest guest-b\n";

    #[test]
    fn addresses_and_names_of_the_hosts_file_are_found() {
        for (text, expected) in [
            ("10.0.0.1:9000", "10.0.0.1:9000"),
            ("[fd00::2]:1", "[fd00::2]:1"),
            ("localhost:80", "127.0.0.1:80"),
            ("guest:5", "10.0.0.7:5"),
            ("guest-b:5", "10.0.0.7:5"),
        ] {
            assert_eq!(resolve_with(text, HOSTS).unwrap().to_string(), expected);
        }
        assert_eq!(resolve_with("localhost:80", "").unwrap().to_string(), "127.0.0.1:80");
    }

    #[test]
    fn everything_else_is_refused_with_what_to_write() {
        for text in ["", "10.0.0.1", "commented:1", "host:99999", ":5", "fd00::2:5:x", "fd00::2", "a:b:1"] {
            let error = resolve_with(text, HOSTS).unwrap_err();
            assert_eq!(error.kind().exit_code(), 2, "{text}");
            assert!(error.to_string().contains("HOST:PORT"), "{error}");
        }
    }
}
