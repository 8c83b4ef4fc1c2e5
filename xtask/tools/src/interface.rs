//! What the tools take and give: their arguments, read by their own parsers, and the numbers of their records,
//! from the schemas of the types that write them.

use std::{collections::BTreeSet, sync::LazyLock};

use clap::CommandFactory;
use serde_json::Value;

/// Keys of a record that say when it was written: every record has them, and they measure nothing.
const STAMPS: [&str; 2] = ["mono_ns", "wall_ns"];

/// Reads arguments as `tool` would; gives its subcommand, where it has one.
///
/// # Errors
/// The parser's words about the first argument that it refuses, in one line.
pub fn subcommand(tool: &str, args: &[String]) -> Result<Option<String>, String> {
    let command = match tool {
        "cpuload" => cpuload::Args::command(),
        "diskprobe" => diskprobe::Args::command(),
        "irqwatch" => irqwatch::Args::command(),
        "netprobe" => netprobe::Args::command(),
        "udpsend" => udpsend::Args::command(),
        _ => return Err(format!("no tool is named `{tool}`")),
    };
    let line = std::iter::once(tool).chain(args.iter().map(String::as_str));
    match command.try_get_matches_from(line) {
        Ok(matches) => Ok(matches.subcommand_name().map(str::to_owned)),
        Err(error) if error.use_stderr() => {
            let text = error.to_string();
            let words = text.split("\n\n").next().unwrap_or_default();
            let words: Vec<&str> = words.split_whitespace().collect();
            Err(format!("{tool} refuses its arguments: {}", words.join(" ")))
        }
        Err(_) => Err(format!("{tool} would only print help or its version, and measure nothing")),
    }
}

/// The numbers of a tool's records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Keys of the summary, dots between levels.
    pub summary: BTreeSet<String>,
    /// Keys of samples; empty where there are no samples.
    pub sample: BTreeSet<String>,
}

/// The numbers that `tool` writes when it is asked for `subcommand`.
pub fn numbers(tool: &str, subcommand: Option<&str>) -> Numbers {
    let kind = |record: &str| {
        let stems = match (tool, subcommand) {
            ("diskprobe", _) | (_, None) => vec![format!("{tool}-{record}")],
            // Transactions over a connection each are written as those over one.
            ("netprobe", Some("crr")) => vec![format!("netprobe-rr-{record}")],
            (_, Some(subcommand)) => vec![format!("{tool}-{subcommand}-{record}")],
        };
        let known = SCHEMAS.iter().filter(|(stem, _)| stems.contains(stem));
        let mut keys = BTreeSet::new();
        known.for_each(|(_, schema)| collect(schema, schema, "", &mut keys));
        keys
    };
    Numbers { summary: kind("summary"), sample: kind("sample") }
}

static SCHEMAS: LazyLock<Vec<(String, Value)>> = LazyLock::new(|| {
    let all = [
        cpuload::schemas(),
        diskprobe::schemas(),
        irqwatch::schemas(),
        netprobe::schemas(),
        udpsend::schemas(),
    ];
    all.into_iter().flatten().map(|(stem, schema)| (stem.to_owned(), schema.into())).collect()
});

/// Adds the keys of `schema` that are numbers, below `prefix`. `root` has the definitions.
fn collect(root: &Value, schema: &Value, prefix: &str, keys: &mut BTreeSet<String>) {
    if let Some(target) = schema["$ref"].as_str().and_then(|path| root.pointer(path.strip_prefix('#')?)) {
        collect(root, target, prefix, keys);
    }
    for choice in ["anyOf", "oneOf", "allOf"] {
        for part in schema[choice].as_array().into_iter().flatten() {
            collect(root, part, prefix, keys);
        }
    }
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        let separator = if prefix.is_empty() { "" } else { "." };
        collect(root, inner, &format!("{prefix}{separator}{key}"), keys);
    }
    let kind = &schema["type"];
    let is = |name: &str| kind == name || kind.as_array().is_some_and(|kinds| kinds.contains(&name.into()));
    if (is("number") || is("integer")) && !prefix.is_empty() && !STAMPS.contains(&prefix) {
        keys.insert(prefix.to_owned());
    }
}

/// The unit of the number at `key`, which its name ends with: `s`, `ns`, `bits/s`, `bytes/s`, `bytes`,
/// `packets/s`, `%`, `1/s`, and `1` for counts and ratios. Nothing for the statistics of a chosen metric, whose
/// unit is that of the metric.
pub fn unit(key: &str) -> Option<&'static str> {
    if key.starts_with("confidence.") && !key.ends_with("_percent") && !key.ends_with(".repetitions") {
        return None;
    }
    let last = key.rsplit('.').next().unwrap_or(key);
    let rules = [
        ("bytes_per_s", "bytes/s"),
        ("_per_gib_s", "s"),
        ("_per_s", "1/s"),
        ("_per_cpu_s", "1/s"),
        ("_bps", "bits/s"),
        ("_pps", "packets/s"),
        ("_percent", "%"),
        ("bytes", "bytes"),
        ("_ns", "ns"),
        ("_s", "s"),
    ];
    let by_end = rules.iter().find(|(end, _)| last.ends_with(end)).map(|(_, unit)| *unit);
    let inside = last.contains("_ns_per_").then_some("ns");
    Some(by_end.or(inside).unwrap_or("1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn arguments_are_read_as_the_tool_reads_them() {
        assert_eq!(subcommand("udpsend", &words("sink --listen 127.0.0.1:9")), Ok(Some("sink".into())));
        assert_eq!(subcommand("cpuload", &words("--duty 100 --duration 1h")), Ok(None));
        for (tool, args) in [
            ("cpuload", "--dutty 100"),
            ("cpuload", "--duty NaN"),
            ("netprobe", "serv"),
            ("dd", "if=/dev/zero"),
        ] {
            assert!(subcommand(tool, &words(args)).is_err(), "{tool} {args}");
        }
        assert!(subcommand("cpuload", &words("--help")).unwrap_err().contains("measure nothing"));
    }

    #[test]
    fn numbers_are_those_of_the_subcommands_records() {
        let disk = numbers("diskprobe", Some("write"));
        assert!(disk.summary.contains("total_latency.p99_ns") && disk.summary.contains("interrupts.count"));
        assert!(!disk.summary.contains("total_latency") && !disk.summary.contains("mono_ns"));
        let (sink, sender) = (numbers("udpsend", Some("sink")), numbers("udpsend", None));
        assert!(sink.sample.contains("delivered_pps") && !sender.sample.contains("delivered_pps"));
        assert!(numbers("netprobe", Some("serve")).sample.is_empty());
        for subcommand in ["stream", "rr", "crr"] {
            let numbers = numbers("netprobe", Some(subcommand));
            assert!(numbers.summary.contains("elapsed_s") && !numbers.sample.is_empty(), "{subcommand}");
        }
    }

    #[test]
    fn a_unit_is_what_a_key_ends_with() {
        for (key, expected) in [
            ("elapsed_s", "s"),
            ("total_latency.p99_ns", "ns"),
            ("goodput_bps", "bits/s"),
            ("bytes_per_s", "bytes/s"),
            ("operations_per_s", "1/s"),
            ("received_bytes", "bytes"),
            ("bytes", "bytes"),
            ("duty_percent", "%"),
            ("delivered_pps", "packets/s"),
            ("interrupts.count", "1"),
            ("cost.cpu_ns_per_kb", "ns"),
        ] {
            assert_eq!(unit(key), Some(expected), "{key}");
        }
        assert_eq!(unit("confidence.mean"), None);
    }
}
