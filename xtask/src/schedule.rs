//! The order of trials: blocks of one repetition of every cell, each shuffled by the recorded seed.
//!
//! Within a block every cell meets the same slow changes of the machine; a whole block more or less
//! keeps the cells' counts equal.

use std::collections::BTreeMap;

use meter::random::Random;

use crate::{
    journal::{Outcome, Trial},
    plan::Cell,
};

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

/// Of `order`, what the `trials` of an earlier session have not brought to an end, in the same order.
pub fn remaining(order: &[Slot], cells: &[Cell], trials: &[Trial]) -> Vec<Slot> {
    let mut last = BTreeMap::new();
    for trial in trials {
        last.insert((trial.cell.as_str(), trial.repetition), trial);
    }
    let names: Vec<String> = cells.iter().map(Cell::name).collect();
    let open = |slot: &Slot| match last.get(&(names[slot.cell].as_str(), slot.repetition)) {
        None => Some(*slot),
        Some(trial) if is_final(trial) => None,
        Some(trial) => Some(Slot { attempt: trial.attempt + 1, ..*slot }),
    };
    order.iter().filter_map(open).collect()
}

/// Whether nothing follows a trial: an invalid one is repeated once.
pub fn is_final(trial: &Trial) -> bool {
    trial.outcome != Outcome::Invalid || trial.attempt > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::tests::trial;

    #[test]
    fn what_an_earlier_session_finished_does_not_remain() {
        let cell = |load: &str| Cell { probe: "disk".into(), attachment: "native".into(), load: load.into() };
        let cells = [cell("none"), cell("cpu@a")];
        let order = order(2, 3, 7);
        assert_eq!(remaining(&order, &cells, &[]), order);

        let of = |load: &str, repetition, attempt, outcome| Trial {
            cell: format!("disk/native/{load}"),
            repetition,
            attempt,
            outcome,
            ..trial(0)
        };
        let trials = [
            of("none", 0, 0, Outcome::Completed),
            of("none", 1, 0, Outcome::Invalid),
            of("cpu@a", 0, 0, Outcome::Invalid),
            of("cpu@a", 0, 1, Outcome::Invalid),
            of("cpu@a", 1, 0, Outcome::TimedOut),
            of("cpu@a", 2, 0, Outcome::Skipped),
        ];
        let left = remaining(&order, &cells, &trials);
        let mut seen: Vec<_> = left.iter().map(|slot| (slot.cell, slot.repetition, slot.attempt)).collect();
        seen.sort_unstable();
        assert_eq!(seen, [(0, 1, 1), (0, 2, 0)]);
    }

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
