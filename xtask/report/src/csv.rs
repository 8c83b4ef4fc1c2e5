//! `runs.csv`: one line per trial, as the journal has them (RFC 4180, but lines end in LF). Numbers
//! are plain; what is missing is empty.

use super::input::Input;
use plan::{Cell, MetricSpec};

/// All trials, in the order of execution.
pub fn runs(input: &Input) -> String {
    let metrics = columns(input);
    let fixed = [
        "sequence",
        "cell",
        "probe",
        "attachment",
        "load",
        "arm",
        "repetition",
        "attempt",
        "outcome",
        "stage",
        "reason",
        "started_wall_ns",
        "wall_s",
        "probe_s",
        "interrupt_sources",
    ];
    let head = fixed.into_iter().map(str::to_owned).chain(metrics.iter().map(|(_, column)| column.clone()));
    let mut text = line(head);
    for trial in &input.trials {
        let fields = [
            trial.sequence.to_string(),
            trial.cell.name(),
            trial.cell.probe.clone(),
            trial.cell.attachment.clone(),
            trial.cell.load.clone(),
            trial.cell.arm.clone().unwrap_or_default(),
            trial.repetition.to_string(),
            trial.attempt.to_string(),
            trial.outcome.name().to_owned(),
            trial.stage.clone().unwrap_or_default(),
            trial.reason.clone().unwrap_or_default(),
            trial.started_wall_ns.to_string(),
            trial.wall_s.to_string(),
            trial.probe_s.to_string(),
            trial.interrupt_sources.join(" "),
        ];
        let value = |name: &String| trial.metrics.get(name).map(f64::to_string).unwrap_or_default();
        let values = metrics.iter().map(|(name, column)| {
            let known = trial_has_column(input, &trial.cell, name, column);
            if known { value(name) } else { String::new() }
        });
        text.push_str(&line(fields.into_iter().chain(values)));
    }
    text
}

/// The metrics of all probes, each with its column: the name, ending in its unit.
fn columns(input: &Input) -> Vec<(String, String)> {
    let mut columns = Vec::new();
    let mut probes: Vec<String> = Vec::new();
    for cell in input.cells() {
        if !probes.contains(&cell.probe) {
            probes.push(cell.probe.clone());
        }
    }
    for spec in
        probes.iter().filter_map(|probe| input.plan.probes.get(probe)).flat_map(|probe| &probe.metrics)
    {
        let column = (spec.name.clone(), column(spec));
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    columns
}

fn column(spec: &MetricSpec) -> String {
    let suffix = match spec.unit.as_str() {
        "1" | "" => return spec.name.clone(),
        "bits/s" => "bps",
        "bytes/s" => "bytes_per_s",
        unit => unit,
    };
    if spec.name.ends_with(&format!("_{suffix}")) {
        spec.name.clone()
    } else {
        format!("{}_{suffix}", spec.name)
    }
}

/// Whether the probe of `cell` has this metric in this unit: two probes may use one name for two units.
fn trial_has_column(input: &Input, cell: &Cell, name: &str, wanted: &str) -> bool {
    let probe = input.plan.probes.get(&cell.probe);
    probe.is_some_and(|probe| probe.metrics.iter().any(|spec| spec.name == name && column(spec) == wanted))
}

fn line(fields: impl Iterator<Item = String>) -> String {
    let quoted: Vec<String> = fields.map(|field| quote(&field)).collect();
    quoted.join(",") + "\n"
}

/// A field as RFC 4180 wants it.
fn quote(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::Better;

    #[test]
    fn awkward_fields_are_quoted() {
        assert_eq!(
            line(["a".into(), "b,c".into(), "say \"no\"\n".into()].into_iter()),
            "a,\"b,c\",\"say \"\"no\"\"\n\"\n"
        );
    }

    #[test]
    fn columns_end_in_their_unit() {
        let column_of = |name: &str, unit: &str| {
            column(&MetricSpec {
                name: name.into(),
                key: String::new(),
                unit: unit.into(),
                better: Better::Less,
                margin_percent: 1.0,
            })
        };
        assert_eq!(column_of("elapsed", "s"), "elapsed_s");
        assert_eq!(column_of("elapsed_s", "s"), "elapsed_s");
        assert_eq!(column_of("goodput", "bits/s"), "goodput_bps");
        assert_eq!(column_of("interrupts", "1"), "interrupts");
    }
}
