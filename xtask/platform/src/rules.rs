//! Rules for values of a plan that programs take as arguments.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use plan::Sources;

/// What a value must be, if it is not.
pub(crate) type Rule = fn(&str) -> Option<&'static str>;

/// Applies to each key's value its rule; `path` is where the keys are.
///
/// # Errors
/// With file and line, for the first value that its rule refuses.
pub(crate) fn check(
    sources: &Sources,
    path: &[&str],
    values: &[(&'static str, Option<&String>, Rule)],
) -> Result<()> {
    for (key, value, rule) in values {
        if let Some((value, must)) = value.and_then(|value| Some((value, rule(value)?))) {
            let message = format!("`{key}` is `{}`; it must be {must}", value.escape_debug());
            return Err(sources.error(&[path, &[key]].concat(), message));
        }
    }
    Ok(())
}

/// Names that programs take as an argument: never an option, never more than a line.
pub(crate) fn host(name: &str) -> Option<&'static str> {
    let good = !name.is_empty() && !name.starts_with('-') && !name.contains(char::is_control);
    (!good).then_some("a name that does not begin with a dash")
}

/// Something that is compared as a whole.
pub(crate) fn text(text: &str) -> Option<&'static str> {
    let good = !text.trim().is_empty() && !text.contains(char::is_control);
    (!good).then_some("one line that is not empty")
}

/// A path that means the same wherever a program was started.
pub(crate) fn absolute(path: &str) -> Option<&'static str> {
    (!path.starts_with('/') || path.contains(char::is_control)).then_some("an absolute path")
}

/// An address, not a name.
pub(crate) fn address(text: &str) -> Option<&'static str> {
    text.parse::<IpAddr>().is_err().then_some("an IP address")
}

/// The address of an interface.
pub(crate) fn mac(text: &str) -> Option<&'static str> {
    let octets: Vec<&str> = text.split(':').collect();
    let good = octets.len() == 6
        && octets.iter().all(|octet| octet.len() == 2 && u8::from_str_radix(octet, 16).is_ok());
    (!good).then_some("a MAC address such as 52:54:00:00:00:03")
}

/// An address with the length of its network.
pub(crate) fn network(text: &str) -> Option<&'static str> {
    let parsed = text.split_once('/').and_then(|(address, length)| {
        let length: u8 = length.parse().ok()?;
        (address.parse::<Ipv4Addr>().is_ok() && (8..=30).contains(&length)).then_some(())
    });
    parsed.is_none().then_some("an IPv4 address with the length of its network, such as 10.77.1.1/24")
}
