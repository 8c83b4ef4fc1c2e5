//! cpuload against stress-ng and the loop of stress.

use std::{fs, path::PathBuf};

use anyhow::Result;

use super::{
    comparison::{Bound, Comparison, Contender, Program},
    figures::{Figure, Measurement},
    formats::{ours, reference, stress_ng, valgrind},
    irq::benchmark,
    reference::{COMPILER, SQUARE_ROOTS},
    workbench::Workbench,
};

const STRESS_NG: Program = Program { name: "stress-ng", package: "stress-ng" };
const VALGRIND: Program = Program { name: "valgrind", package: "valgrind" };
/// Operations that are counted by instructions: the difference of two runs, so that what a program
/// does before and after is left out.
const COUNTED: [u32; 2] = [200_000, 600_000];
/// Duties to be kept, in percent.
const DUTIES: [u32; 6] = [1, 10, 37, 50, 90, 99];
/// Length of a run, in seconds.
const RUN_S: u32 = 5;
/// Resident memory allowed to a worker that needs none.
const MEMORY_LIMIT: f64 = 4.0 * 1_048_576.0;

/// All comparisons of this group.
pub fn comparisons() -> Vec<Comparison> {
    DUTIES.into_iter().map(duty).chain([square_roots(), instructions()]).chain(effects()).collect()
}

fn duty(percent: u32) -> Comparison {
    let what = format!("{percent} % of one CPU for {RUN_S} s: distance of the CPU time received from it");
    let ours = Contender::ours("cpuload", move |workbench| {
        let (measurement, summary) = cpuload(workbench, &format!("--duty {percent}"))?;
        let achieved = summary.number("duty_percent")?;
        Ok(measurement.with(Figure::DUTY_ERROR_POINTS, (achieved - f64::from(percent)).abs()))
    });
    let stress_ng = Contender::peer("stress-ng --cpu-load", STRESS_NG, move |workbench| {
        let report = workbench.path("stress-ng.yaml");
        let finished = workbench
            .program("stress-ng")
            .words(&format!(
                "--cpu 1 --cpu-load {percent} --cpu-method sqrt --timeout {RUN_S} --metrics --yaml"
            ))
            .args([&report])
            .run()?;
        let achieved = stress_ng::duty_percent(&fs::read_to_string(&report)?)?;
        Ok(finished.cost().with(Figure::DUTY_ERROR_POINTS, (achieved - f64::from(percent)).abs()))
    });
    Comparison::new(format!("cpu/duty-{percent}"), what, ours)
        .against(stress_ng, &[(Figure::DUTY_ERROR_POINTS, Bound::AtMost(0.1))])
        .at_most(Figure::DUTY_ERROR_POINTS, 0.1)
        .at_most(Figure::RESIDENT_PEAK_BYTES, MEMORY_LIMIT)
}

/// The same load as `stress -c 1`, not a faster one. `stress` does not count; so its loop stands in,
/// compiled here as Debian compiles it, and counted.
fn square_roots() -> Comparison {
    let what =
        format!("square roots of random numbers on one CPU, {RUN_S} s: the same load, not a faster one");
    let ours = Contender::ours("cpuload", |workbench| {
        let (measurement, summary) = cpuload(workbench, "--kernel sqrt")?;
        Ok(measurement.with(Figure::OPERATIONS_PER_S, summary.number("operations_per_s")?))
    });
    let stress = Contender::peer("the loop of stress -c, in C, counted", COMPILER, |workbench| {
        let finished = workbench.reference(SQUARE_ROOTS)?.args([RUN_S.to_string()]).run()?;
        let number = |key| reference::number(&finished.stdout, key);
        let per_s = number("operations")? / number("elapsed_s")?;
        Ok(finished.cost().with(Figure::OPERATIONS_PER_S, per_s))
    });
    Comparison::new("cpu/sqrt", what, ours)
        .against(stress, &[(Figure::OPERATIONS_PER_S, Bound::Within(0.05))])
        .at_most(Figure::RESIDENT_PEAK_BYTES, MEMORY_LIMIT)
}

/// What the kernels state about themselves, by the benchmarks in `benches/`: time of the kernel over time
/// of the plain code, or over its own time where the effect can't be.
fn effects() -> [Comparison; 4] {
    let effect = |name: &str, what: &str, kernel, peer, bound| {
        Comparison::new(format!("cpu/effect-{name}"), what, benchmark(&format!("kernel {name}"), kernel))
            .against(benchmark(peer, &format!("effects/{peer}")), &[(Figure::TIME_PER_OPERATION_NS, bound)])
    };
    [
        effect(
            "memory",
            "32 MiB copied: at least 80 % as fast as one plain copy",
            "effects/memory",
            "plain copy",
            Bound::AtMost(1.25),
        ),
        effect(
            "cache",
            "10 000 lines of 64 MiB against lines of 16 KiB: nearly every one misses",
            "effects/cache",
            "cache that holds it",
            Bound::AtLeast(3.0),
        ),
        effect(
            "branch",
            "10 240 jumps that can't be foreseen against as many that can",
            "effects/branch",
            "jumps that can be foreseen",
            Bound::AtLeast(2.0),
        ),
        effect(
            "syscall",
            "1000 system calls against a plain loop of them",
            "effects/syscall",
            "plain system call",
            Bound::Within(0.2),
        ),
    ]
}

/// The same by instructions, which a guest often can't count: valgrind does, and always the same.
fn instructions() -> Comparison {
    let what = "the same by instructions, as valgrind counts them".to_owned();
    let ours = Contender::peer("cpuload", VALGRIND, |workbench| {
        let program = workbench.binary("cpuload");
        let cpu = workbench.near_cpu;
        instructions_of(workbench, |operations| {
            let words = format!("--kernel sqrt --cpus {cpu} --operations {operations}");
            (program.clone(), words)
        })
    });
    let stress = Contender::peer("the loop of stress -c, in C, counted", VALGRIND, |workbench| {
        let program = SQUARE_ROOTS.compile(workbench)?;
        instructions_of(workbench, |operations| (program.clone(), format!("{RUN_S}000 {operations}")))
    });
    Comparison::new("cpu/sqrt-instructions", what, ours)
        .against(stress, &[(Figure::INSTRUCTIONS_PER_OPERATION, Bound::Within(0.05))])
}

/// Instructions of one operation of the program that `job` names with its words.
fn instructions_of(workbench: &Workbench, job: impl Fn(u32) -> (PathBuf, String)) -> Result<Measurement> {
    let count = |operations: u32| {
        let (program, words) = job(operations);
        let finished = workbench
            .program(VALGRIND.name)
            .words("--tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null")
            .args([program])
            .words(&words)
            .run()?;
        valgrind::instructions(&finished.stderr)
    };
    let [few, many] = COUNTED;
    let each = (count(many)? - count(few)?) / f64::from(many - few);
    Ok(Measurement::default().with(Figure::INSTRUCTIONS_PER_OPERATION, each))
}

fn cpuload(workbench: &Workbench, words: &str) -> Result<(Measurement, ours::Summary)> {
    let place = format!("--cpus {} --duration {RUN_S}s", workbench.near_cpu);
    let finished = workbench.tool("cpuload", "").words(words).words(&place).run()?;
    let summary = ours::summary(&finished)?;
    Ok((summary.complete(finished.cost()), summary))
}
