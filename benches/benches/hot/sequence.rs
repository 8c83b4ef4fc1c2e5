//! What the sink does for each datagram, and what raw methods do to make one.

use criterion::{Criterion, Throughput};
use udpsend::{
    frame::{FrameBuilder, Headers, LinkEnds},
    payload::{self, Origin},
    sink::tracker::Tracker,
};

pub fn benchmarks(criterion: &mut Criterion) {
    tracker(criterion);
    headers(criterion);
}

fn tracker(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tracker");
    group.throughput(Throughput::Elements(1));
    let (mut tracker, mut number) = (Tracker::new(None), 0);
    group.bench_function("in order", |bencher| {
        bencher.iter(|| {
            number += 1;
            tracker.note(number)
        });
    });
    let (mut tracker, mut number) = (Tracker::new(None), 0_u64);
    group.bench_function("pairs swapped, one in ten lost", |bencher| {
        bencher.iter(|| {
            number += if number.is_multiple_of(10) { 2 } else { 1 };
            tracker.note(number ^ 1)
        });
    });
    group.finish();
}

fn headers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("headers");
    group.throughput(Throughput::Elements(1));
    let origin = Origin::here();
    let mut payload = [0; 64];
    group.bench_function("stamp a payload", |bencher| {
        let mut number = 0;
        bencher.iter(|| {
            number += 1;
            payload::stamp(&mut payload, number, number, origin);
        });
    });
    group.bench_function("parse a payload", |bencher| bencher.iter(|| payload::parse(&payload)));
    for (name, source, target) in
        [("IPv4", "10.0.0.1:1", "10.0.0.2:2"), ("IPv6", "[fe80::1]:1", "[fe80::2]:2")]
    {
        let headers = Headers {
            source: source.parse().expect("an address"),
            target: target.parse().expect("an address"),
            traffic_class: 0,
            hop_limit: 64,
            dont_fragment: true,
        };
        let builder = FrameBuilder::new(LinkEnds::default(), &headers, origin);
        let mut frame = vec![payload::FILLER; builder.header_bytes() + 1472];
        for size in [64, 1472] {
            let mut number = 0;
            group.bench_function(format!("{name} frame of {size} bytes"), |bencher| {
                bencher.iter(|| {
                    number += 1;
                    builder.build(&mut frame, size, number, number)
                });
            });
        }
    }
    group.finish();
}
