//! Sections with results: one per probe, the loads' proof, the trials that did not complete, and how
//! the numbers came about.

use maud::{Markup, html};

use super::{anchor, figure_of, sentence, table};
use crate::{figure::Figure, input::Input, summary::Summary, table as tables, view::Probe};

/// One probe: tables and figures.
pub fn probe(probe: &Probe, figures: &[Figure]) -> Markup {
    html! {
        section id={ "probe-" (anchor(probe.name)) } {
            h2 { "Probe " (probe.name) }
            @if !probe.spec.about.is_empty() { p.lead { (sentence(&probe.spec.about)) } }
            p {
                "Shown: " strong { (probe.main.name) }
                @if !probe.direction().is_empty() { " (" (probe.direction()) ")" }
                ", compared with " (probe.comparison()) "."
            }
            @if figures.is_empty() {
                p.alert { "No trial of this probe completed: there is nothing to draw." }
            }
            @for figure in figures.iter().take(1) { (figure_of(figure)) }
            (table(&tables::results(probe)))
            @for figure in figures.iter().skip(1) { (figure_of(figure)) }
            (table(&tables::spread(probe)))
            @if let Some(loads) = tables::load_effects(probe) { (table(&loads)) }
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
            p {
                "A trial counts only when each part of its load reached what the plan asks for, before the "
                "probe began and over its run. Trials that were invalid for that reason are in this table."
            }
            @match tables::proofs(input) {
                Some(proofs) => (table(&proofs)),
                None => p { "No load of this plan has to prove itself, or no trial got that far." },
            }
        }
    }
}

/// What the published report concluded, to be held against the tables.
pub fn conclusions(input: &Input) -> Markup {
    let published = input.plan.published.as_ref().filter(|published| !published.conclusions.is_empty());
    html! {
        @if let Some(published) = published {
            section #published {
                h2 { "What the published report concluded" }
                p.soft { (published.source) "." }
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
                    p {
                        "Invalid, failed, timed-out and skipped trials are in no mean and no figure. "
                        "An invalid trial is repeated once, so that a cell may have more trials than repetitions."
                    }
                    (table(&incomplete))
                }
                None => p { "All " (summary.outcomes.completed()) " trials completed." },
            }
        }
    }
}

/// How the numbers came about.
pub fn method(summary: &Summary) -> Markup {
    let (confidence, least) = (summary.confidence_percent, stats::LEAST_RUNS);
    let rules = [
        "The unit is the run: each trial gives one number per metric, and N counts runs, not operations."
            .to_owned(),
        "A cell is compared with its baseline block by block, over the blocks in which both completed: what a block \
         does to all of its runs alike cancels. “Paired” is the width of the interval over that without pairing."
            .to_owned(),
        format!(
            "Intervals are {confidence} % intervals, given from {least} runs on. Those of differences and ratios \
             are of sign flips over blocks, or of Student’s t over boots where there are several; those of one \
             cell’s mean are of a studentised bootstrap."
        ),
        "Verdicts are from intervals that are adjusted for all comparisons of the probe. Different: wholly beyond \
         the margin. Small: not equal, and not wholly beyond the margin. Equivalent: wholly within the margin. \
         Undecided: neither; beside it the number of blocks that would probably decide."
            .to_owned(),
        "The margin is the plan’s, for each metric; for variances it is a factor of 2. No difference within the \
         noise floor, which is how far apart two equal things are, is called one."
            .to_owned(),
        "Cliff’s δ is the chance that a run is larger than one of the baseline, less the chance that it is \
         smaller: −1 to 1."
            .to_owned(),
        "Variance ratios compare the spread with the baseline’s.".to_owned(),
        "Cost per interrupt = (elapsed − work × the baseline’s elapsed per work) / interrupts, where the baseline \
         has the same load and the interval does not hold zero. Slope: how much longer a run of the cell itself \
         takes for each interrupt more."
            .to_owned(),
        "Interaction: the load’s ratio here divided by the load’s ratio at the baseline.".to_owned(),
        "A percentile is given only when at least one run is expected beyond it.".to_owned(),
        "Drift: Mann and Kendall’s test for a steady trend, Pettitt’s for a sudden change, both on the \
         ratios of runs to their cell’s median."
            .to_owned(),
        "A dash is a number that was not measured or can’t be known. It is never a zero.".to_owned(),
    ];
    html! {
        section #method {
            h2 { "How to read the numbers" }
            ul { @for rule in &rules { li { (rule) } } }
        }
    }
}
