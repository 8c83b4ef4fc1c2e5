//! The report: from a results folder to `summary.json`, `runs.csv`, and pages and figures for people.
//!
//! It reads the stored plan and the journal and nothing else; made again, it is the same byte for byte.

mod analyse;
mod csv;
mod families;
mod figure;
mod html;
mod input;
mod markdown;
mod number;
pub mod summary;
mod table;
mod terminal;
#[cfg(test)]
mod tests;
mod view;
mod warnings;

use std::path::Path;

use anyhow::Result;
use input::Input;
use results::replace;
use summary::Summary;

/// A report that was made.
pub struct Report {
    input: Input,
    /// The statistics, as in `summary.json`.
    pub summary: Summary,
}

/// Makes summary, table of runs, page, Markdown and figures of a results folder from its plan and journal.
///
/// # Errors
/// When `folder` is no results folder, and when a file can't be written; every file is then whole,
/// either the new or the old one.
pub fn make(folder: &Path) -> Result<Report> {
    let input = Input::read(folder)?;
    let summary = analyse::summarise(&input);
    let probes: Vec<_> = view::probes(&input, &summary)
        .into_iter()
        .map(|probe| {
            let figures = figure::of_probe(&probe);
            (probe, figures)
        })
        .collect();
    for figure in probes.iter().flat_map(|(_, figures)| figures) {
        replace::file(folder, &format!("report/figures/{}.svg", figure.name), &figure.file())?;
    }
    replace::file(folder, "report/index.html", &html::page(&input, &summary, &probes))?;
    replace::file(folder, "report/summary.md", &markdown::page(&input, &summary))?;
    replace::file(folder, "runs.csv", &csv::runs(&input))?;
    replace::file(folder, "summary.json", &(serde_json::to_string_pretty(&summary)? + "\n"))?;
    drop(probes);
    Ok(Report { input, summary })
}

/// One table per probe for a terminal of `width` columns.
pub fn terminal(report: &Report, width: usize) -> String {
    terminal::text(&report.input, &report.summary, width)
}

/// Schemas of the files that others read: file stem and schema.
pub fn schemas() -> Vec<(&'static str, schemars::Schema)> {
    vec![("matrix-summary", schemars::schema_for!(Summary))]
}
