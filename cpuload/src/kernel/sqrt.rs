//! `sqrt`: what a worker of `stress -c` does, `sqrt(rand())` without end.
//!
//! One operation is one number as the C library makes it and its square root in double precision:
//! take a lock, one step of the additive generator (r(i) = r(i−3) + r(i−31), the default of
//! random(3)), let go of the lock, take the root. Where the C library is glibc the step is its own
//! random_r(3), the code that `stress` runs. The lock is nobody else's, as in a process of `stress`,
//! and costs most of the time, as there; so does the jump through a table with which a program enters
//! the C library. Everything is in the first-level cache. Unlike in Debian's `stress`, whose compiler
//! dropped the root, it is really taken; it hides behind the lock.

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
#[cfg(target_env = "gnu")]
use crate::sys::Random;
#[cfg(not(target_env = "gnu"))]
use portable::Random;

/// About 5 µs.
const SLICE: u64 = 1000;

pub(super) struct Sqrt {
    generator: Random,
    lock: AtomicI32,
    /// Where `rand` is, as a program's table of library calls has it (its GOT).
    entry: fn(&mut Self) -> i32,
}

impl Sqrt {
    /// The generator as srandom(1) leaves it, which is where every process begins.
    pub(super) fn new() -> Self {
        Self { generator: Random::new(), lock: AtomicI32::new(0), entry: black_box(Self::rand) }
    }

    /// A call into a shared library, as the linker makes it (its PLT): a call of a jump through memory.
    /// Behind the lock that jump has to wait, as there.
    #[inline(never)]
    fn library_call(&mut self) -> i32 {
        (self.entry)(self)
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
        self.generator.step(&number);
        // As there: whoever waits for the lock has made it more than 1.
        if self.lock.swap(0, SeqCst) > 1 {
            wake();
        }
        number.load(Relaxed)
    }
}

/// Lets those go on that wait for the lock: never, but it has to be looked at.
#[cold]
#[inline(never)]
fn wake() {
    std::thread::yield_now();
}

/// The root of a negative number, for which C has to set `errno`: never, but it has to be looked at.
#[cold]
#[inline(never)]
fn no_root(_: f64) -> f64 {
    f64::NAN
}

impl Work for Sqrt {
    fn slice(&self) -> u64 {
        SLICE
    }

    fn run(&mut self, operations: u64) -> Result<()> {
        for _ in 0..operations {
            let number = f64::from(self.library_call());
            black_box(if number < 0.0 { no_root(number) } else { number.sqrt() });
        }
        Ok(())
    }
}

/// The same generator where the C library has no random_r(3).
#[cfg(any(test, not(target_env = "gnu")))]
mod portable {
    use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

    /// Degree of the generator's polynomial.
    const DEGREE: usize = 31;
    /// Distance between its two taps.
    const SEPARATION: usize = 3;

    pub(super) struct Random {
        state: [i32; DEGREE],
        front: usize,
        rear: usize,
    }

    impl Random {
        pub(super) fn new() -> Self {
            let mut state = [1_i32; DEGREE];
            for i in 1..DEGREE {
                let next = 16_807 * i64::from(state[i - 1]) % 2_147_483_647;
                state[i] = next as i32;
            }
            let mut random = Self { state, front: SEPARATION, rear: 0 };
            for _ in 0..10 * DEGREE {
                random.step(&AtomicI32::new(0));
            }
            random
        }

        #[inline(never)]
        pub(super) fn step(&mut self, number: &AtomicI32) {
            let sum = self.state[self.front].wrapping_add(self.state[self.rear]);
            self.state[self.front] = sum;
            self.front = if self.front + 1 == DEGREE { 0 } else { self.front + 1 };
            self.rear = if self.rear + 1 == DEGREE { 0 } else { self.rear + 1 };
            number.store((sum as u32 >> 1) as i32, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What rand(3) of glibc gives first in a new process.
    const FIRST: [i32; 5] = [1_804_289_383, 846_930_886, 1_681_692_777, 1_714_636_915, 1_957_747_793];

    #[test]
    fn the_numbers_are_those_of_the_c_library() {
        let mut sqrt = Sqrt::new();
        assert_eq!(FIRST.map(|_| sqrt.library_call()), FIRST);
    }

    #[test]
    fn without_that_library_they_are_the_same() {
        let (mut random, mut sqrt, number) = (portable::Random::new(), Sqrt::new(), AtomicI32::new(0));
        for _ in 0..10_000 {
            random.step(&number);
            assert_eq!(number.load(Relaxed), sqrt.rand());
        }
    }
}
