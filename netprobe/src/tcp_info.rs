//! TCP_INFO: what the kernel knows of a connection.

use std::{io, os::fd::AsFd};

use crate::{protocol::report::TcpInfo, sys};

/// Reads TCP_INFO of `socket`, for flow number `flow`.
///
/// # Errors
/// When `socket` is no TCP socket.
pub fn read(socket: impl AsFd, flow: u32) -> io::Result<TcpInfo> {
    let mut bytes = [0; 256];
    let length = sys::tcp_info(socket.as_fd(), &mut bytes)?;
    Ok(parse(&bytes[..length], flow))
}

/// Reads `struct tcp_info` by its offsets, which never change (linux/tcp.h): an older kernel gives fewer
/// bytes, a newer one more.
fn parse(bytes: &[u8], flow: u32) -> TcpInfo {
    let long = |offset: usize| -> Option<u64> {
        Some(u64::from_ne_bytes(bytes.get(offset..offset + 8)?.try_into().ok()?))
    };
    let word = |offset: usize| -> Option<u64> {
        Some(u32::from_ne_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?).into())
    };
    let from_us = |value: Option<u64>| value.map(|us| us.saturating_mul(1000));
    TcpInfo {
        flow,
        rtt_ns: from_us(word(68)),
        rtt_deviation_ns: from_us(word(72)),
        // ~0 until a first round trip was measured.
        rtt_min_ns: from_us(word(148).filter(|&us| us != u64::from(u32::MAX))),
        retransmits: word(100),
        congestion_window_segments: word(80),
        // TCP_INFINITE_SSTHRESH of net/tcp.h.
        slow_start_threshold_segments: word(76).filter(|&segments| segments < 0x7fff_ffff),
        segment_bytes: word(16),
        path_mtu_bytes: word(60),
        unsent_bytes: word(144),
        delivery_bytes_per_s: long(160),
        busy_ns: from_us(long(168)),
        receive_window_limited_ns: from_us(long(176)),
        send_buffer_limited_ns: from_us(long(184)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_length_is_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            parse(&bytes, 0);
        }
    }

    #[test]
    fn a_connection_over_loopback_has_a_round_trip() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let info = read(&socket, 3).unwrap();
        assert_eq!(info.flow, 3);
        assert!(info.rtt_ns.unwrap() > 0 && info.congestion_window_segments.unwrap() > 0);
        assert!(info.path_mtu_bytes.unwrap() >= 1280, "{info:?}");
        assert_eq!(info.retransmits, Some(0));
    }

    #[test]
    fn what_an_old_kernel_does_not_give_is_missing() {
        assert_eq!(parse(&[0; 104], 0).delivery_bytes_per_s, None);
        assert_eq!(parse(&[0; 104], 0).retransmits, Some(0));
    }
}
