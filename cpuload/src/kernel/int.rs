//! `int`: the integer units. One operation is one step of eight independent chains, each a
//! multiplication, an addition, a rotation and an exclusive or of 64 bits; every sixteenth step
//! divides. It touches 64 bytes, all in registers or the first-level cache.

use std::hint::black_box;

use meter::Result;

use super::Work;

const CHAINS: usize = 8;
const STEPS_PER_DIVISION: u64 = 16;
/// About 5 µs.
const SLICE: u64 = 1024;

pub(super) struct Int {
    chains: [u64; CHAINS],
}

impl Int {
    pub(super) fn new() -> Self {
        Self { chains: std::array::from_fn(|index| 0x9e37_79b9_7f4a_7c15 ^ index as u64) }
    }
}

impl Work for Int {
    fn slice(&self) -> u64 {
        SLICE
    }

    fn run(&mut self, operations: u64) -> Result<()> {
        let mut chains = black_box(self.chains);
        for step in 0..operations {
            for chain in &mut chains {
                *chain =
                    chain.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(step).rotate_left(23) ^ 0xff51;
            }
            if step % STEPS_PER_DIVISION == 0 {
                // The divisor comes from the chain itself, so that no shift or multiplication can stand in.
                chains[0] ^= chains[1] / (chains[2] | 1);
            }
        }
        self.chains = black_box(chains);
        Ok(())
    }
}
