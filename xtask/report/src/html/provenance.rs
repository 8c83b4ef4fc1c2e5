//! Where the numbers come from: order, plan, machine and binaries.

use std::collections::BTreeSet;

use maud::{Markup, html};
use serde_json::Value;

use super::table;
use crate::{
    figure::{Figure, drift_in_words},
    input::Input,
    number,
    summary::Summary,
    table::{self as tables, NONE, Table, data},
    view::Probe,
};
use plan::PartSpec;
use results::journal::Trial;

/// Order of trials, and whether results moved.
pub fn order(input: &Input, summary: &Summary, probes: &[(Probe, Vec<Figure>)]) -> Markup {
    let looked_at = |trial: &&Trial| trial.outcome.counts() && !trial.looked_at_s.is_empty();
    let looked_at = input.trials.iter().filter(looked_at).count() as u64;
    html! {
        section #order {
            h2 { "Order of trials" }
            p {
                "Blocks of one repetition of every cell, each block shuffled with seed "
                strong { (summary.seed) } ": the same seed and plan give the same order. Of "
                (number::count(summary.trials_planned, "trial"))
                " planned the journal has " (number::count(input.trials.len() as u64, "line"))
                ", repeated attempts included."
            }
            dl.plain {
                @for (probe, _) in probes {
                    @if let Some(drift) = summary.drift.get(probe.name) {
                        dt { (probe.name) }
                        dd { (drift_in_words(drift)) }
                    }
                }
            }
            @if let Some(stages) = tables::stages(input) { (table(&stages)) }
            @if looked_at > 0 {
                p {
                    "In " (number::count(looked_at, "completed trial")) " the probe took several times longer "
                    "than others before it, and the host was asked, while it measured, whether its domain still ran."
                }
            }
        }
    }
}

/// The axes of the plan.
pub fn axes(input: &Input) -> Markup {
    html! {
        section #axes {
            h2 { "What was run" }
            p {
                "The whole plan is in " a href="../plan.toml" { "plan.toml" } ", every trial in "
                a href="../runs.csv" { "runs.csv" } ", the statistics in "
                a href="../summary.json" { "summary.json" } "."
            }
            (table(&attachments(input)))
            (table(&loads(input)))
            (table(&probes(input)))
            @if !input.plan.variables.is_empty() { (table(&variables(input))) }
        }
    }
}

fn attachments(input: &Input) -> Table {
    let used = |name: &str| input.cells().any(|cell| cell.attachment == name);
    let rows = input.plan.attachments.iter().filter(|(name, _)| used(name)).map(|(name, spec)| {
        vec![
            if spec.baseline { format!("{name} (baseline)") } else { name.clone() },
            spec.measured.get_ref().clone(),
            device(&spec.device),
            spec.about.clone(),
        ]
    });
    let head = ["Attachment", "Measured domain", "Device", "What it is"];
    data("Attachments: how the measured domain reaches its device.", &head, rows.collect())
}

fn loads(input: &Input) -> Table {
    let used = |name: &str| input.cells().any(|cell| cell.load == name);
    let rows = input.plan.loads.iter().filter(|(name, _)| used(name));
    let rows = rows.map(|(name, spec)| vec![name.clone(), spec.about.clone(), commands(&spec.parts)]);
    data("Loads: what the neighbours did.", &["Load", "What it is", "Commands"], rows.collect())
}

fn probes(input: &Input) -> Table {
    let used = |name: &str| input.cells().any(|cell| cell.probe == name);
    let rows = input.plan.probes.iter().filter(|(name, _)| used(name)).map(|(name, spec)| {
        let own = format!("{} {}", spec.tool.get_ref(), words(&spec.args));
        vec![name.clone(), own, commands(&spec.with)]
    });
    data("Probes: what was measured.", &["Probe", "Command", "Other ends"], rows.collect())
}

fn variables(input: &Input) -> Table {
    let rows = input.plan.variables.iter().map(|(name, value)| vec![format!("{{{name}}}"), value.clone()]);
    data("Words of the plan.", &["Word", "Value"], rows.collect())
}

/// The platform's terms for a device, as the plan has them.
fn device(terms: &toml::Table) -> String {
    let term = |(key, value): (&String, &toml::Value)| match value.as_str() {
        Some(word) => format!("{key}: {word}"),
        None => format!("{key}: {value}"),
    };
    if terms.is_empty() { NONE.into() } else { terms.iter().map(term).collect::<Vec<_>>().join(", ") }
}

/// The commands of all parts, each with its domain.
fn commands(parts: &[PartSpec]) -> String {
    let command =
        |part: &PartSpec| format!("{}: {} {}", part.domain.get_ref(), part.tool.get_ref(), words(&part.args));
    if parts.is_empty() { NONE.into() } else { parts.iter().map(command).collect::<Vec<_>>().join("; ") }
}

fn words(args: &[toml::Spanned<String>]) -> String {
    args.iter().map(|arg| arg.get_ref().as_str()).collect::<Vec<_>>().join(" ")
}

/// Facts of the machine, CPUs of the domains, binaries.
pub fn machine(input: &Input) -> Markup {
    let header = &input.header;
    let cpus = header.domain_cpus.iter().map(|(domain, cpus)| {
        let spec = input.plan.domains.get(domain);
        let asked = spec.map_or(NONE.into(), |spec| spec.cpus.clone());
        vec![domain.clone(), cpus.clone(), asked, spec.map(|spec| spec.about.clone()).unwrap_or_default()]
    });
    let mut digests: Vec<Vec<String>> =
        header.tools_sha256.iter().map(|(tool, digest)| vec![tool.clone(), digest.clone()]).collect();
    digests.push(vec!["plan.toml".into(), header.plan_sha256.clone()]);
    let head = ["Domain", "CPUs", "Asked for", "What it is"];
    let cpus = data("CPUs of the domains: as they were, and as the plan asks.", &head, cpus.collect());
    let digests = Table { mono: true, ..data("SHA-256 of what ran.", &["File", "Digest"], digests) };
    html! {
        section #machine {
            h2 { "Machine and binaries" }
            @if let Some(domains) = domains(input) { (table(&domains)) }
            (table(&coordinator(input)))
            (table(&cpus))
            (table(&digests))
        }
    }
}

/// Facts of the domains that were measured, as the probes gave them; nothing where the journal has none.
fn domains(input: &Input) -> Option<Table> {
    let measured = input.cells().filter_map(|cell| input.plan.attachments.get(&cell.attachment));
    let measured: BTreeSet<&String> = measured.map(|spec| spec.measured.get_ref()).collect();
    let known: Vec<_> =
        measured.into_iter().filter_map(|name| Some((name, input.facts.get(name)?))).collect();
    let first = known.first()?.1.as_object()?;
    let rows = first.keys().map(|key| {
        let values = known.iter().map(|(_, facts)| fact(key, facts.get(key).unwrap_or(&Value::Null)));
        [key.replace('_', " ")].into_iter().chain(values).collect()
    });
    let head: Vec<&str> = ["Fact"].into_iter().chain(known.iter().map(|(name, _)| name.as_str())).collect();
    Some(data("The measured domains, as the tools in them see them.", &head, rows.collect()))
}

/// Facts of the machine that ran the matrix.
fn coordinator(input: &Input) -> Table {
    let facts: Vec<Vec<String>> = match &input.header.host {
        Value::Object(facts) => {
            facts.iter().map(|(key, value)| vec![key.replace('_', " "), fact(key, value)]).collect()
        }
        other => vec![vec!["host".into(), fact("host", other)]],
    };
    data("The machine that ran the matrix.", &["Fact", "Value"], facts)
}

/// One fact; sizes in bytes get their unit, what the machine hides a dash.
fn fact(key: &str, value: &Value) -> String {
    match value {
        Value::Null => NONE.into(),
        Value::String(text) => text.clone(),
        Value::Number(bytes) if key.ends_with("_bytes") => {
            format!("{} GiB", number::fixed(bytes.as_f64().unwrap_or_default() / f64::from(1 << 30), 1))
        }
        Value::Array(items) => items.iter().map(|item| fact(key, item)).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
