//! `float`: the floating-point units. One operation is one step of eight independent chains, each a
//! multiplication and an addition in double precision, plus one division in turn. It touches 64 bytes, all
//! in registers.

use std::hint::black_box;

use meter::Result;

use super::Work;

const CHAINS: usize = 8;
/// About 3 µs.
const SLICE: u64 = 1024;

pub(super) struct Float {
    chains: [f64; CHAINS],
}

impl Float {
    pub(super) fn new() -> Self {
        Self { chains: std::array::from_fn(|index| 1.0 + index as f64 / 7.0) }
    }
}

impl Work for Float {
    fn slice(&self) -> u64 {
        SLICE
    }

    fn run(&mut self, operations: u64) -> Result<()> {
        let mut chains = black_box(self.chains);
        for _ in 0..operations / CHAINS as u64 {
            // The turns are constants here: an index that is not would keep the chains in memory, and each
            // step would wait for the stores of the one before.
            for turn in 0..CHAINS {
                step(&mut chains, turn);
            }
        }
        let mut chains = black_box(chains);
        for turn in 0..(operations % CHAINS as u64) as usize {
            step(&mut chains, turn);
        }
        self.chains = black_box(chains);
        Ok(())
    }
}

#[inline(always)]
fn step(chains: &mut [f64; CHAINS], turn: usize) {
    for chain in chains.iter_mut() {
        // Tends to 4, so that no value ever overflows or becomes denormal, which would be slow.
        *chain = *chain * 0.75 + 1.0;
    }
    chains[turn] = 9.0 / (chains[turn] + 0.5);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_counted_however_they_are_split() {
        let (mut at_once, mut one_by_one) = (Float::new(), Float::new());
        at_once.run(5).unwrap();
        for turn in 0..5 {
            step(&mut one_by_one.chains, turn);
        }
        assert_eq!(at_once.chains, one_by_one.chains);
        at_once.run(24).unwrap();
        assert!(at_once.chains.iter().all(|chain| (1.0..=18.0).contains(chain)), "{:?}", at_once.chains);
    }
}
