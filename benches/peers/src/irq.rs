//! irqwatch against plain code, cyclictest and oslat.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    comparison::{Bound, Comparison, Contender, Program},
    figures::{Figure, Measurement},
    formats::{criterion, ours, rt_tests},
    process::Running,
    workbench::Workbench,
};

const CYCLICTEST: Program = Program { name: "cyclictest", package: "rt-tests" };
const OSLAT: Program = Program { name: "oslat", package: "rt-tests" };

/// Length of a run, in seconds.
const RUN_S: u32 = 5;
/// Shortest interruption that counts where a task interrupts, in microseconds: half of what it takes,
/// and more than what an interrupt does.
const GAP_US: u32 = 200;
/// Shortest one that counts where only the machine itself interrupts.
const NATURAL_GAP_US: u32 = 5;
/// Resident memory allowed to irqwatch.
const MEMORY_LIMIT: f64 = 6.0 * 1_048_576.0;

/// All comparisons of this group.
pub fn comparisons() -> Vec<Comparison> {
    vec![large_table(), live_table(), wakeup(), gaps(), natural_gaps()]
}

/// The benchmarks in `benches/` do the work: in one optimised program, on the same text.
fn large_table() -> Comparison {
    let what =
        "a snapshot of 512 CPUs × 2048 IRQs (11 MB of text): parse, and difference from the one before";
    let quarter = Bound::AtMost(0.25);
    Comparison::new("irq/parse", what, benchmark("irqwatch's parser", "interrupts/ours")).against(
        benchmark("splitting on white space into integers", "interrupts/obvious"),
        &[(Figure::TIME_PER_OPERATION_NS, quarter)],
    )
}

fn live_table() -> Comparison {
    let what = "this machine's own /proc/interrupts: read, parse and compare, against the read alone";
    let ours = benchmark("read, parse and compare", "live interrupts/read, parse and compare");
    Comparison::new("irq/live", what, ours).against(
        benchmark("read alone", "live interrupts/read"),
        &[(Figure::TIME_PER_OPERATION_NS, Bound::AtMost(1.1))],
    )
}

/// One of the benchmarks, by its name.
pub(super) fn benchmark(label: &str, name: &str) -> Contender {
    let name = name.to_owned();
    Contender::ours(label, move |workbench| {
        let program = workbench.benchmarks(build_benchmarks)?;
        let results = workbench.path("criterion");
        let exactly = format!("^{name}$");
        let finished = workbench
            .program(&program.to_string_lossy())
            .words("--bench --noplot --warm-up-time 0.3 --measurement-time 1")
            .args([exactly])
            .env("CRITERION_HOME", &results)
            .run()?;
        // Criterion makes folders of names, without the characters that file systems dislike.
        let estimates = results.join(&name).join("new/estimates.json");
        let estimates = fs::read_to_string(&estimates)
            .with_context(|| format!("criterion left no {}", estimates.display()))?;
        Ok(finished.cost().with(Figure::TIME_PER_OPERATION_NS, criterion::median_ns(&estimates)?))
    })
}

/// Builds the benchmarks, optimised, and gives their program.
fn build_benchmarks() -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(tools::workspace())
        .args(["bench", "--quiet", "--package", "benches", "--no-run", "--message-format=json"])
        .stderr(Stdio::inherit())
        .output()
        .context("run cargo to build the benchmarks")?;
    if !output.status.success() {
        bail!("building the benchmarks failed ({}); the compiler's words are above", output.status);
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "hot")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo does not say where the benchmarks are")
}

fn wakeup() -> Comparison {
    let what =
        format!("timer wake-up latency, SCHED_FIFO 80, every 1 ms, memory locked, same CPU, {RUN_S} s");
    let ours = Contender::ours("irqwatch wakeup", |workbench| {
        let words = format!("--period 1ms --priority 80 --cpus {} --duration {RUN_S}s", workbench.near_cpu);
        let finished = workbench.tool("irqwatch", "wakeup").words(&words).run()?;
        let summary = ours::summary(&finished)?;
        Ok(summary
            .complete(finished.cost())
            .with(Figure::P50_NS, summary.number("wakeup_latency.p50_ns")?)
            .with(Figure::P99_NS, summary.number("wakeup_latency.p99_ns")?))
    });
    let cyclictest = Contender::peer("cyclictest", CYCLICTEST, |workbench| {
        let report = workbench.path("cyclictest.json");
        let cpu = workbench.near_cpu;
        let words = format!("-q -m -p 80 -a {cpu} -t 1 -i 1000 -D {RUN_S} -h 20000");
        let finished = workbench
            .program("cyclictest")
            .words(&words)
            .args([format!("--json={}", report.display())])
            .run()?;
        let (p50_ns, p99_ns) = rt_tests::wakeup_latency_ns(&fs::read_to_string(&report)?)?;
        Ok(finished.cost().with(Figure::P50_NS, p50_ns).with(Figure::P99_NS, p99_ns))
    });
    let same = Bound::Within(0.2);
    Comparison::new("irq/wakeup", what, ours)
        .against(cyclictest, &[(Figure::P50_NS, same), (Figure::P99_NS, same)])
        .at_most(Figure::RESIDENT_PEAK_BYTES, MEMORY_LIMIT)
}

/// Interruptions of a known number, so that both look for the same ones.
fn gaps() -> Comparison {
    let what = format!(
        "interruptions of {GAP_US} µs and more of a busy loop, {RUN_S} s, while another task takes the \
         CPU for 500 µs 100 times a second"
    );
    let ours = Contender::ours("irqwatch gaps", |workbench| {
        let thief = thief(workbench)?;
        let found = found_by_irqwatch(workbench, GAP_US)?;
        thief.finish(libc::SIGTERM)?;
        Ok(found)
    });
    let oslat = Contender::peer("oslat", OSLAT, |workbench| {
        let thief = thief(workbench)?;
        let found = found_by_oslat(workbench, GAP_US)?;
        thief.finish(libc::SIGTERM)?;
        Ok(found)
    });
    Comparison::new("irq/gaps", what, ours)
        .against(oslat, &[(Figure::GAPS_PER_S, Bound::Within(0.05))])
        .at_most(Figure::RESIDENT_PEAK_BYTES, MEMORY_LIMIT)
}

/// Those of the machine itself: each side meets those of its own five seconds, so nothing is demanded.
fn natural_gaps() -> Comparison {
    let what = format!(
        "interruptions of {NATURAL_GAP_US} µs and more of a busy loop by the machine itself, {RUN_S} s"
    );
    let ours = Contender::ours("irqwatch gaps", |workbench| found_by_irqwatch(workbench, NATURAL_GAP_US));
    let oslat = Contender::peer("oslat", OSLAT, |workbench| found_by_oslat(workbench, NATURAL_GAP_US));
    Comparison::new("irq/gaps-natural", what, ours)
        .against(oslat, &[])
        .at_most(Figure::RESIDENT_PEAK_BYTES, MEMORY_LIMIT)
}

/// A task on the same CPU that takes it when it wants to. It ends with its handle.
fn thief(workbench: &Workbench) -> Result<Running> {
    let words =
        format!("--duty 5 --period 10ms --sched fifo:50 --cpus {} --duration 60s", workbench.near_cpu);
    let thief = workbench.tool("cpuload", "").words(&words).start()?;
    workbench.rest(Duration::from_millis(300))?;
    thief.check_alive()?;
    Ok(thief)
}

fn found_by_irqwatch(workbench: &Workbench, threshold_us: u32) -> Result<Measurement> {
    let words = format!("--threshold {threshold_us}us --cpus {} --duration {RUN_S}s", workbench.near_cpu);
    let finished = workbench.tool("irqwatch", "gaps").words(&words).run()?;
    let summary = ours::summary(&finished)?;
    let per_s = summary.number("count")? / summary.number("elapsed_s")?;
    Ok(summary.complete(finished.cost()).with(Figure::GAPS_PER_S, per_s))
}

fn found_by_oslat(workbench: &Workbench, threshold_us: u32) -> Result<Measurement> {
    let report = workbench.path("oslat.json");
    let (near, far) = (workbench.near_cpu, workbench.far_cpu);
    let finished = workbench
        .program("oslat")
        .words(&format!("-q -c {near} -C {far} -D {RUN_S} -b 1024"))
        .args([format!("--json={}", report.display())])
        .on_cpus(&[near, far])
        .run()?;
    let per_s = rt_tests::gaps_per_s(&fs::read_to_string(&report)?, threshold_us)?;
    Ok(finished.cost().with(Figure::GAPS_PER_S, per_s))
}
