//! diskprobe against fio and dd.

use std::{
    ffi::OsString,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{
    comparison::{Bound, Comparison, Contender, Program},
    figures::{Figure, Measurement},
    formats::{dd, fio, ours},
    process::Finished,
    workbench::Workbench,
    zram::Zram,
};

const FIO: Program = Program { name: "fio", package: "fio" };
const DD: Program = Program { name: "dd", package: "coreutils" };

/// Bytes of the sequential runs: 8000 blocks of 128 KiB.
const FILE_BYTES: u64 = 8000 << 17;
/// Memory of the buffers there: 8 blocks of 128 KiB.
const BUFFER_BYTES: f64 = (8 << 17) as f64;
/// Size of the memory block device.
const ZRAM_BYTES: u64 = 512 << 20;
/// How long runs on it are, in seconds.
const ZRAM_S: u32 = 2;
/// How long runs for a histogram are, in seconds: hundreds of operations lie above its 99th percentile. A virtual
/// machine's host changes its pace every few seconds, so that many short rounds tell more than a few long ones.
const HISTOGRAM_S: u32 = 1;
/// What is read again and again where the page cache is to have it all.
const CACHED_BYTES: u64 = 64 << 20;

/// All comparisons of this group.
pub fn comparisons() -> Vec<Comparison> {
    vec![
        sequential_write(),
        unique_write(),
        memory_device("disk/random-read", Direction::Read, 32)
            .at_most(Figure::RESIDENT_PEAK_BYTES, 32.0 * 4096.0 + 4.0 * 1048576.0),
        memory_device("disk/random-write", Direction::Write, 32),
        latency(),
        cached_latency(),
        ring_latency(),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Direction {
    Read,
    Write,
}

impl Direction {
    fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// 128 KiB × 8000 by diskprobe, over a file that is there.
fn write_file(workbench: &Workbench, data: &str) -> Result<Measurement> {
    let file = file(workbench)?;
    let run = workbench.tool("diskprobe", "write").words("--overwrite --keep --block-size 128KiB");
    figures(&run.words(&format!("--queue-depth 8 --total 1048576000 --data {data}")).args([file]).run()?)
}

/// The same by fio.
fn fio_writes_file(label: &str, more: &'static str) -> Contender {
    Contender::peer(label, FIO, move |workbench| {
        let options = "--rw=write --bs=128k --size=1048576000 --iodepth=8 --overwrite=1";
        run_fio(workbench, file(workbench)?, Direction::Write, &format!("{options} {more}"))
    })
}

/// Data of which no two blocks are alike costs CPU time: both programs fill every buffer before it is written.
fn unique_write() -> Comparison {
    let what = "the same, with every block filled with new random data";
    let ours = Contender::ours("diskprobe --data random", |workbench| write_file(workbench, "random"));
    let fio = fio_writes_file(
        "fio io_uring, fixed buffers and files, refill_buffers",
        "--fixedbufs --registerfiles --nonvectored=1 --refill_buffers=1",
    );
    Comparison::new("disk/write-unique", what, ours)
        .against(fio, &[(Figure::BYTES_PER_S, Bound::AtLeast(1.0)), (Figure::CPU_S, Bound::AtMost(0.6))])
        .at_most(Figure::RESIDENT_PEAK_BYTES, 1.5 * BUFFER_BYTES + 4.0 * 1_048_576.0)
}

fn sequential_write() -> Comparison {
    let what = "128 KiB × 8000 sequential, depth 8, O_DIRECT, buffers filled once, over an existing file of the same file system";
    let ours = Contender::ours("diskprobe", |workbench| write_file(workbench, "repeated"));
    let fio_goals = [
        (Figure::BYTES_PER_S, Bound::AtLeast(1.0)),
        (Figure::CPU_S, Bound::AtMost(0.6)),
        (Figure::ELAPSED_S, Bound::AtMost(0.8)),
    ];
    let dd = Contender::peer("dd oflag=direct", DD, |workbench| {
        let mut output = OsString::from("of=");
        output.push(file(workbench)?);
        let words = "if=/dev/zero bs=128k count=8000 oflag=direct conv=notrunc";
        let finished = workbench.program("dd").words(words).args([output]).run()?;
        Ok(finished.cost().with(Figure::BYTES_PER_S, dd::bytes_per_s(&finished.stderr)?))
    });
    Comparison::new("disk/write", what, ours)
        .against(fio_writes_file("fio io_uring", ""), &fio_goals)
        .against(
            fio_writes_file(
                "fio io_uring, fixed buffers and files",
                "--fixedbufs --registerfiles --nonvectored=1",
            ),
            &fio_goals,
        )
        .against(dd, &[(Figure::ELAPSED_S, Bound::AtMost(0.5))])
        .at_most(Figure::RESIDENT_PEAK_BYTES, BUFFER_BYTES + 4.0 * 1_048_576.0)
}

/// Random 4 KiB blocks on zram. All blocks are zeros, which zram stores as a note: so the device is as
/// fast as can be, and what is compared is the path to it.
fn memory_device(name: &str, direction: Direction, depth: u32) -> Comparison {
    let what = format!(
        "random {} of 4 KiB blocks of zeros, depth {depth}, O_DIRECT, zram of 512 MiB, {ZRAM_S} s",
        direction.word()
    );
    let goals = [
        (Figure::OPERATIONS_PER_S, Bound::AtLeast(1.25)),
        (Figure::CPU_PER_OPERATION_NS, Bound::AtMost(0.7)),
    ];
    let fio = |label: &str, more: &'static str| {
        Contender::peer(label, FIO, move |workbench| {
            let device = Zram::new(ZRAM_BYTES)?;
            run_fio(workbench, &device.path(), direction, &format!("{} {more}", fio_random(direction, depth)))
        })
    };
    let ours = Contender::ours("diskprobe", move |workbench| {
        random(workbench, direction, &format!("--queue-depth {depth} --block-size 4KiB --duration {ZRAM_S}s"))
    });
    FIO_VARIANTS.iter().fold(Comparison::new(name, what, ours), |comparison, (label, more)| {
        comparison.against(fio(label, more), &goals)
    })
}

/// What makes fio faster step by step there: registered buffers and files; no attempt to start an operation
/// that zram can't start without blocking; as many submissions and completions per system call as help it.
const FIO_VARIANTS: [(&str, &str); 4] = [
    ("fio io_uring", ""),
    ("fio io_uring, fixed buffers and files", "--fixedbufs --registerfiles --nonvectored=1"),
    ("the same, force_async", "--fixedbufs --registerfiles --nonvectored=1 --force_async=1"),
    (
        "the same, force_async, batches of 16",
        "--fixedbufs --registerfiles --nonvectored=1 --force_async=1 --iodepth_batch_submit=16 --iodepth_batch_complete_min=16",
    ),
];

/// The same operation measured by both: their histograms have to agree. With one blocking system call each,
/// because only then does the kernel do the same for both, and of a size that takes longer than reading clocks.
fn latency() -> Comparison {
    let what = "total latency of random 64 KiB reads, one pread(2) at a time, O_DIRECT, zram of 512 MiB";
    let ours = Contender::ours("diskprobe --engine sync", |workbench| {
        let how = "--engine sync --queue-depth 1 --block-size 64KiB";
        random(workbench, Direction::Read, &format!("{how} --duration {HISTOGRAM_S}s"))
    });
    let fio = Contender::peer("fio psync", FIO, |workbench| {
        let device = Zram::new(ZRAM_BYTES)?;
        let options = fio_random(Direction::Read, 1);
        let options = format!("{options} --ioengine=psync --bs=64k --runtime={HISTOGRAM_S}");
        run_fio(workbench, &device.path(), Direction::Read, &options)
    });
    let same = Bound::Within(0.05);
    Comparison::new("disk/latency", what, ours)
        .against(fio, &[(Figure::P50_NS, same), (Figure::P99_NS, same)])
}

/// The same by the ring, where it goes the same way for both: a cached file is read within the call that submits,
/// and no thread of the kernel has a part in it. What a program itself does meanwhile is its own, so nothing is asked.
fn cached_latency() -> Comparison {
    let what =
        "total latency of random 64 KiB reads by io_uring, depth 1, of 64 MiB of a file in the page cache";
    let ours = Contender::ours("diskprobe", |workbench| {
        let run = workbench.tool("diskprobe", "read").words("--buffered --order random --block-size 64KiB");
        let run = run.words(&format!("--queue-depth 1 --span {CACHED_BYTES} --warmup 1s"));
        let run = run.words(&format!("--duration {HISTOGRAM_S}s")).args([file(workbench)?]);
        figures(&run.run()?)
    });
    let fio = Contender::peer("fio io_uring, fixed buffers and files", FIO, |workbench| {
        let options = format!(
            "--rw=randread --bs=64k --iodepth=1 --norandommap --size={CACHED_BYTES} --direct=0 --invalidate=0 --ramp_time=1s --time_based --runtime={HISTOGRAM_S} {}",
            FIO_VARIANTS[1].1
        );
        run_fio(workbench, file(workbench)?, Direction::Read, &options)
    });
    Comparison::new("disk/latency-cached", what, ours)
        .against(fio, &[])
        .at_most(Figure::RESIDENT_PEAK_BYTES, 65536.0 + 4.0 * 1_048_576.0)
}

/// What the way to the device adds at depth 1. The operation passes through a thread of the kernel; where that
/// runs and how it is led there is our own, so the figures differ and nothing is asked of them.
fn ring_latency() -> Comparison {
    let what = format!("total latency of random 4 KiB reads, depth 1, O_DIRECT, zram of 512 MiB, {ZRAM_S} s");
    let ours = Contender::ours("diskprobe", |workbench| {
        random(workbench, Direction::Read, &format!("--queue-depth 1 --block-size 4KiB --duration {ZRAM_S}s"))
    });
    [FIO_VARIANTS[1], FIO_VARIANTS[2]]
        .into_iter()
        .fold(Comparison::new("disk/latency-ring", what, ours), |comparison, (label, more)| {
            let fio = Contender::peer(label, FIO, move |workbench| {
                let device = Zram::new(ZRAM_BYTES)?;
                let options = fio_random(Direction::Read, 1);
                run_fio(workbench, &device.path(), Direction::Read, &format!("{options} {more}"))
            });
            comparison.against(fio, &[])
        })
        .at_most(Figure::RESIDENT_PEAK_BYTES, 4096.0 + 4.0 * 1_048_576.0)
}

fn random(workbench: &Workbench, direction: Direction, how: &str) -> Result<Measurement> {
    let device = Zram::new(ZRAM_BYTES)?;
    let words = format!("--order random {how}");
    let run = workbench.tool("diskprobe", direction.word()).words(&words).args([device.path()]);
    let run = match direction {
        Direction::Read => run,
        Direction::Write => run.words("--overwrite --data zeros --device").args([device.path()]),
    };
    figures(&run.words(&format!("--span {ZRAM_BYTES}")).run()?)
}

/// What a run of ours on operations says.
fn figures(finished: &Finished) -> Result<Measurement> {
    let summary = ours::summary(finished)?;
    Ok(summary
        .complete(finished.cost())
        .with(Figure::BYTES_PER_S, summary.number("bytes_per_s")?)
        .with(Figure::OPERATIONS_PER_S, summary.number("operations_per_s")?)
        .with(Figure::P50_NS, summary.number("total_latency.p50_ns")?)
        .with(Figure::P99_NS, summary.number("total_latency.p99_ns")?)
        .cpu_per(Figure::CPU_PER_OPERATION_NS, summary.number("operations")?))
}

fn fio_random(direction: Direction, depth: u32) -> String {
    let word = direction.word();
    format!(
        "--rw=rand{word} --bs=4k --iodepth={depth} --time_based --runtime={ZRAM_S} --zero_buffers --norandommap"
    )
}

fn run_fio(workbench: &Workbench, target: &Path, direction: Direction, options: &str) -> Result<Measurement> {
    let mut filename = OsString::from("--filename=");
    filename.push(target);
    let finished = workbench
        .program("fio")
        .words("--name=peer --ioengine=io_uring --direct=1 --output-format=json --lat_percentiles=1")
        .words(options)
        .args([filename])
        .run()?;
    let report = fio::parse(&finished.stdout, direction.word())?;
    let mut measurement = finished
        .cost()
        .with(Figure::BYTES_PER_S, report.bytes_per_s)
        .with(Figure::OPERATIONS_PER_S, report.operations_per_s)
        .cpu_per(Figure::CPU_PER_OPERATION_NS, report.operations);
    if let Some((p50_ns, p99_ns)) = report.total_latency_ns {
        measurement = measurement.with(Figure::P50_NS, p50_ns).with(Figure::P99_NS, p99_ns);
    }
    Ok(measurement)
}

/// The file that everyone overwrites: real, written blocks, so that nobody pays for the first write.
fn file(workbench: &Workbench) -> Result<&Path> {
    workbench.disk_file(|path| fill(path).with_context(|| format!("create the test file {}", path.display())))
}

fn fill(path: &Path) -> Result<()> {
    let mut random = meter::random::Random::new(1);
    let mut chunk = vec![0; 1 << 20];
    for word in chunk.chunks_exact_mut(8) {
        word.copy_from_slice(&random.next_u64().to_le_bytes());
    }
    let mut file = fs::File::create(path)?;
    let mut left = FILE_BYTES;
    while left > 0 {
        let length = left.min(chunk.len() as u64);
        file.write_all(&chunk[..length as usize])?;
        left -= length;
    }
    Ok(file.sync_all()?)
}

/// A file to read from: for whoever needs any target at all.
pub fn any_file(workbench: &Workbench) -> Result<PathBuf> {
    file(workbench).map(Path::to_owned)
}
