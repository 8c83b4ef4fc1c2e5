//! One operation of diskprobe's loop with its ring, on a file in memory, against pread(2); and the data that
//! it writes and compares, which must never be what limits a measurement (8 GB/s a core at least).

use std::{fs::File, os::unix::fs::FileExt};

use criterion::{Criterion, Throughput};
use diskprobe::{
    blocks::{Blocks, Region},
    data::{Data, Filler, UniqueSeeds, check, stamp},
    engine::Operation,
    recording,
    ring::{ReadWrite, Ring},
    setup::RingOptions,
    work::{CommonBegin, Work},
    worker::Worker,
};
use meter::{control::Stop, wait::Waiter};

const BLOCK: u32 = 4096;
const LENGTH: u64 = 16 << 20;
/// Operations of one iteration.
const OPERATIONS: u64 = 256;

pub fn benchmarks(criterion: &mut Criterion) {
    data(criterion);
    let file = match file_in_memory() {
        Ok(file) => file,
        Err(error) => {
            eprintln!("ring: left out: {error}");
            return;
        }
    };
    let mut group = criterion.benchmark_group("ring");
    group.throughput(Throughput::Elements(OPERATIONS));
    for depth in [1, 32] {
        let ring = match Ring::new(&file, ReadWrite, depth, BLOCK, &RingOptions::default()) {
            Ok(ring) => ring,
            Err(error) => {
                eprintln!("ring: left out: {}", error.full_text());
                return;
            }
        };
        let filler = Filler { data: Data::Zeros, seed: 1, verifiable: false };
        let mut worker = Worker::new(ring, filler, Waiter::SPIN, Stop::new());
        let mut recorder = recording::recorders(1, false, None).0.remove(0);
        group.bench_function(format!("read 4 KiB, depth {depth}"), |bencher| {
            bencher.iter(|| {
                let done = worker.perform(&mut work(), &mut recorder).expect("the ring works");
                assert_eq!(done.operations, OPERATIONS);
            });
        });
    }
    let mut block = vec![0; BLOCK as usize];
    group.bench_function("pread 4 KiB", |bencher| {
        bencher.iter(|| {
            for index in 0..OPERATIONS {
                file.read_exact_at(&mut block, index * u64::from(BLOCK)).expect("the file is long enough");
            }
        });
    });
    group.finish();
}

/// Filling a block with data that carries its place, and comparing it.
fn data(criterion: &mut Criterion) {
    let mut block = vec![0; 128 << 10];
    let mut group = criterion.benchmark_group("data");
    group.throughput(Throughput::Bytes(block.len() as u64));
    let mut offset = 0;
    // As `diskprobe write` does before every operation.
    let filler = Filler { data: Data::Random, seed: 1, verifiable: false };
    let mut unique = UniqueSeeds::new();
    group.bench_function("make 128 KiB", |bencher| {
        bencher.iter(|| {
            offset += block.len() as u64;
            filler.fill(&mut block, offset, &mut unique);
            std::hint::black_box(&block);
        });
    });
    stamp(&mut block, 0, 1);
    group.bench_function("compare 128 KiB", |bencher| {
        bencher.iter(|| assert_eq!(check(std::hint::black_box(&block), 0, 1).0, 0));
    });
    // What this machine's memory allows: the same bytes, copied.
    let from = vec![1; block.len()];
    group.bench_function("plain copy", |bencher| {
        bencher.iter(|| std::hint::black_box(&mut block).copy_from_slice(std::hint::black_box(&from)));
    });
    group.finish();
}

fn work() -> Work {
    Work {
        operation: Operation::Read,
        blocks: Blocks::sequential(
            Region { offset: 0, length: LENGTH },
            BLOCK,
            OPERATIONS * u64::from(BLOCK),
        ),
        begin: CommonBegin::default(),
        duration_ns: u64::MAX,
        schedule: None,
        lead_ns: 0,
        batch: None,
        check: None,
    }
}

/// A file without a name, in memory where the temporary folder is.
fn file_in_memory() -> std::io::Result<File> {
    let folder = ["/dev/shm", "/tmp"].into_iter().find(|folder| std::path::Path::new(folder).is_dir());
    let path =
        std::path::Path::new(folder.unwrap_or(".")).join(format!("iomatrix-bench-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    let chunk = vec![0; 1 << 20];
    (0..LENGTH >> 20).try_for_each(|index| file.write_all_at(&chunk, index << 20))?;
    Ok(file)
}
