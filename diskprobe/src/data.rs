//! What is written, and how it is known again.
//!
//! Random data comes in sectors of 512 bytes that carry their own place: the first word hides the
//! sector's offset in the target, the second the seed, and both fix all that follows. So a sector
//! that is wrong, old, or in the wrong place is found, and no two sectors hold the same data for a
//! device to compress or share.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use meter::units::counted;
use serde::Serialize;

/// Bytes of one sector, the unit that carries its place.
pub const SECTOR: usize = 512;
const WORDS: usize = SECTOR / 8;

/// What blocks hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Data {
    /// Incompressible, and no two sectors alike: filled anew before every operation
    Random,
    /// Incompressible, but each buffer is filled once and written again and again, which costs no CPU time;
    /// a device that deduplicates stores a few blocks only
    Repeated,
    /// Zeros; some devices store them for free
    Zeros,
}

/// Fills blocks before they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Filler {
    /// What they hold.
    pub data: Data,
    /// Seed of verifiable data.
    pub seed: u64,
    /// Whether random data follows from its offset and the seed alone, so that it can be compared later. Otherwise
    /// it follows from the time too: what is written is nowhere on the device yet, not even from an earlier run.
    pub verifiable: bool,
}

impl Filler {
    /// Fills buffer number `index` once, before the measurement.
    pub fn prepare(&self, block: &mut [u8], index: u64) {
        match self.data {
            Data::Zeros => block.fill(0),
            Data::Random | Data::Repeated => stamp(block, index * block.len() as u64, self.seed),
        }
    }

    /// Whether every block is filled before it is written.
    #[must_use]
    #[inline]
    pub fn fills_each(&self) -> bool {
        self.data == Data::Random
    }

    /// Fills a block that goes to `offset`, where every block is filled.
    #[inline]
    pub fn fill(&self, block: &mut [u8], offset: u64, unique: &mut UniqueSeeds) {
        if self.fills_each() {
            stamp(block, offset, if self.verifiable { self.seed } else { unique.next() });
        }
    }
}

/// Seeds for data that must not be equal to any other: from the time, and a number for each sequence of them.
#[derive(Debug)]
pub struct UniqueSeeds {
    next: u64,
}

impl UniqueSeeds {
    /// A sequence that differs from all others, of this process and of earlier ones.
    #[must_use]
    pub fn new() -> Self {
        static SEQUENCES: AtomicU64 = AtomicU64::new(0);
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let sequence = SEQUENCES.fetch_add(1, Ordering::Relaxed);
        Self { next: mix(mix(time).wrapping_add(sequence)) }
    }

    #[inline]
    fn next(&mut self) -> u64 {
        self.next = self.next.wrapping_add(1);
        self.next
    }
}

impl Default for UniqueSeeds {
    fn default() -> Self {
        Self::new()
    }
}

/// Words of every sector before its key is mixed in: digits without meaning from SplitMix64.
static POOL: [u64; WORDS] = {
    let mut pool = [0; WORDS];
    let mut index = 0;
    while index < WORDS {
        pool[index] = mix(0x6469_736b_7072_6f62 + index as u64);
        index += 1;
    }
    pool
};

/// The finaliser of SplitMix64: a bijection of 64-bit words, see [`unmix`].
const fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The inverse of [`mix`]: the multipliers are the inverses modulo 2^64 of its own.
const fn unmix(word: u64) -> u64 {
    let word = (word ^ (word >> 31) ^ (word >> 62)).wrapping_mul(0x3196_42b2_d24d_8ec3);
    let word = (word ^ (word >> 27) ^ (word >> 54)).wrapping_mul(0x96de_1b17_3f11_9089);
    (word ^ (word >> 30) ^ (word >> 60)).wrapping_sub(0x9e37_79b9_7f4a_7c15)
}

/// The first two words of the sector at `offset`, and the key of the others.
#[inline]
fn head(offset: u64, seed: u64) -> (u64, u64, u64) {
    let place = mix(offset);
    let veil = mix(place);
    (place, seed ^ veil, mix(seed ^ veil.rotate_left(32)))
}

/// Fills `block`, whose length is a multiple of [`SECTOR`], with the data of `offset`.
pub fn stamp(block: &mut [u8], offset: u64, seed: u64) {
    let (sectors, _) = block.as_chunks_mut::<SECTOR>();
    for (index, sector) in sectors.iter_mut().enumerate() {
        let (first, second, key) = head(offset + (index * SECTOR) as u64, seed);
        let (words, _) = sector.as_chunks_mut::<8>();
        for (word, pool) in words.iter_mut().zip(&POOL) {
            *word = (pool ^ key).to_le_bytes();
        }
        words[0] = first.to_le_bytes();
        words[1] = second.to_le_bytes();
    }
}

/// Where data read is not the data that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Mismatch {
    /// Offset in the target of the first byte that differs.
    pub offset_bytes: u64,
    /// Lowest bit of that byte that differs, 0 to 7.
    pub bit: u32,
    /// The byte that was written.
    pub expected: u8,
    /// The byte that was read.
    pub found: u8,
    /// How many bits of the sector differ.
    pub bits: u32,
    /// The offset that the sector was written for, where it holds valid data of another place.
    pub belongs_to_bytes: Option<u64>,
    /// The seed of that data.
    pub belongs_to_seed: Option<u64>,
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { offset_bytes, bit, expected, found, bits, belongs_to_bytes, belongs_to_seed } = self;
        let verb = if *bits == 1 { "differs" } else { "differ" };
        let bits = counted((*bits).into(), "bit");
        write!(
            f,
            "byte {offset_bytes} is {found:#04x} instead of {expected:#04x} (bit {bit}; {bits} of its sector {verb})"
        )?;
        match belongs_to_bytes.zip(*belongs_to_seed) {
            Some((place, seed)) => {
                write!(f, "; the sector holds the data of offset {place} with --seed {seed}")
            }
            None => Ok(()),
        }
    }
}

/// Compares `block` with the data of `offset`: how many sectors differ, and the first of them.
#[must_use]
pub fn check(block: &[u8], offset: u64, seed: u64) -> (u64, Option<Mismatch>) {
    let (sectors, _) = block.as_chunks::<SECTOR>();
    let (mut wrong, mut first) = (0, None);
    for (index, sector) in sectors.iter().enumerate() {
        let place = offset + (index * SECTOR) as u64;
        if !holds(sector, place, seed) {
            wrong += 1;
            first = first.or_else(|| Some(mismatch(sector, place, seed)));
        }
    }
    (wrong, first)
}

/// Whether `sector` is exactly the data of `offset`.
#[inline]
fn holds(sector: &[u8; SECTOR], offset: u64, seed: u64) -> bool {
    let (first, second, key) = head(offset, seed);
    let (words, _) = sector.as_chunks::<8>();
    let mut difference = 0;
    for (word, pool) in words[2..].iter().zip(&POOL[2..]) {
        difference |= u64::from_le_bytes(*word) ^ pool ^ key;
    }
    difference | (u64::from_le_bytes(words[0]) ^ first) | (u64::from_le_bytes(words[1]) ^ second) == 0
}

#[cold]
fn mismatch(sector: &[u8; SECTOR], offset: u64, seed: u64) -> Mismatch {
    let mut wanted = [0; SECTOR];
    stamp(&mut wanted, offset, seed);
    let at = sector.iter().zip(&wanted).position(|(found, wanted)| found != wanted).unwrap_or(0);
    Mismatch {
        offset_bytes: offset + at as u64,
        bit: (sector[at] ^ wanted[at]).trailing_zeros().min(7),
        expected: wanted[at],
        found: sector[at],
        bits: sector.iter().zip(&wanted).map(|(found, wanted)| (found ^ wanted).count_ones()).sum(),
        belongs_to_bytes: place_of(sector).map(|(place, _)| place),
        belongs_to_seed: place_of(sector).map(|(_, seed)| seed),
    }
}

/// The offset and seed that a sector carries; `None` when it is not a sector of this program.
#[must_use]
pub fn place_of(sector: &[u8; SECTOR]) -> Option<(u64, u64)> {
    let (words, _) = sector.as_chunks::<8>();
    let place = u64::from_le_bytes(words[0]);
    let (offset, seed) = (unmix(place), u64::from_le_bytes(words[1]) ^ mix(place));
    holds(sector, offset, seed).then_some((offset, seed))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_sector_tells_its_place_and_seed(offset: u64, seed: u64) {
            let mut sector = [0; SECTOR];
            stamp(&mut sector, offset, seed);
            prop_assert_eq!(place_of(&sector), Some((offset, seed)));
            prop_assert_eq!(unmix(mix(seed)), seed);
        }

        #[test]
        fn a_single_flipped_bit_is_found(bit in 0_usize..8 * 4096, seed: u64) {
            let mut block = vec![0; 4096];
            stamp(&mut block, 1 << 40, seed);
            prop_assert_eq!(check(&block, 1 << 40, seed), (0, None));
            block[bit / 8] ^= 1 << (bit % 8);
            let (wrong, mismatch) = check(&block, 1 << 40, seed);
            let mismatch = mismatch.unwrap();
            prop_assert_eq!(wrong, 1);
            prop_assert_eq!(mismatch.offset_bytes, (1 << 40) + bit as u64 / 8);
            prop_assert_eq!(mismatch.bit as usize, bit % 8);
            prop_assert_eq!(mismatch.bits, 1);
        }
    }

    #[test]
    fn a_block_in_the_wrong_place_says_where_it_belongs() {
        let mut block = vec![0; 1024];
        stamp(&mut block, 8192, 7);
        let (wrong, mismatch) = check(&block, 4096, 7);
        let mismatch = mismatch.unwrap();
        assert_eq!((wrong, mismatch.belongs_to_bytes, mismatch.belongs_to_seed), (2, Some(8192), Some(7)));
    }

    #[test]
    fn no_two_sectors_are_alike_whatever_was_written_before() {
        let filler = Filler { data: Data::Random, seed: 1, verifiable: false };
        let mut sectors = std::collections::HashSet::new();
        let mut words = std::collections::HashSet::new();
        // Two workers, each two passes over the same two blocks.
        for _ in 0..2 {
            let mut unique = UniqueSeeds::new();
            for offset in [0, 4096, 0, 4096] {
                let mut block = vec![0; 4096];
                filler.fill(&mut block, offset, &mut unique);
                assert!(block.chunks(SECTOR).all(|sector| sectors.insert(sector.to_vec())));
                // The first word is the place's, the same in each pass.
                let (all, _) = block.as_chunks::<8>();
                let others = all.iter().enumerate().filter(|(index, _)| index % WORDS > 0);
                assert!(
                    others.map(|(_, word)| word).all(|word| words.insert(*word)),
                    "a device could share parts"
                );
            }
        }
    }

    #[test]
    fn zeros_are_nobodys_data() {
        assert_eq!(place_of(&[0; SECTOR]), None);
    }
}
