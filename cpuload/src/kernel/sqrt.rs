//! `sqrt`: what a worker of `stress -c` does, `sqrt(rand())` without end.
//!
//! One operation is one number of the C library's additive generator (r(i) = r(i−3) + r(i−31), the
//! default of random(3)) and its square root in double precision. It keeps the integer and the
//! floating-point divider busy and touches 124 bytes. Unlike `stress`, whose compiler may drop the
//! root of a number that can't be negative, the root is really taken.

use std::hint::black_box;

use meter::Result;

use super::Work;

/// Degree of the generator's polynomial.
const DEGREE: usize = 31;
/// Distance between its two taps.
const SEPARATION: usize = 3;
/// About 5 µs.
const SLICE: u64 = 1000;

pub(super) struct Sqrt {
    state: [i32; DEGREE],
    front: usize,
    rear: usize,
}

impl Sqrt {
    /// The generator as srandom(1) leaves it, which is where every process begins.
    pub(super) fn new() -> Self {
        let mut state = [1_i32; DEGREE];
        for i in 1..DEGREE {
            let next = 16_807 * i64::from(state[i - 1]) % 2_147_483_647;
            state[i] = next as i32;
        }
        let mut sqrt = Self { state, front: SEPARATION, rear: 0 };
        for _ in 0..10 * DEGREE {
            sqrt.random();
        }
        sqrt
    }

    /// The next number, 0 to 2³¹ − 1. Not inlined, as in the C library, where it is a call as well.
    #[inline(never)]
    fn random(&mut self) -> i32 {
        let sum = self.state[self.front].wrapping_add(self.state[self.rear]);
        self.state[self.front] = sum;
        self.front = if self.front + 1 == DEGREE { 0 } else { self.front + 1 };
        self.rear = if self.rear + 1 == DEGREE { 0 } else { self.rear + 1 };
        (sum as u32 >> 1) as i32
    }
}

impl Work for Sqrt {
    fn slice(&self) -> u64 {
        SLICE
    }

    fn run(&mut self, operations: u64) -> Result<()> {
        for _ in 0..operations {
            black_box(f64::from(black_box(self.random())).sqrt());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_c_library() {
        let mut sqrt = Sqrt::new();
        // What rand(3) of glibc gives first in a new process.
        let expected = [1_804_289_383, 846_930_886, 1_681_692_777, 1_714_636_915, 1_957_747_793];
        assert_eq!(expected.map(|_| sqrt.random()), expected);
    }
}
