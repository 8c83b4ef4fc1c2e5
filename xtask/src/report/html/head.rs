//! The top of the page: what this is, what a reader must know, and what stands out.

use maud::{Markup, html};

use super::anchor;
use crate::{
    journal::Outcome,
    report::{
        figure::Figure,
        input::Input,
        number,
        summary::Summary,
        view::{Cell, Probe},
    },
};

/// Differences listed at a glance.
const LISTED: usize = 6;

/// Title, platform, notes, and how many trials completed.
pub fn header(input: &Input, summary: &Summary) -> Markup {
    let outcomes = &summary.outcomes;
    let others: Vec<String> = Outcome::ALL[1..]
        .iter()
        .filter(|&&outcome| outcomes.of(outcome) > 0)
        .map(|&outcome| format!("{} {}", outcomes.of(outcome), outcome.name()))
        .collect();
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
                div { dt { "Trials completed" } dd { (outcomes.completed) " of " (summary.trials_planned) @if !others.is_empty() { span.soft { " (" (others.join(", ")) ")" } } } }
                div { dt { "Cells complete" } dd { (complete) " of " (summary.cells.len()) } }
                div { dt { "Baseline" } dd { (summary.baseline.as_deref().unwrap_or("none")) } }
                div { dt { "Began" } dd { (number::utc(summary.started_wall_ns)) } }
                @if let Some(took) = took { div { dt { "Took" } dd { (number::length(took)) } } }
                div { dt { "Seed" } dd { (summary.seed) } }
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

/// Links to the sections.
pub fn contents(probes: &[(Probe, Vec<Figure>)]) -> Markup {
    html! {
        nav aria-label="Contents" {
            ul {
                li { a href="#glance" { "At a glance" } }
                @for (probe, _) in probes { li { a href={ "#probe-" (anchor(probe.name)) } { (probe.name) } } }
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
    let mut clear: Vec<(&Probe, &Cell, f64)> = Vec::new();
    let mut undecided = 0;
    let mut equal = 0;
    for (probe, _) in probes {
        for cell in &probe.cells {
            match (cell.metric.verdict, cell.metric.ratio) {
                (Some("higher" | "lower"), Some(ratio)) => clear.push((probe, cell, ratio.value)),
                (Some("no-difference"), _) => equal += 1,
                (Some(_), _) => undecided += 1,
                (None, _) => {}
            }
        }
    }
    clear.sort_by(|(_, _, one), (_, _, other)| other.ln().abs().total_cmp(&one.ln().abs()));
    let silent = summary.cells.iter().filter(|cell| cell.n == 0).count();
    html! {
        section #glance {
            h2 { "At a glance" }
            @if clear.is_empty() {
                p { "No cell differs from the baseline beyond what its runs leave open." }
            } @else {
                p { "The clearest differences from the baseline, of " (number::count(clear.len() as u64, "cell")) " whose interval does not hold zero:" }
                ol.findings {
                    @for (probe, cell, ratio) in clear.iter().take(LISTED) {
                        li {
                            a href={ "#probe-" (anchor(probe.name)) } { (cell.summary.name) }
                            " · " (probe.main.name) " " strong { (number::percent_change(*ratio)) }
                            @if let Some(interval) = cell.metric.ratio.and_then(|ratio| ratio.interval) {
                                span.soft { " (" (number::percent_change(interval.low)) " to " (number::percent_change(interval.high)) ")" }
                            }
                        }
                    }
                }
            }
            p.soft {
                (number::count(equal, "cell")) " within ±" (summary.margin_percent) " % of the baseline; "
                (number::count(undecided, "cell")) " undecided: more runs would tell"
                @if silent > 0 { "; " (number::count(silent as u64, "cell")) " without any completed trial" }
                "."
            }
        }
    }
}
