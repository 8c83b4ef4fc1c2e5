//! cpuload against stress-ng and the loop of stress.

use std::fs;

use anyhow::Result;

use super::{
    comparison::{Bound, Comparison, Contender, Program},
    figures::{Figure, Measurement},
    formats::{ours, reference, stress_ng},
    reference::{COMPILER, SQUARE_ROOTS},
    workbench::Workbench,
};

const STRESS_NG: Program = Program { name: "stress-ng", package: "stress-ng" };
/// Duties to be kept, in percent.
const DUTIES: [u32; 6] = [1, 10, 37, 50, 90, 99];
/// Length of a run, in seconds.
const RUN_S: u32 = 5;
/// Resident memory allowed to a worker that needs none.
const MEMORY_LIMIT: f64 = 4.0 * 1_048_576.0;

/// All comparisons of this group.
pub fn comparisons() -> Vec<Comparison> {
    DUTIES.into_iter().map(duty).chain([square_roots()]).collect()
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

/// The same load as `stress -c 1`, not a faster one. `stress` does not count, and a guest often has no
/// counter of instructions; so its loop stands in, compiled here as Debian compiles it, and counted.
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

fn cpuload(workbench: &Workbench, words: &str) -> Result<(Measurement, ours::Summary)> {
    let place = format!("--cpus {} --duration {RUN_S}s", workbench.near_cpu);
    let finished = workbench.tool("cpuload", "").words(words).words(&place).run()?;
    let summary = ours::summary(&finished)?;
    Ok((summary.complete(finished.cost()), summary))
}
