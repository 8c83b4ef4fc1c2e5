//! Whether cpuload's kernels do to the machine what they state: each beside plain code, or beside
//! itself where the effect can't be.
//!
//! `cargo xtask peers --only cpu` reads these results by their names. Context switches and system calls
//! are counted, not timed: a number that is wrong ends the benchmark.

use std::{hint::black_box, thread};

use cpuload::kernel::{Kernel, Work};
use criterion::{Criterion, Throughput};

/// Beyond the last-level cache of most machines; what `memory` and `cache` use at least.
const LARGE: u64 = 64 << 20;
/// Within a first-level cache.
const SMALL: u64 = 16 << 10;

pub fn benchmarks(criterion: &mut Criterion) {
    moves_memory(criterion);
    misses_caches(criterion);
    mispredicts(criterion);
    enters_the_kernel(criterion);
    switches();
}

fn built(kernel: &Kernel) -> Box<dyn Work> {
    kernel.build().expect("the kernel is built")
}

/// One time of `operations` of that kernel.
fn kernel(criterion: &mut Criterion, name: &str, kernel: &Kernel, operations: u64) {
    let mut work = built(kernel);
    let mut group = criterion.benchmark_group("effects");
    group.throughput(Throughput::Elements(operations));
    group.bench_function(name, |bencher| bencher.iter(|| work.run(operations)));
    group.finish();
}

/// `memory` beside one plain copy of the same size.
fn moves_memory(criterion: &mut Criterion) {
    let operations = LARGE / 2 / 4096;
    kernel(criterion, "memory", &Kernel::Memory { working_set_bytes: LARGE }, operations);
    let half = (LARGE / 2 / 8) as usize;
    let (from, mut to) = (vec![0x0101_0101_0101_0101_u64; half], vec![1_u64; half]);
    let mut group = criterion.benchmark_group("effects");
    group.throughput(Throughput::Elements(operations));
    group.bench_function("plain copy", |bencher| {
        bencher.iter(|| black_box(&mut to).copy_from_slice(black_box(&from)));
    });
    group.finish();
}

/// `cache` beside itself where nothing misses.
fn misses_caches(criterion: &mut Criterion) {
    kernel(criterion, "cache", &Kernel::Cache { working_set_bytes: LARGE }, 10_000);
    kernel(criterion, "cache that holds it", &Kernel::Cache { working_set_bytes: SMALL }, 10_000);
}

/// `branch` beside the same loop with bits that the processor can learn.
fn mispredicts(criterion: &mut Criterion) {
    const JUMPS: u64 = 10_240;
    kernel(criterion, "branch", &Kernel::Branch, JUMPS);
    let mut random = meter::random::Random::new(1);
    let mut taken = 0_u64;
    let mut group = criterion.benchmark_group("effects");
    group.throughput(Throughput::Elements(JUMPS));
    group.bench_function("jumps that can be foreseen", |bencher| {
        bencher.iter(|| {
            for _ in 0..JUMPS / 64 {
                // As much work for the bits as there; then every other jump is taken.
                black_box(random.next_u64());
                let mut bits: u64 = 0x5555_5555_5555_5555;
                for _ in 0..64 {
                    if bits & 1 == 1 {
                        taken = black_box(taken + 1);
                    }
                    bits >>= 1;
                }
            }
        });
    });
    group.finish();
}

/// `syscall` beside the same call in a plain loop.
fn enters_the_kernel(criterion: &mut Criterion) {
    const CALLS: u64 = 1000;
    kernel(criterion, "syscall", &Kernel::Syscall, CALLS);
    let mut group = criterion.benchmark_group("effects");
    group.throughput(Throughput::Elements(CALLS));
    group.bench_function("plain system call", |bencher| {
        bencher.iter(|| (0..CALLS).map(|_| black_box(std::os::unix::process::parent_id())).max());
    });
    group.finish();
}

/// `switch` on one CPU: two context switches an operation, by the kernel's own count.
fn switches() {
    const OPERATIONS: u64 = 2000;
    let counted = thread::spawn(|| {
        let cpu = meter::sys::sched_getaffinity().expect("the CPUs allowed are known")[0];
        meter::sys::sched_setaffinity(&[cpu]).expect("the thread is pinned");
        let mut work = built(&Kernel::Switch);
        let switches = || {
            let usage = meter::sys::getrusage(libc::RUSAGE_SELF);
            (usage.ru_nvcsw + usage.ru_nivcsw) as u64
        };
        let before = switches();
        work.run(OPERATIONS).expect("the kernel runs");
        switches() - before
    });
    let each = counted.join().expect("the kernel runs") as f64 / OPERATIONS as f64;
    println!("effects/switch: {each:.2} context switches an operation");
    assert!(each >= 1.9, "an operation of `switch` has {each:.2} context switches");
}
