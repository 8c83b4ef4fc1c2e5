//! `float`: the floating-point units. One operation is one step of eight independent chains, each a
//! multiplication and an addition in double precision, plus one division in turn. It touches 64 bytes.

use std::hint::black_box;

use meter::Result;

use super::Work;

const CHAINS: usize = 8;
/// About 5 µs.
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
        for step in 0..operations {
            for chain in &mut chains {
                // Tends to 4, so that no value ever overflows or becomes denormal, which would be slow.
                *chain = *chain * 0.75 + 1.0;
            }
            let turn = step as usize % CHAINS;
            chains[turn] = 9.0 / (chains[turn] + 0.5);
        }
        self.chains = black_box(chains);
        Ok(())
    }
}
