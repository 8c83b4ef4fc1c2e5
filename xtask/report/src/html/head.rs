//! The top of the page: what this is, what a reader must know, and what stands out.

use maud::{Markup, html};

use super::anchor;
use crate::{
    figure::Figure,
    input::Input,
    number,
    summary::{Estimated, Summary},
    view::{Cell, Probe},
    warnings,
};

/// Differences listed at a glance.
const LISTED: usize = 6;

/// Title, platform, notes, and how many trials completed.
pub fn header(input: &Input, summary: &Summary) -> Markup {
    let outcomes = &summary.outcomes;
    let others = outcomes.incomplete();
    let completed = format!("{} of {}", outcomes.completed(), summary.trials_planned);
    let complete = summary.cells.iter().filter(|cell| cell.n >= cell.planned).count();
    let took = input
        .trials
        .last()
        .map(|last| last.started_wall_ns.saturating_sub(summary.started_wall_ns) as f64 / 1e9 + last.wall_s);
    html! {
        header {
            p.kicker { "iomatrix · plan " (summary.plan) }
            h1 { (summary.title) }
            p.platform { strong { "Platform:" } " " (summary.platform) }
            dl.facts {
                (fact("Trials completed", &completed, &others.join(", ")))
                (fact("Cells complete", &format!("{complete} of {}", summary.cells.len()), ""))
                (fact("Baseline", summary.baseline.as_deref().unwrap_or("none"), ""))
                (fact("Began", &number::utc(summary.started_wall_ns), ""))
                @if let Some(took) = took { (fact("Took", &number::length(took), "")) }
                (fact("Seed", &summary.seed.to_string(), ""))
            }
            @let warnings = warnings::of(summary);
            @if !warnings.is_empty() {
                aside.notes.alert aria-label="Warnings" {
                    h2 { "Before you read the numbers" }
                    ul { @for warning in &warnings { li { (warning) } } }
                }
            }
            @if !summary.notes.is_empty() {
                aside.notes aria-label="Notes" {
                    h2 { "What a reader must know" }
                    ul { @for note in &summary.notes { li { (note) } } }
                }
            }
        }
    }
}

fn fact(name: &str, value: &str, more: &str) -> Markup {
    html! {
        div {
            dt { (name) }
            dd { (value) @if !more.is_empty() { small { (more) } } }
        }
    }
}

/// Links to the sections.
pub fn contents(probes: &[(Probe, Vec<Figure>)]) -> Markup {
    html! {
        nav aria-label="Contents" {
            ul {
                li { a href="#glance" { "At a glance" } }
                @for (probe, _) in probes {
                    li { a href={ "#probe-" (anchor(probe.name)) } { (probe.name) } }
                }
                li { a href="#loads" { "Loads" } }
                li { a href="#incomplete" { "Not completed" } }
                li { a href="#order" { "Order" } }
                li { a href="#axes" { "What was run" } }
                li { a href="#method" { "Method" } }
                li { a href="#machine" { "Machine" } }
            }
        }
    }
}

/// The differences that stand out, largest first.
pub fn at_a_glance(summary: &Summary, probes: &[(Probe, Vec<Figure>)]) -> Markup {
    let cells = || probes.iter().flat_map(|(probe, _)| probe.cells.iter().map(move |cell| (probe, cell)));
    // Without any verdict, as after a quick look, the means are all there is to list.
    let judged = cells().any(|(_, cell)| cell.metric.verdict.is_some());
    let mut clear: Vec<(&Probe, &Cell)> = cells()
        .filter(|(_, cell)| match cell.metric.verdict {
            Some(verdict) => verdict.direction.is_some(),
            None => !judged && cell.metric.ratio.is_some(),
        })
        .collect();
    let size = |ratio: Option<Estimated>| ratio.map_or(0.0, |ratio| ratio.value.ln().abs());
    clear.sort_by(|(_, one), (_, other)| size(other.metric.ratio).total_cmp(&size(one.metric.ratio)));
    let mut spreads: Vec<(&Probe, &Cell)> = cells()
        .filter(|(_, cell)| cell.metric.variance_verdict.is_some_and(|verdict| verdict.direction.is_some()))
        .collect();
    spreads.sort_by(|(_, one), (_, other)| {
        size(other.metric.variance_ratio).total_cmp(&size(one.metric.variance_ratio))
    });
    let rest = the_others(summary, cells().map(|(_, cell)| cell));
    html! {
        section #glance {
            h2 { "At a glance" }
            p { (opening(summary, probes, judged, clear.len())) }
            @if !clear.is_empty() {
                ol.findings { @for (probe, cell) in clear.iter().take(LISTED) { (finding(probe, cell)) } }
            }
            @if !spreads.is_empty() {
                p { "The spread of the runs differs from the baseline’s, of " (number::count(spreads.len() as u64, "cell")) ":" }
                ol.findings { @for (probe, cell) in spreads.iter().take(LISTED) { (spread(probe, cell)) } }
            }
            @if !rest.is_empty() { p.soft { (rest.join(" ")) } }
            @if let Some(scope) = warnings::scope(summary) { p.soft { (scope) } }
        }
    }
}

/// What the list is, or why there is none.
fn opening(summary: &Summary, probes: &[(Probe, Vec<Figure>)], judged: bool, clear: usize) -> String {
    let metrics = || probes.iter().flat_map(|(probe, _)| probe.cells.iter().map(|cell| cell.metric));
    let comparisons: Vec<String> = probes
        .iter()
        .filter_map(|(probe, _)| {
            let count =
                probe.cells.iter().map(|cell| cell.metric.comparisons).max().filter(|count| *count > 0)?;
            Some(format!("{count} of {}", probe.name))
        })
        .collect();
    let tests = format!(
        "Comparisons of means and variances: {}. Verdicts are adjusted for them: with a probability of at most 5 % \
         a probe has any false difference.",
        comparisons.join(", ")
    );
    if metrics().all(|metric| metric.n == 0) {
        "Nothing was measured: no trial completed.".into()
    } else if summary.baseline.is_none() {
        "The plan names no baseline: nothing is compared.".into()
    } else if metrics().all(|metric| metric.blocks == 0) {
        "Nothing can be compared: in no block did both a cell and its baseline complete.".into()
    } else if !judged {
        "The largest differences of means from the baseline. With so few blocks there are no verdicts: take them as a \
         first look, not as a result."
            .into()
    } else if clear == 0 {
        format!("No mean is found to differ from the baseline’s. {tests}")
    } else {
        let cells = number::count(clear as u64, "cell");
        format!(
            "Means that differ from the baseline’s, of {cells}; in brackets the adjusted interval. {tests}"
        )
    }
}

fn finding(probe: &Probe, cell: &Cell) -> Markup {
    let metric = cell.metric;
    html! {
        li {
            a href={ "#probe-" (anchor(probe.name)) } { (cell.summary.name) } " · " (probe.main.name) " "
            @if let Some(ratio) = metric.ratio { strong { (number::percent_change(ratio.value)) } }
            @if let Some(interval) = metric.ratio_adjusted {
                @let [low, high] = [interval.low, interval.high].map(number::percent_change);
                span.soft { " (" (low) " to " (high) ")" }
            }
            @if let Some(verdict) = metric.verdict {
                ": " (verdict.word)
                @if let Some(meaning) = verdict.meaning { ", " (meaning) }
            }
        }
    }
}

fn spread(probe: &Probe, cell: &Cell) -> Markup {
    let (ratio, verdict) = (cell.metric.variance_ratio, cell.metric.variance_verdict);
    html! {
        li {
            a href={ "#probe-" (anchor(probe.name)) } { (cell.summary.name) } " · variance of " (probe.main.name) " "
            @if let Some(ratio) = ratio { strong { "× " (number::ratio(ratio.value)) } }
            @if let Some(verdict) = verdict { ": " (verdict.word) }
        }
    }
}

/// What became of the cells without a clear difference, in words.
fn the_others<'a>(summary: &Summary, cells: impl Iterator<Item = &'a Cell<'a>>) -> Vec<String> {
    let cells: Vec<&Cell> = cells.collect();
    let with = |word: &str| {
        cells.iter().filter(|cell| cell.metric.verdict.is_some_and(|verdict| verdict.word == word)).count()
    };
    let silent = summary.cells.iter().filter(|cell| cell.n == 0).count();
    let too_few =
        cells.iter().filter(|cell| cell.metric.verdict.is_none() && cell.metric.difference.is_some()).count();
    let parts = [
        (with("equivalent"), "Equivalent to the baseline, within the margin"),
        (with("undecided"), "Undecided, where more blocks would tell"),
        (too_few, "With too few blocks for a verdict"),
        (silent, "Without any completed trial"),
    ];
    parts
        .into_iter()
        .filter(|(cells, _)| *cells > 0)
        .map(|(cells, words)| format!("{words}: {}.", number::count(cells as u64, "cell")))
        .collect()
}
