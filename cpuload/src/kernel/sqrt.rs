//! `sqrt`: what a worker of `stress -c` does, `sqrt(rand())` without end.
//!
//! One operation is one number as the C library makes it and its square root in double precision:
//! take a lock, one step of the additive generator (r(i) = r(i−3) + r(i−31), the default of
//! random(3)), let go of the lock, take the root. The lock is nobody else's, as in a process of
//! `stress`, and costs most of the time, as there. Everything is in the first-level cache. Unlike in
//! `stress`, whose compiler may drop the root of a number that can't be negative, and in Debian
//! does, the root is really taken; it hides behind the lock.

use std::{
    hint::black_box,
    sync::atomic::{
        AtomicI32,
        Ordering::{Acquire, Relaxed, SeqCst},
        compiler_fence,
    },
};

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
    lock: AtomicI32,
}

impl Sqrt {
    /// The generator as srandom(1) leaves it, which is where every process begins.
    pub(super) fn new() -> Self {
        let mut state = [1_i32; DEGREE];
        for i in 1..DEGREE {
            let next = 16_807 * i64::from(state[i - 1]) % 2_147_483_647;
            state[i] = next as i32;
        }
        let mut sqrt = Self { state, front: SEPARATION, rear: 0, lock: AtomicI32::new(0) };
        for _ in 0..10 * DEGREE {
            sqrt.rand();
        }
        sqrt
    }

    /// The next number, 0 to 2³¹ − 1: rand(3). Three calls deep and with the result in memory, as in
    /// the C library: behind a lock each load and each return waits, and that is part of the load.
    #[inline(never)]
    fn rand(&mut self) -> i32 {
        let number = self.random();
        // Keeps this a call of its own, instead of a jump.
        compiler_fence(SeqCst);
        number
    }

    /// random(3): one step under the lock.
    #[inline(never)]
    fn random(&mut self) -> i32 {
        let number = AtomicI32::new(0);
        // Never taken by anybody else; what it costs is the point.
        while self.lock.compare_exchange(0, 1, Acquire, Relaxed).is_err() {}
        self.step(&number);
        self.lock.swap(0, SeqCst);
        number.load(Relaxed)
    }

    /// random_r(3): one step of the generator.
    #[inline(never)]
    fn step(&mut self, number: &AtomicI32) {
        let sum = self.state[self.front].wrapping_add(self.state[self.rear]);
        self.state[self.front] = sum;
        self.front = if self.front + 1 == DEGREE { 0 } else { self.front + 1 };
        self.rear = if self.rear + 1 == DEGREE { 0 } else { self.rear + 1 };
        number.store((sum as u32 >> 1) as i32, Relaxed);
    }
}

impl Work for Sqrt {
    fn slice(&self) -> u64 {
        SLICE
    }

    fn run(&mut self, operations: u64) -> Result<()> {
        for _ in 0..operations {
            black_box(f64::from(self.rand()).sqrt());
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
        assert_eq!(expected.map(|_| sqrt.rand()), expected);
    }
}
