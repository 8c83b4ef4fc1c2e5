//! The order of trials: blocks of one repetition of every cell, each shuffled by the recorded seed.
//!
//! Within a block every cell meets the same slow changes of the machine; a whole block more or less
//! keeps the cells' counts equal.

use meter::random::Random;

/// One trial to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Index of the cell.
    pub cell: usize,
    /// Which repetition of it, from 0.
    pub repetition: u32,
    /// The attempt to begin with: 0, or 1 where an earlier session's was invalid.
    pub attempt: u32,
}

/// The order for `cells` cells: the same for the same seed, on every machine and in every version.
pub fn order(cells: usize, repetitions: u32, seed: u64) -> Vec<Slot> {
    let mut random = Random::new(seed);
    (0..repetitions)
        .flat_map(|repetition| {
            let mut block: Vec<Slot> = (0..cells).map(|cell| Slot { cell, repetition, attempt: 0 }).collect();
            random.shuffle(&mut block);
            block
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_has_every_cell_once_and_the_seed_decides_the_order() {
        let slots = order(24, 50, 2010);
        for (repetition, block) in slots.chunks(24).enumerate() {
            let mut cells: Vec<usize> = block.iter().map(|slot| slot.cell).collect();
            cells.sort_unstable();
            assert_eq!(cells, (0..24).collect::<Vec<_>>());
            assert!(block.iter().all(|slot| slot.repetition as usize == repetition));
        }
        assert_eq!(slots, order(24, 50, 2010));
        assert_ne!(slots, order(24, 50, 2011));
        assert_ne!(
            slots[..24].iter().map(|s| s.cell).collect::<Vec<_>>(),
            slots[24..48].iter().map(|s| s.cell).collect::<Vec<_>>()
        );
    }
}
