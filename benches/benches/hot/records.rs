//! The record writer: once an interval, while the measurement runs.

use std::{fmt, io};

use criterion::Criterion;
use meter::{
    histogram::{LatencyHistogram, LatencySummary},
    record::{JsonSink, Kind, Sink, Stamp, TextSink},
    usage::{Usage, UsageMeter},
};
use serde::Serialize;

/// As large as the samples of the tools are.
#[derive(Serialize)]
struct Sample {
    offset_s: f64,
    length_s: f64,
    operations: u64,
    operations_per_s: f64,
    latency: Option<LatencySummary>,
    usage: Usage,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s  {} operations", self.offset_s, self.operations)?;
        self.latency.as_ref().map_or(Ok(()), |latency| write!(f, "  {latency}"))
    }
}

pub fn benchmarks(criterion: &mut Criterion) {
    let mut histogram = LatencyHistogram::new();
    (1..1000).for_each(|k| histogram.record(k * 100));
    let usage = UsageMeter::start(&[]);
    let sample = Sample {
        offset_s: 1.0,
        length_s: 1.0,
        operations: 123_456,
        operations_per_s: 123_456.0,
        latency: histogram.summary(),
        usage: usage.read(),
    };
    let mut group = criterion.benchmark_group("records");
    let mut json = JsonSink(io::sink());
    group.bench_function("json", |bencher| {
        bencher.iter(|| json.record(Kind::Sample, Stamp::now(), &sample));
    });
    let mut text = TextSink(io::sink());
    group.bench_function("text", |bencher| {
        bencher.iter(|| text.record(Kind::Sample, Stamp::now(), &sample));
    });
    group.bench_function("usage", |bencher| bencher.iter(|| usage.read()));
    group.finish();
}
