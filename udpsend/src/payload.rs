//! What a datagram carries: its number, its intended time, and who sent it.
//!
//! All numbers are little-endian. A payload carries as many of these fields as fit, from the front:
//!
//! | bytes | field |
//! |---|---|
//! | 0–7 | number of the datagram within its flow, from 0 |
//! | 8–15 | intended send time, CLOCK_MONOTONIC of the sender, in nanoseconds |
//! | 16–19 | the sender's clock: equal for all processes of one booted kernel and time namespace |
//! | 20–23 | mark of this protocol (16 bits) and of the sender's run (16 bits) |
//!
//! What follows is filler.

use std::{
    fs,
    hash::{BuildHasher, Hasher, RandomState},
};

/// Bytes of the first field, the number. A smaller payload has none, and takes none from its flow.
pub const NUMBER_BYTES: usize = 8;

/// Whether a payload of that many bytes has room for its number.
#[must_use]
#[inline]
pub fn has_number(bytes: usize) -> bool {
    bytes >= NUMBER_BYTES
}

/// What the bytes behind the header are.
pub const FILLER: u8 = 0xa5;

/// Bytes of a complete header.
pub const HEADER_BYTES: usize = 24;

/// Marks a datagram as ours: the upper half of the last field.
const MARK: u32 = 0x10a7 << 16;

/// The parts of the header that are the same in all datagrams of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The sender's clock.
    pub clock: u32,
    /// The sender's run: another start of the program has another number.
    pub run: u16,
}

impl Origin {
    /// This process, with a random number for its run.
    #[must_use]
    pub fn here() -> Self {
        Self { clock: local_clock(), run: RandomState::new().build_hasher().finish() as u16 }
    }
}

/// A number for this kernel's CLOCK_MONOTONIC: made from the boot id and the time namespace, since
/// two processes that have both in common read the same clock (random(4), time_namespaces(7)). Where the boot
/// id is hidden it is another number each time: no clock is known to be the same, and no delay is told.
#[must_use]
pub fn local_clock() -> u32 {
    let namespace = fs::read_link("/proc/self/ns/time").unwrap_or_default();
    // A container masks a file by an empty one.
    let boot = fs::read("/proc/sys/kernel/random/boot_id").ok().filter(|id| !id.is_empty());
    clock_of(boot.as_deref(), namespace.as_os_str().as_encoded_bytes())
}

fn clock_of(boot: Option<&[u8]>, namespace: &[u8]) -> u32 {
    let Some(boot) = boot else { return RandomState::new().build_hasher().finish() as u32 };
    // FNV-1a.
    boot.iter()
        .chain(namespace)
        .fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Writes the header of one datagram into the front of `payload`, as much of it as fits.
#[inline]
pub fn stamp(payload: &mut [u8], sequence: u64, intended_ns: u64, origin: Origin) {
    if let Some(header) = payload.first_chunk_mut::<HEADER_BYTES>() {
        header[..8].copy_from_slice(&sequence.to_le_bytes());
        header[8..16].copy_from_slice(&intended_ns.to_le_bytes());
        header[16..20].copy_from_slice(&origin.clock.to_le_bytes());
        header[20..].copy_from_slice(&(MARK | u32::from(origin.run)).to_le_bytes());
        return;
    }
    if let Some(field) = payload.first_chunk_mut::<NUMBER_BYTES>() {
        *field = sequence.to_le_bytes();
    }
    if let Some(field) = payload.get_mut(8..16) {
        field.copy_from_slice(&intended_ns.to_le_bytes());
    }
}

/// What a received payload says. What it has no room for is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Large enough for the whole header, but without its mark: not one of ours.
    Foreign,
    /// Ours, as far as can be told.
    Ours {
        /// Number within its flow.
        sequence: Option<u64>,
        /// Intended send time by the sender's clock, in nanoseconds.
        intended_ns: Option<u64>,
        /// Clock and run of the sender.
        origin: Option<Origin>,
    },
}

/// Reads the header of a received payload.
#[must_use]
#[inline]
pub fn parse(payload: &[u8]) -> Parsed {
    let Some(header) = payload.first_chunk::<HEADER_BYTES>() else {
        let field = |from: usize| Some(u64::from_le_bytes(*payload.get(from..from + 8)?.first_chunk()?));
        return Parsed::Ours { sequence: field(0), intended_ns: field(8), origin: None };
    };
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    if word(20) & 0xffff_0000 != MARK {
        return Parsed::Foreign;
    }
    Parsed::Ours {
        sequence: Some(long(0)),
        intended_ns: Some(long(8)),
        origin: Some(Origin { clock: word(16), run: word(20) as u16 }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_a_boot_id_no_two_clocks_are_the_same() {
        assert_eq!(clock_of(Some(b"a"), b"ns"), clock_of(Some(b"a"), b"ns"));
        assert_ne!(clock_of(Some(b"a"), b"ns"), clock_of(Some(b"b"), b"ns"));
        let hidden: Vec<u32> = (0..4).map(|_| clock_of(None, b"ns")).collect();
        assert!(hidden.windows(2).any(|pair| pair[0] != pair[1]), "{hidden:?}");
        assert_eq!(local_clock(), local_clock(), "this machine shows its boot id");
    }

    proptest! {
        #[test]
        fn a_header_of_any_length_reads_back(len in 0_usize..80, sequence: u64, intended: u64, clock: u32, run: u16) {
            let origin = Origin { clock, run };
            let mut payload = vec![0xaa; len];
            stamp(&mut payload, sequence, intended, origin);
            let expected = Parsed::Ours {
                sequence: (len >= 8).then_some(sequence),
                intended_ns: (len >= 16).then_some(intended),
                origin: (len >= 24).then_some(origin),
            };
            prop_assert_eq!(parse(&payload), expected);
            prop_assert!(payload.iter().skip(HEADER_BYTES).all(|&byte| byte == 0xaa));
        }

        #[test]
        fn any_bytes_are_read_without_panic(payload: Vec<u8>) {
            let _ = parse(&payload);
        }
    }

    #[test]
    fn someone_elses_datagram_is_told_apart() {
        assert_eq!(parse(&[7; 64]), Parsed::Foreign);
    }
}
