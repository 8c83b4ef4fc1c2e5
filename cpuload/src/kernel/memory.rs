//! `memory`: the memory bus. Copies one half of a large buffer to the other, from the beginning to
//! the end and again. One operation is 4 KiB copied: 4 KiB read, 4 KiB written. It touches its whole
//! working set, which has to be larger than the last-level cache to reach the memory.

use std::hint::black_box;

use meter::Result;

use super::{Work, buffer};

/// Words of one operation.
const OPERATION: usize = 4096 / 8;
/// 256 KiB: some 30 µs.
const SLICE: u64 = 64;

pub(super) struct Memory {
    words: Vec<u64>,
    /// The next word of the first half.
    at: usize,
}

impl Memory {
    /// Rounded down to whole operations, one at least.
    pub(super) fn new(bytes: u64) -> Result<Self> {
        let operations = (bytes / 8 / 2 / OPERATION as u64).max(1);
        Ok(Self { words: buffer(operations * 2 * OPERATION as u64 * 8)?, at: 0 })
    }
}

impl Work for Memory {
    fn slice(&self) -> u64 {
        SLICE
    }

    fn run(&mut self, operations: u64) -> Result<()> {
        let half = self.words.len() / 2;
        let (from, to) = self.words.split_at_mut(half);
        let mut left = operations.saturating_mul(OPERATION as u64);
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(half).min(half - self.at);
            let range = self.at..self.at + length;
            to[range.clone()].copy_from_slice(&from[range]);
            black_box(&mut *to);
            left -= length as u64;
            self.at = if self.at + length == half { 0 } else { self.at + length };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_copied() {
        let mut memory = Memory::new(8 * 4096).unwrap();
        let half = memory.words.len() / 2;
        for (index, word) in memory.words[..half].iter_mut().enumerate() {
            *word = index as u64;
        }
        memory.run(3).unwrap();
        memory.run(1).unwrap();
        assert_eq!(memory.words[..half], memory.words[half..]);
        assert_eq!(memory.at, 0);
    }
}
