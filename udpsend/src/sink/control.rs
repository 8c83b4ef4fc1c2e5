//! Control messages beside a received datagram (cmsg(3)), read from their bytes.

/// What the kernel says beside a message; each part only when it was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ancillary {
    /// Size of the datagrams that GRO has joined (UDP_GRO); `None` for a single one.
    pub stride: Option<u32>,
    /// When the kernel received it, CLOCK_REALTIME in nanoseconds (SO_TIMESTAMPNS).
    pub received_wall_ns: Option<u64>,
    /// Datagrams dropped at the socket until then, modulo 2^32 (SO_RXQ_OVFL).
    pub dropped: Option<u32>,
}

const WORD: usize = size_of::<usize>();
/// A cmsghdr: length, level, type.
const HEADER: usize = WORD + 8;

/// Reads the control messages that it knows; what is cut off or unknown is passed over.
#[must_use]
#[inline]
pub fn parse(mut control: &[u8]) -> Ancillary {
    let mut ancillary = Ancillary::default();
    while let Some(header) = control.first_chunk::<HEADER>() {
        let len = usize::from_ne_bytes(word(header, 0));
        let Some(data) = control.get(HEADER..len) else {
            break;
        };
        let kind = (i32::from_ne_bytes(word(header, WORD)), i32::from_ne_bytes(word(header, WORD + 4)));
        match kind {
            (libc::SOL_UDP, libc::UDP_GRO) => ancillary.stride = number(data),
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => ancillary.dropped = number(data),
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => ancillary.received_wall_ns = timespec(data),
            _ => {}
        }
        control = control.get(len.next_multiple_of(WORD)..).unwrap_or_default();
    }
    ancillary
}

/// A control message as the kernel writes it, padded: for tests and seeds.
#[must_use]
pub fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
    let mut bytes = (HEADER + data.len()).to_ne_bytes().to_vec();
    bytes.extend(level.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(WORD), 0);
    bytes
}

/// `N` bytes from `at`, which the caller knows to be there.
#[inline]
fn word<const N: usize>(bytes: &[u8; HEADER], at: usize) -> [u8; N] {
    std::array::from_fn(|index| bytes[at + index])
}

fn number(data: &[u8]) -> Option<u32> {
    data.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn timespec(data: &[u8]) -> Option<u64> {
    let half = size_of::<libc::timespec>() / 2;
    let part = |bytes: &[u8]| match bytes.len() {
        8 => bytes.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes)),
        _ => bytes.first_chunk().map(|bytes| u64::from(u32::from_ne_bytes(*bytes))),
    };
    let (seconds, nanoseconds) = (part(data.get(..half)?)?, part(data.get(half..2 * half)?)?);
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn miri_messages_cut_off_anywhere_are_read_to_their_end() {
        let mut control = message(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS, &[1; 16]);
        control.extend(message(libc::SOL_UDP, libc::UDP_GRO, &9_u32.to_ne_bytes()));
        for end in 0..=control.len() {
            let ancillary = parse(&control[..end]);
            assert_eq!(ancillary.stride.is_some(), end >= control.len() - 4, "{end} bytes");
        }
        // Lengths that lie: shorter than a header, longer than what is there, the largest.
        for len in [0, 1, HEADER - 1, HEADER, control.len() + 1, usize::MAX] {
            control[..WORD].copy_from_slice(&len.to_ne_bytes());
            let _ = parse(&control);
        }
    }

    #[test]
    fn known_messages_are_read_among_others() {
        let mut control = message(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &7_u32.to_ne_bytes());
        control.extend(message(libc::SOL_IP, 99, &[1; 5]));
        control.extend(message(libc::SOL_UDP, libc::UDP_GRO, &1472_u32.to_ne_bytes()));
        let expected = Ancillary { stride: Some(1472), dropped: Some(7), received_wall_ns: None };
        assert_eq!(parse(&control), expected);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic_and_to_an_end(control in proptest::collection::vec(0_u8..20, 0..200)) {
            let _ = parse(&control);
        }
    }
}
