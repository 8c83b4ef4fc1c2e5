//! `cache`: thrashes the caches. Changes one word in each of a large buffer's cache lines, in an order
//! that no prefetcher can guess, so that nearly every one is a miss and in the end a write-back. One
//! operation is one line. It touches its whole working set, four times the last-level cache by default.

use std::hint::black_box;

use meter::{Result, random::Random};

use super::{Work, buffer};

/// Words of a cache line.
const LINE: usize = 64 / 8;
/// Some 10 µs of misses.
const SLICE: u64 = 128;

pub(super) struct Cache {
    words: Vec<u64>,
    random: Random,
}

impl Cache {
    /// One line at least.
    pub(super) fn new(bytes: u64) -> Result<Self> {
        Ok(Self { words: buffer(bytes.max(64))?, random: Random::new(1) })
    }
}

impl Work for Cache {
    fn slice(&self) -> u64 {
        SLICE
    }

    fn run(&mut self, operations: u64) -> Result<()> {
        let lines = (self.words.len() / LINE) as u64;
        for _ in 0..operations {
            let word = &mut self.words[self.random.below(lines) as usize * LINE];
            *word = word.wrapping_add(1);
        }
        black_box(&mut self.words);
        Ok(())
    }
}
