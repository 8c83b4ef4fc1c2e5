//! Messages of netlink(7), written and read as bytes: no system call, so that any answer can be tried on them.

use std::{io, net::IpAddr};

/// Bytes of a header (`struct nlmsghdr`).
pub const HEADER: usize = 16;

/// A request: its kind, its flags and its body.
pub fn request(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let flags = flags | libc::NLM_F_REQUEST as u16;
    let mut message = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// Takes one message from the front of `messages` and gives its body; `None` ends a list.
pub fn next_message(messages: &mut &[u8]) -> io::Result<Option<Vec<u8>>> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let len = messages.get(..4).and_then(number).ok_or_else(malformed)? as usize;
    let kind = messages.get(4..6).and_then(|kind| kind.first_chunk()).ok_or_else(malformed)?;
    let kind = i32::from(u16::from_ne_bytes(*kind));
    let body = messages.get(HEADER..len).ok_or_else(malformed)?;
    *messages = messages.get(len.next_multiple_of(4)..).unwrap_or_default();
    match kind {
        libc::NLMSG_DONE => Ok(None),
        libc::NLMSG_ERROR => match body.get(..4).and_then(number).ok_or_else(malformed)? {
            0 => Ok(Some(Vec::new())),
            error => Err(io::Error::from_raw_os_error((error as i32).wrapping_neg())),
        },
        _ => Ok(Some(body.to_vec())),
    }
}

/// Appends an attribute (`struct rtattr`), padded to four bytes.
pub fn attribute(message: &mut Vec<u8>, kind: u16, data: &[u8]) {
    message.extend((4 + data.len() as u16).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(data);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// Data of the first attribute of that kind.
pub fn find(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let header: &[u8; 4] = attributes.first_chunk()?;
        let len = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let data = attributes.get(4..len)?;
        if u16::from_ne_bytes([header[2], header[3]]) == kind {
            return Some(data);
        }
        attributes = attributes.get(len.next_multiple_of(4)..)?;
    }
}

/// Text up to its NUL.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

/// A 32-bit number at the front.
pub fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// An address of either family.
pub fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes.first_chunk::<4>().map(|bytes| IpAddr::from(*bytes)),
        16 => bytes.first_chunk::<16>().map(|bytes| IpAddr::from(*bytes)),
        _ => None,
    }
}

/// The bytes of an address.
pub fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// Its address family.
pub fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv6() { libc::AF_INET6 as u8 } else { libc::AF_INET as u8 }
}

/// Bits of the prefix that is one address alone.
pub fn prefix_bits(ip: IpAddr) -> u8 {
    if ip.is_ipv6() { 128 } else { 32 }
}

/// A 16-bit number at the front.
pub fn short(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}
