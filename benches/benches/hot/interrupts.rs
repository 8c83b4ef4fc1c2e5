//! Snapshots of /proc/interrupts, against the obvious code, and on top of reading the file at all.
//!
//! `cargo xtask peers --only irq` reads these results by their names.

use std::{collections::HashMap, fmt::Write, fs::File, io::Read};

use criterion::{BatchSize, Criterion, Throughput};
use meter::{
    interrupts::{Differ, Reader, Table},
    random::Random,
};

const CPUS: usize = 512;
const SOURCES: usize = 2048;

pub fn benchmarks(criterion: &mut Criterion) {
    large(criterion);
    live(criterion);
}

/// Two snapshots of a large machine: most counts are small or zero, one row in eight grows.
fn snapshots() -> [String; 2] {
    let mut random = Random::new(1);
    let mut texts = [String::new(), String::new()];
    for text in &mut texts {
        text.push_str("     ");
        (0..CPUS).for_each(|cpu| write!(text, " {:>10}", format!("CPU{cpu}")).expect("a string grows"));
        text.push('\n');
    }
    for source in 0..SOURCES {
        texts.iter_mut().for_each(|text| write!(text, "{source:>4}:").expect("a string grows"));
        let grows = source.is_multiple_of(8);
        for _ in 0..CPUS {
            let draw = random.next_u64();
            let count = if draw.is_multiple_of(4) { draw >> 40 } else { 0 };
            let growth = if grows { draw >> 60 } else { 0 };
            for (text, count) in texts.iter_mut().zip([count, count + growth]) {
                write!(text, " {count:>10}").expect("a string grows");
            }
        }
        for text in &mut texts {
            writeln!(
                text,
                "  PCI-MSIX-0000:3b:00.0 {source:>4}-edge      mlx5_comp{source}@pci:0000:3b:00.0"
            )
            .expect("a string grows");
        }
    }
    texts
}

fn large(criterion: &mut Criterion) {
    let [before, after] = snapshots();
    assert_eq!(difference_of_ours(&before, &after), obvious_difference(&before, &after));
    let mut group = criterion.benchmark_group("interrupts");
    group.throughput(Throughput::Bytes(after.len() as u64));
    group.sample_size(10);

    let old = Table::parse(&before);
    let (mut new, mut differ) = (old.clone(), Differ::default());
    group.bench_function("ours", |bencher| {
        bencher.iter(|| {
            new.update(&after);
            let mut grown = 0;
            differ.each(&old, &new, |_, counts| grown += counts.iter().sum::<u64>());
            grown
        });
    });
    let old = obvious(&before);
    group.bench_function("obvious", |bencher| {
        bencher.iter(|| {
            let new = obvious(&after);
            obvious_growth(&old, &new)
        });
    });
    group.finish();
}

fn difference_of_ours(before: &str, after: &str) -> u64 {
    let (before, after) = (Table::parse(before), Table::parse(after));
    let mut grown = 0;
    Differ::default().each(&before, &after, |_, counts| grown += counts.iter().sum::<u64>());
    grown
}

/// What one writes first: lines, words, integers, a map by name.
fn obvious(text: &str) -> HashMap<&str, Vec<u64>> {
    let mut lines = text.lines();
    let cpus = lines.next().map_or(0, |head| head.split_whitespace().count());
    lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next()?.trim_end_matches(':');
            let counts = words.take(cpus).map_while(|word| word.parse().ok()).collect();
            Some((name, counts))
        })
        .collect()
}

fn obvious_growth(before: &HashMap<&str, Vec<u64>>, after: &HashMap<&str, Vec<u64>>) -> u64 {
    let grown = |(name, counts): (&&str, &Vec<u64>)| match before.get(name) {
        Some(old) => counts.iter().zip(old).map(|(new, old)| new.saturating_sub(*old)).sum(),
        None => counts.iter().sum::<u64>(),
    };
    after.iter().map(grown).sum()
}

fn obvious_difference(before: &str, after: &str) -> u64 {
    obvious_growth(&obvious(before), &obvious(after))
}

/// This machine's own file: what reading costs by itself, and with everything on top.
fn live(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("live interrupts");
    let mut bytes = Vec::new();
    group.bench_function("read", |bencher| {
        bencher.iter(|| {
            bytes.clear();
            File::open("/proc/interrupts").and_then(|mut file| file.read_to_end(&mut bytes)).unwrap_or(0)
        });
    });
    let mut reader = Reader::interrupts();
    let (mut old, mut new, mut differ) = (Table::default(), Table::default(), Differ::default());
    reader.read(&mut old).expect("/proc/interrupts can be read");
    group.bench_function("read, parse and compare", |bencher| {
        bencher.iter(|| {
            reader.read(&mut new).expect("/proc/interrupts can be read");
            let mut grown = 0;
            differ.each(&old, &new, |_, counts| grown += counts.iter().sum::<u64>());
            std::mem::swap(&mut old, &mut new);
            grown
        });
    });
    let text = std::fs::read_to_string("/proc/interrupts").unwrap_or_default();
    group.bench_function("parse anew", |bencher| {
        bencher.iter_batched(|| (), |()| Table::parse(&text), BatchSize::SmallInput);
    });
    group.finish();
}
