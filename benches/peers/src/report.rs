//! What a comparison gave: a table for people, one JSON object for programs.

use std::fmt::Write;

use super::{
    figures::Figure,
    runner::{Judged, Outcome, Target},
};

/// One line of JSON.
pub fn json(outcome: &Outcome) -> serde_json::Result<String> {
    serde_json::to_string(outcome)
}

/// A table: the medians of each side, then each goal.
pub fn text(outcome: &Outcome) -> String {
    let mut text = format!("{}: {}\n", outcome.comparison, outcome.what);
    let figures = figures(outcome);
    let mut rows = vec![
        std::iter::once(String::new())
            .chain(figures.iter().map(|figure| heading(*figure)))
            .collect::<Vec<_>>(),
    ];
    for side in outcome.sides.iter().filter(|side| !side.runs.is_empty()) {
        let shown = |figure: &Figure| {
            side.spread(*figure).map_or_else(|| "-".to_owned(), |spread| figure.show(spread.median))
        };
        rows.push(std::iter::once(side.label.clone()).chain(figures.iter().map(shown)).collect());
    }
    if rows.len() > 1 {
        align(&mut text, &rows);
    }
    let goals: Vec<_> = outcome.goals.iter().map(goal).collect();
    align(&mut text, &goals);
    for side in &outcome.sides {
        for words in side.missing.iter().chain(&side.remarks) {
            let _ = writeln!(text, "  {}: {words}", side.label);
        }
    }
    for (what, why) in [("failed", &outcome.failed), ("skipped", &outcome.skipped)] {
        if let Some(why) = why {
            let _ = writeln!(text, "  {what}: {why}");
        }
    }
    text
}

/// Figures that any side measured, those with goals first.
fn figures(outcome: &Outcome) -> Vec<Figure> {
    let mut figures: Vec<Figure> = Vec::new();
    let measured = outcome.sides.iter().flat_map(|side| &side.runs).flat_map(|run| run.figures.keys());
    for figure in outcome.goals.iter().map(|goal| &goal.figure).chain(measured) {
        if !figures.contains(figure) {
            figures.push(*figure);
        }
    }
    figures
}

/// The key without its unit, which stands beside the value.
fn heading(figure: Figure) -> String {
    let key = figure.key();
    if let Some(what) = key.strip_suffix("_per_s") {
        return format!("{}/s", what.replace('_', " "));
    }
    let units = ["_bytes", "_bps", "_pps", "_percent", "_points", "_ns", "_s"];
    let stem = units.iter().find_map(|unit| key.strip_suffix(unit)).unwrap_or(key);
    stem.replace('_', " ")
}

/// One goal: figure, against whom, median, range, bound, verdict.
fn goal(goal: &Judged) -> Vec<String> {
    let show = |value: f64| match goal.against {
        Some(_) => format!("{value:.3}×"),
        None => goal.figure.show(value),
    };
    let range = format!("({}–{})", show(goal.spread.min), show(goal.spread.max));
    let target = match goal.target {
        Target::AtLeast(bound) => format!("at least {}", show(bound)),
        Target::AtMost(bound) => format!("at most {}", show(bound)),
        Target::Within(distance) => format!("1 ± {distance}"),
    };
    let against =
        goal.against.as_ref().map_or_else(|| "by itself".to_owned(), |peer| format!("against {peer}"));
    let verdict = if goal.met { "met" } else { "MISSED" };
    vec![against, heading(goal.figure), show(goal.spread.median), range, target, verdict.to_owned()]
}

/// Writes rows as aligned columns.
fn align(text: &mut String, rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let mut line = String::from(" ");
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, " {cell:<width$} ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        figures::Measurement,
        runner::{Side, Spread},
    };

    fn outcome() -> Outcome {
        let side = |label: &str, value: f64| Side {
            label: label.into(),
            missing: None,
            runs: vec![Measurement::default().with(Figure::BYTES_PER_S, value)],
            remarks: Vec::new(),
        };
        Outcome {
            comparison: "disk/write".into(),
            what: "1 GB".into(),
            pairs: 1,
            sides: vec![side("diskprobe", 2e9), side("fio", 1e9)],
            goals: vec![Judged {
                figure: Figure::BYTES_PER_S,
                against: Some("fio".into()),
                target: Target::AtLeast(1.0),
                spread: Spread { median: 2.0, min: 2.0, max: 2.0 },
                met: true,
            }],
            failed: None,
            skipped: None,
        }
    }

    #[test]
    fn people_read_figures_ratios_and_verdicts() {
        let text = text(&outcome());
        for words in ["diskprobe", "2 GB/s", "1 GB/s", "against fio", "2.000×", "at least 1.000×", "met"] {
            assert!(text.contains(words), "{words} in\n{text}");
        }
    }

    #[test]
    fn programs_read_one_object() {
        let value: serde_json::Value = serde_json::from_str(&json(&outcome()).unwrap()).unwrap();
        assert_eq!(value["goals"][0]["bound"], "at_least");
        assert_eq!(value["goals"][0]["target"], 1.0);
        assert_eq!(value["goals"][0]["median"], 2.0);
        assert_eq!(value["sides"][1]["runs"][0]["bytes_per_s"], 1e9);
        assert!(value["failed"].is_null());
    }

    #[test]
    fn a_failure_is_told_and_nothing_is_a_zero() {
        let mut outcome = outcome();
        outcome.sides.iter_mut().for_each(|side| side.runs.clear());
        outcome.goals.clear();
        outcome.failed = Some("fio: gave up".into());
        assert_eq!(text(&outcome), "disk/write: 1 GB\n  failed: fio: gave up\n");
    }
}
