//! `branch`: the branch predictor. Half of its jumps are mispredicted, because a random bit decides
//! each of them. One operation is one jump. It touches 32 bytes.

use std::hint::black_box;

use meter::{Result, random::Random};

use super::Work;

/// About 10 µs.
const SLICE: u64 = 1024;

pub(super) struct Branch {
    random: Random,
    taken: u64,
}

impl Branch {
    pub(super) fn new() -> Self {
        Self { random: Random::new(1), taken: 0 }
    }
}

impl Work for Branch {
    fn slice(&self) -> u64 {
        SLICE
    }

    fn run(&mut self, operations: u64) -> Result<()> {
        let mut left = operations;
        while left > 0 {
            let mut bits = self.random.next_u64();
            for _ in 0..left.min(64) {
                // The barrier in one arm keeps the compiler from computing both and selecting.
                if bits & 1 == 1 {
                    self.taken = black_box(self.taken + 1);
                }
                bits >>= 1;
            }
            left -= left.min(64);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_jumps_are_taken() {
        let mut branch = Branch::new();
        branch.run(100_000).unwrap();
        assert!((48_000..52_000).contains(&branch.taken), "{}", branch.taken);
    }
}
