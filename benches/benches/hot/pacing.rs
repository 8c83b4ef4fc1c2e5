//! Intended times and latencies: one of each per operation of every tool.

use criterion::{Criterion, Throughput};
use meter::{
    clock,
    histogram::LatencyHistogram,
    pacer::{Arrivals, Schedule},
    random::Random,
};

pub fn benchmarks(criterion: &mut Criterion) {
    schedule(criterion);
    histogram(criterion);
    criterion.bench_function("clock/now", |bencher| bencher.iter(clock::now_ns));
}

fn schedule(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pacer");
    group.throughput(Throughput::Elements(1));
    let schedules = [
        ("fixed", Schedule::fixed(50_000, clock::SECOND_NS)),
        ("bursts", Schedule::bursts(50_000, clock::SECOND_NS, 16)),
        ("poisson", Schedule::fixed(50_000, clock::SECOND_NS).with_arrivals(Arrivals::Poisson, 1)),
    ];
    for (name, mut schedule) in schedules {
        group.bench_function(name, |bencher| bencher.iter(|| schedule.take()));
    }
    group.finish();
}

fn histogram(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("histogram");
    group.throughput(Throughput::Elements(1));
    let mut random = Random::new(1);
    // Latencies as they are: most near 50 µs, some far out.
    let latencies: Vec<u64> = (0..4096).map(|_| (50_000.0 - 20_000.0 * random.unit().ln()) as u64).collect();
    let mut histogram = LatencyHistogram::new();
    let mut next = latencies.iter().cycle();
    group.bench_function("record", |bencher| {
        bencher.iter(|| histogram.record(*next.next().expect("a cycle has no end")));
    });
    group.bench_function("record a batch of 64", |bencher| {
        bencher.iter(|| histogram.record_many(*next.next().expect("a cycle has no end"), 64));
    });
    let mut sum = LatencyHistogram::new();
    group.bench_function("merge", |bencher| bencher.iter(|| sum.merge(&histogram)));
    group.bench_function("summary", |bencher| bencher.iter(|| histogram.summary()));
    group.finish();
}
