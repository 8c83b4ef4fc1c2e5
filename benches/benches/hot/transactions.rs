//! What netprobe does for each transaction besides the system calls, and for each message of its protocol.

use criterion::{Criterion, Throughput};
use netprobe::{
    protocol::frame::{self, Assembler},
    workload::in_flight::{InFlight, Sent},
};

pub fn benchmarks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("transactions");
    group.throughput(Throughput::Elements(1));
    let mut in_flight = InFlight::new(32, 64);
    group.bench_function("send and answer in order", |bencher| {
        bencher.iter(|| {
            in_flight.push(Sent { intended_ns: 1, begun_ns: 2 });
            in_flight.close_first()
        });
    });
    let mut in_flight = InFlight::new(32, 64);
    group.bench_function("send and answer by number", |bencher| {
        bencher.iter(|| {
            let number = in_flight.next_number().to_le_bytes();
            in_flight.push(Sent { intended_ns: 1, begun_ns: 2 });
            in_flight.close_tagged(&number)
        });
    });
    let message = vec![b'x'; 400];
    let mut assembler = Assembler::new(1 << 20);
    group.bench_function("a message there and back", |bencher| {
        bencher.iter(|| {
            assembler.push(&frame::encode(&message).expect("the message is short"));
            assembler.next_frame().expect("the frame is whole")
        });
    });
    group.finish();
}
