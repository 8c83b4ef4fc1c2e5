//! Where datagrams go: names resolved, and only to places where a flood is welcome.

use std::net::{IpAddr, SocketAddr};

use meter::{Error, Result, address};

/// The address of `HOST:PORT`, as [`meter::address`] reads it.
///
/// # Errors
/// When the text is no target, the name is unknown (exit code 2), or the address is refused by
/// [`check`].
pub fn resolve(text: &str, allow_public: bool) -> Result<SocketAddr> {
    let address = address::resolve(text)?;
    check(address, allow_public)?;
    Ok(address)
}

/// Refuses what must not be flooded: broadcast, multicast and the unspecified address always, and
/// without `allow_public` every address that is not loopback, link-local or private
/// (RFC 1918, RFC 3927, RFC 4193, RFC 4291).
///
/// # Errors
/// Says why, and what to try (exit code 2).
pub fn check(target: SocketAddr, allow_public: bool) -> Result<()> {
    let ip = target.ip().to_canonical();
    let refuse = |why: &str| Err(Error::bad_arguments(format!("{target} is {why}: it is never flooded")));
    if target.port() == 0 {
        return Err(Error::bad_arguments(format!("{target} has port 0; name a port")));
    }
    if ip.is_multicast() {
        return refuse("a multicast address");
    }
    if ip.is_unspecified() {
        return refuse("the unspecified address");
    }
    if ip == IpAddr::from([255, 255, 255, 255]) {
        return refuse("the broadcast address");
    }
    if is_local(ip) || allow_public {
        return Ok(());
    }
    Err(Error::bad_arguments(format!(
        "{target} is neither loopback, link-local nor private; pass --allow-public if it is yours to flood"
    )))
}

fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_targets_without_the_flag() {
        for text in [
            "127.0.0.1:9",
            "10.1.2.3:9",
            "192.168.0.1:9",
            "172.16.0.1:9",
            "169.254.1.1:9",
            "[::1]:9",
            "[fd00::1]:9",
        ] {
            assert!(resolve(text, false).is_ok(), "{text}");
        }
        for text in ["8.8.8.8:9", "[2001:db8::1]:9", "100.64.0.1:9", "[::ffff:8.8.8.8]:9", "172.32.0.1:9"] {
            assert_eq!(resolve(text, false).unwrap_err().kind().exit_code(), 2, "{text}");
            assert!(resolve(text, true).is_ok(), "{text}");
        }
    }

    #[test]
    fn never_broadcast_multicast_or_nowhere() {
        for text in [
            "255.255.255.255:9",
            "224.0.0.1:9",
            "[ff02::1]:9",
            "0.0.0.0:9",
            "[::]:9",
            "[::ffff:224.0.0.1]:9",
            "127.0.0.1:0",
        ] {
            assert!(resolve(text, true).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_leads_to_a_place_that_is_never_flooded(text in "\\[?[0-9a-f.:]{0,24}(%[a-z0-9]{0,3})?\\]?:[0-9]{0,6}") {
            if let Ok(target) = resolve(&text, true) {
                let ip = target.ip().to_canonical();
                proptest::prop_assert!(!ip.is_multicast() && !ip.is_unspecified() && target.port() != 0);
            }
        }
    }

    #[test]
    fn a_scope_may_be_a_name() {
        let address = resolve("[fe80::1%lo]:9", false).unwrap();
        assert!(matches!(address, SocketAddr::V6(v6) if v6.scope_id() == 1));
        assert_eq!(resolve("[fe80::1%nowhere0]:9", false).unwrap_err().kind().exit_code(), 3);
    }
}
