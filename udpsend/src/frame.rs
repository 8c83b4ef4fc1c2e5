//! Ethernet frames with UDP datagrams, built here for the methods that pass the kernel's stack by.

use std::net::SocketAddr;

use crate::payload::{self, FILLER, HEADER_BYTES, Origin};

/// Bytes of an Ethernet header.
pub const ETHERNET: usize = 14;
const UDP: usize = 8;
const UDP_PROTOCOL: u8 = 17;

/// Ends of a frame on the link: hardware addresses. The loopback device, which has none, is refused before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkEnds {
    /// Address of the interface that sends.
    pub source: [u8; 6],
    /// Address of the next hop.
    pub target: [u8; 6],
}

/// What the headers of a flow's frames have in common.
#[derive(Clone, Copy, Debug)]
pub struct Headers {
    /// Address and port of the sender.
    pub source: SocketAddr,
    /// Address and port of the receiver, of the same family.
    pub target: SocketAddr,
    /// The traffic class byte: DSCP and ECN.
    pub traffic_class: u8,
    /// Time to live or hop limit.
    pub hop_limit: u8,
    /// The don't-fragment bit of IPv4.
    pub dont_fragment: bool,
}

/// Builds the frames of one flow: the headers are ready, but for lengths and checksums.
#[derive(Clone, Debug)]
pub struct FrameBuilder {
    headers: Vec<u8>,
    ipv6: bool,
    /// One's complement sum of the IPv4 header without its length.
    ip_sum: u32,
    /// Sum of pseudo-header and UDP header without the lengths.
    udp_sum: u32,
    origin: Origin,
}

impl FrameBuilder {
    /// For one flow.
    #[must_use]
    pub fn new(link: LinkEnds, headers: &Headers, origin: Origin) -> Self {
        let mut bytes = Vec::with_capacity(ETHERNET + 40 + UDP);
        bytes.extend(link.target);
        bytes.extend(link.source);
        let ipv6 = headers.target.is_ipv6();
        bytes.extend(if ipv6 { [0x86, 0xdd] } else { [0x08, 0x00] });
        let (addresses, ip_sum) = match (headers.source.ip(), headers.target.ip()) {
            (std::net::IpAddr::V4(source), std::net::IpAddr::V4(target)) => {
                let fragment = if headers.dont_fragment { 0x40 } else { 0 };
                bytes.extend([0x45, headers.traffic_class, 0, 0, 0, 0, fragment, 0]);
                bytes.extend([headers.hop_limit, UDP_PROTOCOL, 0, 0]);
                bytes.extend(source.octets());
                bytes.extend(target.octets());
                (sum(&bytes[ETHERNET + 12..]), sum(&bytes[ETHERNET..]))
            }
            (source, target) => {
                let octets = |ip: std::net::IpAddr| match ip {
                    std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                    std::net::IpAddr::V6(ip) => ip.octets(),
                };
                let class = headers.traffic_class;
                bytes.extend([0x60 | class >> 4, class << 4, 0, 0, 0, 0, UDP_PROTOCOL, headers.hop_limit]);
                bytes.extend(octets(source));
                bytes.extend(octets(target));
                (sum(&bytes[ETHERNET + 8..]), 0)
            }
        };
        let udp = bytes.len();
        bytes.extend(headers.source.port().to_be_bytes());
        bytes.extend(headers.target.port().to_be_bytes());
        bytes.extend([0; 4]);
        let udp_sum = addresses + u32::from(UDP_PROTOCOL) + sum(&bytes[udp..]);
        Self { headers: bytes, ipv6, ip_sum, udp_sum, origin }
    }

    /// Bytes of all headers before the payload.
    #[must_use]
    pub fn header_bytes(&self) -> usize {
        self.headers.len()
    }

    /// Writes the frame of a datagram with `size` bytes of payload to the front of `frame` and gives the
    /// length of the frame. The filler of the payload must be there already.
    ///
    /// # Panics
    /// When the buffer is too small.
    #[inline]
    pub fn build(&self, frame: &mut [u8], size: usize, sequence: u64, intended_ns: u64) -> usize {
        let (headers, payload) = frame[..self.headers.len() + size].split_at_mut(self.headers.len());
        payload::stamp(payload, sequence, intended_ns, self.origin);
        headers.copy_from_slice(&self.headers);
        let udp_len = (UDP + size) as u16;
        if self.ipv6 {
            put(headers, ETHERNET + 4, udp_len);
        } else {
            let ip_len = udp_len + 20;
            put(headers, ETHERNET + 2, ip_len);
            put(headers, ETHERNET + 10, !fold(self.ip_sum + u32::from(ip_len)));
        }
        let stamped = size.min(HEADER_BYTES);
        let payload_sum = sum(&payload[..stamped]) + filler_sum(size - stamped);
        let udp_checksum = !fold(self.udp_sum + 2 * u32::from(udp_len) + payload_sum);
        let udp = headers.len() - UDP;
        put(headers, udp + 4, udp_len);
        // Zero means no checksum, so that it is sent as its other form (RFC 768).
        put(headers, udp + 6, if udp_checksum == 0 { 0xffff } else { udp_checksum });
        self.headers.len() + size
    }
}

#[inline]
fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Sum of the big-endian 16-bit words of `bytes`; an odd last byte counts as the upper half of a word
/// (RFC 1071). Good for up to 64 KiB.
#[must_use]
#[inline]
pub fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks_exact(2);
    let odd = words.remainder().first().map_or(0, |byte| u32::from(*byte) << 8);
    words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum::<u32>() + odd
}

/// Sum of `len` bytes of filler that start at an even place.
#[inline]
fn filler_sum(len: usize) -> u32 {
    let words = (len / 2) as u32 * u32::from(u16::from_be_bytes([FILLER; 2]));
    words + if len % 2 == 1 { u32::from(FILLER) << 8 } else { 0 }
}

/// Folds a sum into 16 bits, the carries added again.
#[must_use]
#[inline]
pub fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn builder(source: &str, target: &str) -> FrameBuilder {
        let headers = Headers {
            source: source.parse().unwrap(),
            target: target.parse().unwrap(),
            traffic_class: 0xb8,
            hop_limit: 64,
            dont_fragment: true,
        };
        let link = LinkEnds { source: [2, 0, 0, 0, 0, 1], target: [2, 0, 0, 0, 0, 2] };
        FrameBuilder::new(link, &headers, Origin { clock: 7, run: 9 })
    }

    proptest! {
        #[test]
        fn checksums_hold_for_every_size(size in 1_usize..1473, sequence: u64, intended: u64, port in 1_u16..) {
            for (source, target) in [("10.0.0.1", "10.9.8.7"), ("[fd00::1]", "[fd00::abcd:2]")] {
                let builder = builder(&format!("{source}:{port}"), &format!("{target}:5010"));
                let mut frame = vec![FILLER; 1600];
                let len = builder.build(&mut frame, size, sequence, intended);
                prop_assert_eq!(len, builder.header_bytes() + size);
                let udp = &frame[builder.header_bytes() - UDP..len];
                let ip = &frame[ETHERNET..builder.header_bytes() - UDP];
                let addresses = if ip[0] >> 4 == 4 {
                    prop_assert_eq!(fold(sum(ip)), 0xffff, "IPv4 header");
                    &ip[12..20]
                } else {
                    &ip[8..40]
                };
                let there: SocketAddr = format!("{target}:5010").parse().unwrap();
                let octets = match there.ip() {
                    std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
                    std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
                };
                prop_assert!(addresses.ends_with(&octets), "the target's address");
                let field = |at: usize| u16::from_be_bytes([udp[at], udp[at + 1]]);
                prop_assert_eq!((field(0), field(2), field(4)), (port, 5010, (UDP + size) as u16));
                let mut payload = vec![FILLER; size];
                payload::stamp(&mut payload, sequence, intended, Origin { clock: 7, run: 9 });
                prop_assert_eq!(&udp[UDP..], &payload[..], "the payload is that of the other methods");
                let pseudo = sum(addresses) + udp.len() as u32 + u32::from(UDP_PROTOCOL);
                prop_assert_eq!(fold(pseudo + sum(udp)), 0xffff, "UDP over {} bytes", size);
            }
        }
    }

    #[test]
    fn the_fields_are_where_the_rfcs_have_them() {
        let builder = builder("10.0.0.1:1000", "10.9.8.7:5010");
        let mut frame = vec![FILLER; 200];
        let len = builder.build(&mut frame, 100, 1, 2);
        assert_eq!(len, 14 + 20 + 8 + 100);
        assert_eq!(frame[..6], [2, 0, 0, 0, 0, 2], "destination first");
        assert_eq!(frame[14..18], [0x45, 0xb8, 0, 128], "version, traffic class, total length");
        assert_eq!(frame[20..24], [0x40, 0, 64, 17], "don't fragment, hop limit, UDP");
        assert_eq!(frame[34..40], [0x03, 0xe8, 0x13, 0x92, 0, 108], "ports and length");
    }
}
