//! The top of the page: what this is, what a reader must know, and what stands out.

use maud::{Markup, html};

use super::anchor;
use crate::{
    figure::Figure,
    input::Input,
    number,
    summary::Summary,
    view::{Cell, Probe},
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
    let ratio = |cell: &Cell| cell.metric.ratio.map_or(1.0, |ratio| ratio.value);
    // Without any interval, as after a quick look, the means are all there is to list.
    let judged = cells().any(|(_, cell)| cell.metric.verdict.is_some());
    let mut clear: Vec<(&Probe, &Cell)> = cells()
        .filter(|(_, cell)| match cell.metric.verdict {
            Some(verdict) => matches!(verdict, "higher" | "lower"),
            None => !judged && cell.metric.ratio.is_some(),
        })
        .collect();
    clear.sort_by(|(_, one), (_, other)| ratio(other).ln().abs().total_cmp(&ratio(one).ln().abs()));
    let rest = the_others(summary, cells().map(|(_, cell)| cell));
    html! {
        section #glance {
            h2 { "At a glance" }
            @if clear.is_empty() {
                p { "No cell differs from the baseline beyond what its runs leave open." }
            } @else {
                @if judged {
                    p {
                        "The clearest differences from the baseline, of "
                        (number::count(clear.len() as u64, "cell")) " whose interval does not hold zero:"
                    }
                } @else {
                    p {
                        "The largest differences of means from the baseline. With so few runs a cell "
                        "there are no intervals: take them as a first look, not as a result."
                    }
                }
                ol.findings { @for (probe, cell) in clear.iter().take(LISTED) { (finding(probe, cell)) } }
            }
            @if !rest.is_empty() { p.soft { (rest.join(" ")) } }
        }
    }
}

fn finding(probe: &Probe, cell: &Cell) -> Markup {
    let ratio = cell.metric.ratio;
    html! {
        li {
            a href={ "#probe-" (anchor(probe.name)) } { (cell.summary.name) } " · " (probe.main.name) " "
            @if let Some(ratio) = ratio { strong { (number::percent_change(ratio.value)) } }
            @if let Some(interval) = ratio.and_then(|ratio| ratio.interval) {
                @let [low, high] = [interval.low, interval.high].map(number::percent_change);
                span.soft { " (" (low) " to " (high) ")" }
            }
        }
    }
}

/// What became of the cells without a clear difference, in words.
fn the_others<'a>(summary: &Summary, cells: impl Iterator<Item = &'a Cell<'a>>) -> Vec<String> {
    let verdicts: Vec<&str> = cells.filter_map(|cell| cell.metric.verdict).collect();
    let with = |verdict: &str| verdicts.iter().filter(|found| **found == verdict).count();
    let silent = summary.cells.iter().filter(|cell| cell.n == 0).count();
    let too_few = summary.cells.iter().filter(|cell| (1..stats::LEAST_RUNS as u64).contains(&cell.n)).count();
    let parts = [
        (with("no-difference"), format!("Within ±{} % of the baseline", summary.margin_percent)),
        (with("undecided"), "Undecided, where more runs would tell".into()),
        (too_few, format!("With fewer than {} runs, too few for an interval", stats::LEAST_RUNS)),
        (silent, "Without any completed trial".into()),
    ];
    parts
        .into_iter()
        .filter(|(cells, _)| *cells > 0)
        .map(|(cells, words)| format!("{words}: {}.", number::count(cells as u64, "cell")))
        .collect()
}
