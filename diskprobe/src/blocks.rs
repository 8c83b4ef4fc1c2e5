//! Which block comes next: sequential or random order over a region.

use meter::random::Random;

/// A stretch of the target, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First byte.
    pub offset: u64,
    /// Length.
    pub length: u64,
}

/// One block of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// First byte.
    pub offset: u64,
    /// Length; only the last block of a region, or of a total, is shorter than the block size.
    pub length: u32,
}

/// Blocks of a region, each exactly once per pass, pass after pass, until a total of bytes.
#[derive(Clone, Debug)]
pub struct Blocks {
    region: Region,
    block_size: u32,
    left: u64,
    next: u64,
    order: Order,
}

#[derive(Clone, Debug)]
enum Order {
    Sequential,
    Random { permutation: Permutation, random: Random },
}

impl Blocks {
    /// Ascending blocks of `region`; `total` bytes in all, beginning again at its start when it is shorter.
    ///
    /// # Panics
    /// When the region or the block size is empty.
    #[must_use]
    pub fn sequential(region: Region, block_size: u32, total: u64) -> Self {
        assert!(region.length > 0 && block_size > 0, "an empty region has no blocks");
        Self { region, block_size, left: total, next: 0, order: Order::Sequential }
    }

    /// The blocks of `region` in an order that `seed` fixes; each pass has another.
    ///
    /// # Panics
    /// When the region or the block size is empty.
    #[must_use]
    pub fn random(region: Region, block_size: u32, total: u64, seed: u64) -> Self {
        let mut blocks = Self::sequential(region, block_size, total);
        let mut random = Random::new(seed);
        let permutation = Permutation::new(blocks.per_pass(), random.next_u64());
        blocks.order = Order::Random { permutation, random };
        blocks
    }

    fn per_pass(&self) -> u64 {
        self.region.length.div_ceil(u64::from(self.block_size))
    }
}

impl Iterator for Blocks {
    type Item = Block;

    #[inline]
    fn next(&mut self) -> Option<Block> {
        if self.left == 0 {
            return None;
        }
        let index = match &self.order {
            Order::Sequential => self.next,
            Order::Random { permutation, .. } => permutation.at(self.next),
        };
        let within = index * u64::from(self.block_size);
        let length = u64::from(self.block_size).min(self.region.length - within).min(self.left);
        self.left -= length;
        self.next += 1;
        if self.next * u64::from(self.block_size) >= self.region.length {
            self.next = 0;
            let per_pass = self.per_pass();
            if let Order::Random { permutation, random } = &mut self.order {
                *permutation = Permutation::new(per_pass, random.next_u64());
            }
        }
        Some(Block { offset: self.region.offset + within, length: length as u32 })
    }
}

/// A random permutation of `0..count` that needs no memory: a Feistel network of four rounds over the
/// next even power of two, walked again while it leads outside (Black and Rogaway, "Ciphers with
/// Arbitrary Finite Domains", 2002: cycle walking).
#[derive(Clone, Debug)]
struct Permutation {
    count: u64,
    half_bits: u32,
    keys: [u64; 4],
}

impl Permutation {
    fn new(count: u64, seed: u64) -> Self {
        let bits = u64::BITS - count.saturating_sub(1).leading_zeros();
        let mut random = Random::new(seed);
        Self { count, half_bits: bits.div_ceil(2).max(1), keys: std::array::from_fn(|_| random.next_u64()) }
    }

    /// Where `index` goes; every index below `count` goes to another one.
    #[inline]
    fn at(&self, index: u64) -> u64 {
        let mut value = index;
        loop {
            value = self.encrypt(value);
            // At most four times as many values as indices: a few steps on average.
            if value < self.count {
                return value;
            }
        }
    }

    #[inline]
    fn encrypt(&self, value: u64) -> u64 {
        let mask = (1_u64 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for key in self.keys {
            let mixed = (right ^ key).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (left, right) = (right, left ^ (mixed >> (u64::BITS - self.half_bits)));
        }
        left << self.half_bits | right
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_block_holds_the_rest() {
        let region = Region { offset: 8192, length: 10_000 };
        let blocks: Vec<Block> = Blocks::sequential(region, 4096, 10_000).collect();
        assert_eq!(blocks.len(), 3);
        assert_eq!(blocks[2], Block { offset: 8192 + 8192, length: 10_000 - 8192 });
    }

    #[test]
    fn a_total_longer_than_the_region_begins_again() {
        let region = Region { offset: 0, length: 8192 };
        let offsets: Vec<u64> =
            Blocks::sequential(region, 4096, 5 * 4096).map(|block| block.offset).collect();
        assert_eq!(offsets, [0, 4096, 0, 4096, 0]);
    }

    #[test]
    fn passes_differ_and_repeat_with_the_seed() {
        let region = Region { offset: 0, length: 64 * 512 };
        let take = |seed| Blocks::random(region, 512, 128 * 512, seed).collect::<Vec<_>>();
        let both = take(3);
        assert_ne!(both[..64], both[64..]);
        assert_eq!(both, take(3));
        assert_ne!(both, take(4));
    }

    proptest! {
        #[test]
        fn every_byte_comes_once_a_pass(length in 1_u64..2_000_000, block_size in 512_u32..9000, seed: u64) {
            let region = Region { offset: 512, length };
            let mut blocks: Vec<Block> = Blocks::random(region, block_size, length, seed).collect();
            blocks.sort_by_key(|block| block.offset);
            let mut end = 512;
            // A short total cuts the block that happens to come last, so compare a whole pass.
            for block in &blocks {
                prop_assert_eq!(block.offset, end);
                end += u64::from(block.length);
            }
            prop_assert_eq!(end, 512 + length);
        }
    }
}
