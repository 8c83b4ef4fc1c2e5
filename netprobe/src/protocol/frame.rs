//! Frames of the control connection: a length of four bytes (big-endian), then that many bytes.

use std::io;

/// Longest frame that a client may send, in bytes: an order with a full list of CPUs fits.
pub const REQUEST_LIMIT: usize = 16 << 10;

/// Longest frame that a server may send, in bytes: a report of many flows fits.
pub const REPLY_LIMIT: usize = 4 << 20;

/// Bytes of the length before each frame.
const HEAD: usize = 4;

/// Puts a received stream of bytes together to frames. It never holds more than one longest frame
/// and what one read brought.
#[derive(Debug)]
pub struct Assembler {
    bytes: Vec<u8>,
    limit: usize,
}

impl Assembler {
    /// Accepts frames of up to `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit }
    }

    /// Takes in received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next complete frame, if there is one.
    ///
    /// # Errors
    /// `InvalidData` for a length beyond the limit, known from its four bytes alone: nothing is
    /// kept in memory for it.
    pub fn next_frame(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some((head, rest)) = self.bytes.split_first_chunk::<HEAD>() else { return Ok(None) };
        let length = u32::from_be_bytes(*head) as usize;
        if length > self.limit {
            let told = format!("a frame of {length} bytes, longer than the {} allowed", self.limit);
            return Err(io::Error::new(io::ErrorKind::InvalidData, told));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let frame = rest[..length].to_vec();
        self.bytes.drain(..HEAD + length);
        Ok(Some(frame))
    }

    /// Whether nothing of a next frame has arrived.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// `payload` as a frame.
///
/// # Errors
/// `InvalidInput` when it is longer than 4 GiB.
pub fn encode(payload: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(payload.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a frame longer than 4 GiB"))?;
    let mut frame = Vec::with_capacity(HEAD + payload.len());
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(payload);
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_survive_any_splitting(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..8), step in 1_usize..20) {
            let wire: Vec<u8> = frames.iter().flat_map(|frame| encode(frame).unwrap()).collect();
            let mut assembler = Assembler::new(50);
            let mut found = Vec::new();
            for piece in wire.chunks(step) {
                assembler.push(piece);
                while let Some(frame) = assembler.next_frame().unwrap() {
                    found.push(frame);
                }
            }
            prop_assert_eq!(found, frames);
            prop_assert!(assembler.is_empty());
        }
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_from_its_length() {
        let mut assembler = Assembler::new(10);
        assembler.push(&[0, 0, 0, 11]);
        assert_eq!(assembler.next_frame().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
