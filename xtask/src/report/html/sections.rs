//! Sections with results: one per probe, the loads' proof, the trials that did not complete, and how
//! the numbers came about.

use maud::{Markup, html};

use super::{anchor, figure_of, table};
use crate::{
    report::{figure::Figure, input::Input, summary::Summary, table as tables, view::Probe},
    stats,
};

/// One probe: tables and figures.
pub fn probe(probe: &Probe, figures: &[Figure]) -> Markup {
    html! {
        section id={ "probe-" (anchor(probe.name)) } {
            h2 { "Probe " (probe.name) }
            @if !probe.spec.about.is_empty() { p.lead { (probe.spec.about) "." } }
            p {
                "Shown: " strong { (probe.main.name) }
                @if !probe.direction().is_empty() { " (" (probe.direction()) ")" }
                ", compared with " (probe.comparison()) "."
            }
            @if figures.is_empty() { p.alert { "No trial of this probe completed: there is nothing to draw." } }
            @for figure in figures.iter().take(1) { (figure_of(figure)) }
            (table(&tables::results(probe)))
            @for figure in figures.iter().skip(1) { (figure_of(figure)) }
            (table(&tables::spread(probe)))
            @if let Some(published) = tables::published(probe) {
                (table(&published))
                @if let Some(published) = &probe.input.plan.published {
                    p.soft { "Published: " (published.source) "." }
                }
            }
            @if let Some(others) = tables::others(probe) { (table(&others)) }
        }
    }
}

/// What the loads had to reach and reached.
pub fn loads(input: &Input) -> Markup {
    html! {
        section #loads {
            h2 { "Did the loads run?" }
            p { "A trial counts only when each part of its load reached what the plan asks for, before the probe began and over its run." }
            @match tables::proofs(input) {
                Some(proofs) => (table(&proofs)),
                None => p { "No load of this plan has to prove itself, or no trial got that far." },
            }
            @if let Some(published) = input.plan.published.as_ref().filter(|published| !published.conclusions.is_empty()) {
                h3 { "What the published report concluded" }
                ul { @for conclusion in &published.conclusions { li { (conclusion) } } }
            }
        }
    }
}

/// Trials outside the statistics.
pub fn incomplete(input: &Input, summary: &Summary) -> Markup {
    html! {
        section #incomplete {
            h2 { "Not completed" }
            @match tables::incomplete(input) {
                Some(incomplete) => {
                    p { "Invalid, failed, timed-out and skipped trials are in no mean and no figure. An invalid trial is repeated once, so that a cell may have more trials than repetitions." }
                    (table(&incomplete))
                }
                None => p { "All " (summary.outcomes.completed) " trials completed." },
            }
        }
    }
}

/// How the numbers came about.
pub fn method(summary: &Summary) -> Markup {
    html! {
        section #method {
            h2 { "How to read the numbers" }
            ul {
                li { "The unit is the run: each trial gives one number per metric, and N counts runs, not operations." }
                li { "Intervals are " (summary.confidence_percent) " % bootstrap intervals (studentised, seeded, 1999 draws), given from " (stats::LEAST_RUNS) " runs on. Each stands for itself: they are not widened for the number of cells compared." }
                li { "“No difference” is said only when the interval of the ratio holds 1 and lies within ±" (summary.margin_percent) " % on both sides. An interval that holds zero but is wider is “undecided”." }
                li { "Cliff’s δ is the chance that a run is larger than one of the baseline, less the chance that it is smaller: −1 to 1." }
                li { "Variance ratios compare the spread with the baseline’s; their intervals come from the same bootstrap on the logarithm." }
                li { "Cost per interrupt = (elapsed − work × the baseline’s elapsed per work) / interrupts." }
                li { "A percentile is given only when at least one run is expected beyond it." }
                li { "Order of execution: Mann–Kendall for a steady drift, Pettitt for a sudden change, both on ratios to the cell’s median." }
                li { "A dash is a number that was not measured or can’t be known. It is never a zero." }
            }
        }
    }
}
