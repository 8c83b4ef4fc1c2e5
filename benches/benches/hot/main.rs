//! The hot paths: what every packet, block, period or snapshot costs.

mod effects;
mod interrupts;
mod kernels;
mod pacing;
mod records;
mod ring;
mod sending;
mod sequence;
mod transactions;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(30)
}

criterion_group! {
    name = hot;
    config = short();
    targets =
        pacing::benchmarks,
        records::benchmarks,
        interrupts::benchmarks,
        ring::benchmarks,
        sending::benchmarks,
        sequence::benchmarks,
        transactions::benchmarks,
        kernels::benchmarks,
        effects::benchmarks,
}
criterion_main!(hot);
