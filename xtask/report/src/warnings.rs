//! What a reader must know before any number: in the page's head, in Markdown and in the terminal.

use std::collections::BTreeMap;

use crate::{
    number,
    summary::{CellSummary, Summary},
};

/// Cells named in one sentence; of more, only how many.
const NAMED: usize = 4;

/// The warnings, the gravest first; empty where nothing stands out.
pub fn of(summary: &Summary) -> Vec<String> {
    let mut warnings: Vec<String> = summary.cells.iter().filter_map(control).collect();
    let mut probes: BTreeMap<&str, Vec<&CellSummary>> = BTreeMap::new();
    for cell in &summary.cells {
        probes.entry(&cell.cell.probe).or_default().push(cell);
    }
    for (probe, cells) in &probes {
        let of = |what: &str, flagged: &dyn Fn(&CellSummary) -> bool| {
            let named: Vec<&str> =
                cells.iter().filter(|cell| flagged(cell)).map(|cell| cell.name.as_str()).collect();
            (!named.is_empty()).then(|| format!("{probe}: {what} in {}.", list(&named)))
        };
        warnings
            .extend(of("the runs rise or fall steadily while the matrix runs, which is drift,", &|cell| {
                cell.flags.drift_tau.is_some()
            }));
        warnings.extend(of("the runs change suddenly", &|cell| !cell.flags.changes.is_empty()));
        warnings.extend(of(
            "the runs gather around two or more levels, and the mean lies where no run is,",
            &|cell| cell.flags.several_levels,
        ));
        if let Some(correlation) = summary.drift.get(*probe).and_then(|drift| drift.dependence) {
            warnings.push(format!(
                "{probe}: runs resemble those of the same cell in the block before (correlation {}): the intervals are \
                 too narrow, and more differences are named than are there.",
                number::fixed(correlation, 2)
            ));
        }
        if let Some(excess) = summary.drift.get(*probe).and_then(|drift| drift.warm_up_percent) {
            let (side, percent) =
                (if excess > 0.0 { "above" } else { "below" }, number::fixed(excess.abs(), 2));
            warnings.push(format!(
                "{probe}: the first block is unlike the others: its runs are {percent} % {side} theirs, which \
                 looks like warm-up. Nothing was left out."
            ));
        }
    }
    warnings
}

/// Where the intervals hold, in words; nothing where there are none.
pub fn scope(summary: &Summary) -> Option<String> {
    let intervals = summary.cells.iter().flat_map(|cell| cell.metrics.values());
    intervals.filter_map(|metric| metric.mean_interval).next()?;
    Some(match summary.boots {
        1 => "All trials ran in one boot: the intervals hold for this boot only. Another boot can differ by more."
            .into(),
        boots => format!("Trials ran in {boots} boots, and intervals of differences say what another boot would give."),
    })
}

fn control(cell: &CellSummary) -> Option<String> {
    let control = cell.control.filter(|control| control.differs)?;
    Some(format!(
        "DO NOT TRUST THE DIFFERENCES OF THIS RESULT. The control {} differs from its baseline by {} %, beyond \
         chance, though both are the same thing: something else than what was varied made runs differ here.",
        cell.name,
        number::signed(control.percent, 2)
    ))
}

fn list(names: &[&str]) -> String {
    match names {
        [one] => (*one).to_owned(),
        _ if names.len() <= NAMED => {
            format!("{} and {}", names[..names.len() - 1].join(", "), names[names.len() - 1])
        }
        _ => format!("{} cells, among them {}", names.len(), names[..NAMED].join(", ")),
    }
}
