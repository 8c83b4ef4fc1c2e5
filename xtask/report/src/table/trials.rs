//! Tables of trials: what loads proved, and what did not complete.

use super::{NONE, Table, shown};
use crate::{input::Input, number};
use results::journal::{Proof, Trial};

/// What each load had to reach and reached, over all trials that measured it.
pub fn proofs(input: &Input) -> Option<Table> {
    let titles =
        ["Cell", "Domain", "Tool", "Number", "#At least", "#Smallest", "#Median", "#Largest", "#Reached in"];
    let mut table =
        Table::new("What the loads had to reach while the probe ran, and what they reached.", &titles);
    for cell in &input.header.cells {
        let all: Vec<&Proof> = input.trials_of(cell).flat_map(|trial| &trial.proofs).collect();
        let mut parts: Vec<&Proof> = Vec::new();
        for proof in &all {
            if !parts.iter().any(|part| same(part, proof)) {
                parts.push(proof);
            }
        }
        for part in parts {
            let of_part: Vec<&&Proof> = all.iter().filter(|proof| same(part, proof)).collect();
            let measured: Vec<f64> = of_part.iter().filter_map(|proof| proof.measured).collect();
            let described = stats::describe(&measured);
            let plain = |value: f64| number::single(value, "count").replace("\u{a0}count", "");
            table.rows.push(vec![
                cell.name(),
                part.domain.clone(),
                part.tool.clone(),
                part.key.clone(),
                plain(part.required),
                shown(described, |described| plain(described.min)),
                shown(described, |described| plain(described.median)),
                shown(described, |described| plain(described.max)),
                format!("{} of {}", of_part.iter().filter(|proof| proof.holds()).count(), of_part.len()),
            ]);
        }
    }
    (!table.rows.is_empty()).then_some(table)
}

fn same(one: &Proof, other: &Proof) -> bool {
    one.domain == other.domain
        && one.tool == other.tool
        && one.key == other.key
        && one.required == other.required
}

/// The stages of a trial in their order, and what happens in each.
const STAGES: [(&str, &str); 9] = [
    ("attach", "all of what comes before the load"),
    ("attach.check", "of it: every domain answers, or is made again"),
    ("attach.switch", "of it: the device taken from where it was and given to where it is wanted"),
    ("attach.appear", "of it: until the measured domain can use the device"),
    ("load", "the loads started"),
    ("proof", "the loads proved, then silent"),
    ("start", "the probe started, until it is ready"),
    ("probe", "the probe, from go to its end"),
    ("stop", "the loads stopped and counted"),
];

/// Where the time of the trials went, stage by stage; of completed trials only.
pub fn stages(input: &Input) -> Option<Table> {
    let titles = ["Stage", "What it is", "#Trials", "#Median (s)", "#Largest (s)", "#All (s)"];
    let mut table = Table::new("Where the time of the completed trials went.", &titles);
    let completed = || input.trials.iter().filter(|trial| trial.outcome.counts());
    for (stage, what) in STAGES {
        let seconds: Vec<f64> = completed().filter_map(|trial| trial.stages_s.get(stage).copied()).collect();
        let Some(described) = stats::describe(&seconds) else { continue };
        table.rows.push(vec![
            stage.to_owned(),
            what.to_owned(),
            seconds.len().to_string(),
            number::fixed(described.median, 3),
            number::fixed(described.max, 3),
            number::fixed(seconds.iter().sum(), 1),
        ]);
    }
    (!table.rows.is_empty()).then_some(table)
}

/// Trials that did not complete, those with one cause together; and cells without trials.
pub fn incomplete(input: &Input) -> Option<Table> {
    let titles = ["Cell", "Outcome", "#Trials", "Stage", "Reason", "Numbers in the order"];
    let mut table = Table::new("Trials that are not in any statistic, and why.", &titles);
    for cell in &input.header.cells {
        let mut groups: Vec<(&Trial, Vec<u64>)> = Vec::new();
        for trial in input.trials_of(cell).filter(|trial| !trial.outcome.counts()) {
            let same = |first: &Trial| {
                (first.outcome, &first.stage, &first.reason) == (trial.outcome, &trial.stage, &trial.reason)
            };
            match groups.iter_mut().find(|(first, _)| same(first)) {
                Some((_, numbers)) => numbers.push(trial.sequence),
                None => groups.push((trial, vec![trial.sequence])),
            }
        }
        for (trial, numbers) in groups {
            table.rows.push(vec![
                cell.name(),
                trial.outcome.name().into(),
                numbers.len().to_string(),
                trial.stage.clone().unwrap_or(NONE.into()),
                trial.reason.clone().unwrap_or("no reason was given".into()),
                ranges(&numbers),
            ]);
        }
        if input.trials_of(cell).next().is_none() {
            let planned = input.plan.repetitions.to_string();
            let reason = "the matrix ended before its first trial";
            table.rows.push(vec![
                cell.name(),
                "not run".into(),
                planned,
                NONE.into(),
                reason.into(),
                NONE.into(),
            ]);
        }
    }
    (!table.rows.is_empty()).then_some(table)
}

/// Rising numbers with neighbours joined: `3, 7–9`.
fn ranges(numbers: &[u64]) -> String {
    let mut parts: Vec<(u64, u64)> = Vec::new();
    for &number in numbers {
        match parts.last_mut() {
            Some((_, last)) if number == *last + 1 => *last = number,
            _ => parts.push((number, number)),
        }
    }
    let show = |(first, last): &(u64, u64)| {
        if first == last { first.to_string() } else { format!("{first}–{last}") }
    };
    parts.iter().map(show).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_joined() {
        assert_eq!(ranges(&[3, 7, 8, 9, 11]), "3, 7–9, 11");
        assert_eq!(ranges(&[]), "");
    }
}
