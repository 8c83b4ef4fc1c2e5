//! The tables at the end of a run, aligned for a terminal.

use super::{
    input::Input,
    number,
    summary::Summary,
    table::{self, Table},
    view, warnings,
};

/// Columns that a narrow terminal goes without, the least missed first.
const DISPENSABLE: [&str; 4] = ["Min–max", "Interrupts", "Std dev", "Differs"];

/// What stands beside a change for each verdict, and what it means.
pub const MARKS: [(&str, &str, &str); 4] = [
    ("different", "≠", "lies wholly beyond the margin"),
    ("small", "~", "excludes 1 and is not wholly beyond the margin"),
    ("equivalent", "=", "lies wholly within the margin"),
    ("undecided", "?", "holds 1 and reaches beyond the margin"),
];

/// One table per probe, no wider than `width` where that can be had by leaving out columns.
pub fn text(input: &Input, summary: &Summary, width: usize) -> String {
    let mut text = String::new();
    for probe in view::probes(input, summary) {
        text.push_str(&show(table::short(&probe), width));
        text.push('\n');
    }
    let outcomes = &summary.outcomes;
    text.push_str(&format!(
        "{} of {} completed",
        outcomes.completed(),
        number::count(summary.trials_planned, "trial")
    ));
    for others in outcomes.incomplete() {
        text.push_str(&format!(", {others}"));
    }
    text.push_str(&format!(" · {}\n", summary.platform));
    let shown = |word: &str| {
        let metrics = summary.cells.iter().flat_map(|cell| cell.metrics.values());
        metrics.filter_map(|metric| metric.verdict).any(|verdict| verdict.word == word)
    };
    for (word, mark, means) in MARKS {
        if shown(word) {
            text.push_str(&format!("{mark}  {word}: the adjusted interval of the ratio {means}\n"));
        }
    }
    for warning in warnings::of(summary) {
        text.push_str(&format!("warning: {warning}\n"));
    }
    if let Some(scope) = warnings::scope(summary) {
        text.push_str(&format!("note: {scope}\n"));
    }
    for note in &summary.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}

/// A table as lines, with columns left out until it fits.
fn show(mut table: Table, width: usize) -> String {
    let mut left_out = Vec::new();
    for dispensable in DISPENSABLE {
        if widths(&table).iter().sum::<usize>() + 2 * table.head.len() <= width + 2 {
            break;
        }
        if let Some(column) = table.head.iter().position(|column| column.title.starts_with(dispensable)) {
            table.head.remove(column);
            table.rows.iter_mut().for_each(|row| drop(row.remove(column)));
            left_out.push(dispensable);
        }
    }
    let widths = widths(&table);
    let line = |fields: Vec<&str>| {
        let padded = fields.into_iter().zip(&widths).zip(&table.head).map(|((field, &width), column)| {
            let missing = " ".repeat(width - field.chars().count());
            if column.numeric { missing + field } else { field.to_owned() + &missing }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = format!("{}\n", table.caption);
    let heads: Vec<(&str, &str)> = table.head.iter().map(|column| title_and_unit(&column.title)).collect();
    text.push_str(&line(heads.iter().map(|(title, _)| *title).collect()));
    text.push_str(&line(heads.iter().map(|(_, unit)| *unit).collect()));
    for row in &table.rows {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    if !left_out.is_empty() {
        text.push_str(&format!("(left out here, in the report: {})\n", left_out.join(", ")));
    }
    text
}

/// A title apart from the unit in brackets at its end: the terminal shows them below each other.
fn title_and_unit(title: &str) -> (&str, &str) {
    title.strip_suffix(')').and_then(|title| title.split_once(" (")).unwrap_or((title, ""))
}

fn widths(table: &Table) -> Vec<usize> {
    let width = |column: usize| {
        let fields = table.rows.iter().map(|row| row[column].chars().count());
        let (title, unit) = title_and_unit(&table.head[column].title);
        fields.chain([title.chars().count(), unit.chars().count()]).max().unwrap_or(0)
    };
    (0..table.head.len()).map(width).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Column;

    fn table() -> Table {
        let column = |title: &str, numeric| Column { title: title.into(), numeric };
        Table {
            caption: "disk".into(),
            head: vec![column("Cell", false), column("N", true), column("Min–max (s)", true)],
            rows: vec![vec!["disk/native/none".into(), "50".into(), "19.1–19.2".into()]],
            mono: false,
        }
    }

    #[test]
    fn columns_are_aligned() {
        let lines = "disk\n\
                     Cell               N    Min–max\n                              s\n\
                     disk/native/none  50  19.1–19.2\n";
        assert_eq!(show(table(), 80), lines);
    }

    #[test]
    fn a_narrow_terminal_goes_without_columns_and_is_told_so() {
        let shown = show(table(), 25);
        assert!(shown.contains("disk/native/none  50\n"), "{shown}");
        assert!(shown.contains("left out here, in the report: Min–max"), "{shown}");
    }
}
