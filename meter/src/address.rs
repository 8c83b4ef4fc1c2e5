//! Addresses as typed, without the resolver of the C library: the one parser of every tool.
//!
//! A static binary can't count on name services: they are shared libraries that a guest may not have.
//! So a host is an IP address, `localhost`, or a name in /etc/hosts, and nothing is ever asked on a network.
//! An IPv6 address may carry its scope (RFC 4007 §11), an interface by name or number: `fe80::1%eth0`.

use std::{
    ffi::CString,
    fmt, fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
};

use serde::{Serialize, Serializer};

use crate::{Error, Result, sys};

/// An IP address with its scope: what a socket is bound to when no port is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// The address.
    pub ip: IpAddr,
    /// Number of the interface that an IPv6 address belongs to; 0 when none was named.
    pub scope_id: u32,
}

impl Host {
    /// The same host with a port.
    #[must_use]
    pub fn with_port(self, port: u16) -> SocketAddr {
        match self.ip {
            IpAddr::V4(ip) => SocketAddr::new(ip.into(), port),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, self.scope_id).into(),
        }
    }

    /// This host as the near end of a socket whose far end is `peer`: a link-local address without a scope takes
    /// that of the peer, for both are on one link.
    #[must_use]
    pub fn toward(self, peer: SocketAddr) -> Self {
        match peer {
            SocketAddr::V6(peer) if lacks_scope(self.with_port(0)) => {
                Self { scope_id: peer.scope_id(), ..self }
            }
            _ => self,
        }
    }
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Self {
        Self { ip, scope_id: 0 }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ip)?;
        if self.scope_id == 0 { Ok(()) } else { write!(f, "%{}", self.scope_id) }
    }
}

impl Serialize for Host {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Host {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Host".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "An IP address; an IPv6 address may have the number of its interface behind it: `fe80::1%2`."
        })
    }
}

/// The address that `text` means: `10.0.0.1:9000`, `[fe80::1%eth0]:9000`, `localhost:9000`, `name:9000`. For targets and
/// for listeners.
///
/// # Errors
/// Exit code 2, with what to write instead, for a port that is none and a name that /etc/hosts lacks; exit code 3
/// for a scope that is no interface of this network namespace.
pub fn resolve(text: &str) -> Result<SocketAddr> {
    resolve_with(text, &hosts())
}

/// The address that `text` means where no port belongs: `10.0.0.1`, `fe80::1%eth0` (brackets allowed), `localhost`, a name.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_host(text: &str) -> Result<Host> {
    host_with(text, &hosts(), |what| {
        Error::bad_arguments(format!(
            "`{text}`: {what}; write an address without a port, such as 10.0.0.2 or fe80::2%eth0"
        ))
    })
}

/// Whether an address tells too little to be used on its own: link-local IPv6 is on every interface, and no
/// interface is named. The kernel refuses it with `EINVAL` unless the socket is bound to a device.
#[must_use]
pub fn lacks_scope(address: SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() && v6.scope_id() == 0)
}

/// The error for an address that [`lacks_scope`] (exit code 2).
#[must_use]
pub fn scope_missing(address: SocketAddr) -> Error {
    let ip = address.ip();
    let example = match address.port() {
        0 => format!("{ip}%eth0"),
        port => format!("[{ip}%eth0]:{port}"),
    };
    Error::bad_arguments(format!("{ip} is link-local and on every interface; name one, such as {example}"))
}

/// Number of the interface of that name (if_nametoindex(3)); `None` when there is none.
#[must_use]
pub fn interface_index(name: &str) -> Option<u32> {
    sys::if_nametoindex(&CString::new(name).ok()?)
}

fn hosts() -> String {
    // A machine without the file knows no names; addresses need none.
    fs::read_to_string("/etc/hosts").unwrap_or_default()
}

fn resolve_with(text: &str, hosts: &str) -> Result<SocketAddr> {
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
    if host.contains(':') && !host.starts_with('[') {
        return Err(wrong("an IPv6 address stands in brackets"));
    }
    Ok(host_with(host, hosts, wrong)?.with_port(port))
}

fn host_with(text: &str, hosts: &str, wrong: impl Fn(&str) -> Error) -> Result<Host> {
    let bracketed = text.strip_prefix('[').map(|rest| rest.strip_suffix(']'));
    if let Some(inner) = bracketed {
        let v6 = inner.and_then(|inner| parse_v6(inner).transpose()).transpose()?;
        return v6.ok_or_else(|| wrong("brackets are for one IPv6 address"));
    }
    if let Some(host) = parse_v6(text)? {
        return Ok(host);
    }
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return Ok(IpAddr::from(ip).into());
    }
    match lookup(text, hosts) {
        Some(host) => Ok(host),
        None if text == "localhost" => Ok(IpAddr::from(Ipv4Addr::LOCALHOST).into()),
        None => Err(wrong(&format!(
            "`{text}` is neither an IP address nor a name in /etc/hosts, and a static binary asks no name server"
        ))),
    }
}

/// An IPv6 address, perhaps with a scope; `None` when `text` is something else.
fn parse_v6(text: &str) -> Result<Option<Host>> {
    let (address, scope) = match text.split_once('%') {
        Some((address, scope)) => (address, Some(scope)),
        None => (text, None),
    };
    let Ok(ip) = address.parse::<Ipv6Addr>() else {
        return Ok(None);
    };
    let scope_id = scope.map_or(Ok(0), |scope| {
        // By name first, as getaddrinfo(3) does: an interface may be called `2`.
        let numbered = || scope.parse().ok().filter(|&index| sys::interface_exists(index));
        interface_index(scope).or_else(numbered).ok_or_else(|| {
            Error::unavailable(format!("there is no network interface `{scope}`; see `ip link`"))
        })
    })?;
    Ok(Some(Host { ip: ip.into(), scope_id }))
}

/// The first address of `name` in a hosts(5) file, IPv4 before IPv6.
fn lookup(name: &str, hosts: &str) -> Option<Host> {
    let addresses = hosts.lines().filter_map(|line| {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let address = words.next()?;
        if !words.any(|word| word.eq_ignore_ascii_case(name)) {
            return None;
        }
        let v4 = || address.parse::<Ipv4Addr>().ok().map(|ip| IpAddr::from(ip).into());
        // A scope that is no interface here makes the line unusable, as any other that can't be read.
        parse_v6(address).ok().flatten().or_else(v4)
    });
    addresses.min_by_key(|host| host.ip.is_ipv6())
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
            ("[fe80::1%lo]:9", "[fe80::1%1]:9"),
            ("[fe80::1%1]:9", "[fe80::1%1]:9"),
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
        for text in [
            "",
            "10.0.0.1",
            "commented:1",
            "host:99999",
            ":5",
            "fd00::2:5:x",
            "fd00::2",
            "a:b:1",
            "[fd00::2:5",
            "[guest]:5",
            "[10.0.0.1]:5",
            "10.0.0.1%lo:5",
            "[::1]",
            "[]:1",
            "[%lo]:1",
        ] {
            let error = resolve_with(text, HOSTS).unwrap_err();
            assert_eq!(error.kind().exit_code(), 2, "{text}");
            assert!(error.to_string().contains("HOST:PORT"), "{error}");
        }
    }

    #[test]
    fn a_host_alone_takes_a_scope_and_no_port() {
        for (text, expected) in [
            ("10.0.0.1", "10.0.0.1"),
            ("fe80::1%lo", "fe80::1%1"),
            ("[fe80::1%lo]", "fe80::1%1"),
            ("::1", "::1"),
        ] {
            assert_eq!(resolve_host(text).unwrap().to_string(), expected);
        }
        for text in ["10.0.0.1:5", "", "10.0.0.1%lo", "[::1]:5", "nowhere.invalid"] {
            let error = resolve_host(text).unwrap_err();
            assert_eq!(error.kind().exit_code(), 2, "{text}");
            assert!(error.to_string().contains("fe80::2%eth0"), "{error}");
        }
    }

    #[test]
    fn a_scope_that_is_no_interface_is_what_the_machine_lacks() {
        for text in ["fe80::1%nowhere0", "fe80::1%4000000000", "fe80::1%", "fe80::1%lo%lo"] {
            assert_eq!(resolve_host(text).unwrap_err().kind().exit_code(), 3, "{text}");
            assert_eq!(resolve(&format!("[{text}]:9")).unwrap_err().kind().exit_code(), 3, "{text}");
        }
    }

    #[test]
    fn a_link_local_source_takes_the_scope_of_its_peer() {
        let peer = resolve("[fe80::2%lo]:9").unwrap();
        let source = resolve_host("fe80::1").unwrap();
        assert!(lacks_scope(source.with_port(0)) && !lacks_scope(peer));
        assert_eq!(source.toward(peer).scope_id, 1);
        assert_eq!(resolve_host("fd00::1").unwrap().toward(peer).scope_id, 0);
        assert!(scope_missing(resolve("[fe80::1]:9").unwrap()).to_string().contains("[fe80::1%eth0]:9"));
    }
}
