//! Records of our own tools.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    figures::{Figure, Measurement},
    process::Finished,
};
use domain::{kind, number};

/// The summary in a tool's records.
pub struct Summary(Value);

/// Reads the summary; the words of an `error` record are the error.
pub fn summary(finished: &Finished) -> Result<Summary> {
    parse(&finished.stdout)
}

fn parse(records: &str) -> Result<Summary> {
    for record in records.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        match kind(&record) {
            "summary" => return Ok(Summary(record)),
            "error" => bail!("{}", record["message"].as_str().unwrap_or("an error without words")),
            _ => {}
        }
    }
    bail!("it gave no summary")
}

/// When a tool was ready, by its `ready` record: nanoseconds of the monotonic clock.
pub fn ready_ns(finished: &Finished) -> Result<u64> {
    let mut records = finished.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ready = records.find(|record| kind(record) == "ready").context("it gave no `ready` record")?;
    ready["mono_ns"].as_u64().context("its `ready` record has no time")
}

impl Summary {
    /// The number at `key`, dots between levels.
    pub fn number(&self, key: &str) -> Result<f64> {
        number(&self.0, key).with_context(|| format!("its summary has no number `{key}`"))
    }

    /// What it cost, with the tool's own, exact account of its memory, and its warnings.
    pub fn complete(&self, mut measurement: Measurement) -> Measurement {
        if let Some(peak) = self.peak_bytes() {
            measurement = measurement.with(Figure::RESIDENT_PEAK_BYTES, peak);
        }
        let warnings = self.0["warnings"].as_array().into_iter().flatten();
        measurement.remarks.extend(warnings.filter_map(Value::as_str).map(str::to_owned));
        measurement
    }

    /// Peak resident memory by the tool's own account (VmHWM), in bytes.
    pub fn peak_bytes(&self) -> Option<f64> {
        number(&self.0, "usage.resident_peak_bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_found_behind_samples() {
        let records = "{\"record\":\"ready\",\"mono_ns\":5}\n{\"record\":\"sample\",\"x\":1}\n\
            {\"record\":\"summary\",\"x\":2,\"usage\":{\"resident_peak_bytes\":4096},\"warnings\":[\"w\"]}\n";
        let summary = parse(records).unwrap();
        assert_eq!(summary.number("x").unwrap(), 2.0);
        let measurement = summary.complete(Measurement::default());
        assert_eq!(measurement.get(Figure::RESIDENT_PEAK_BYTES), Some(4096.0));
        assert_eq!(measurement.remarks, ["w"]);
        assert!(summary.number("y").unwrap_err().to_string().contains("`y`"));
    }

    #[test]
    fn an_error_is_told_in_the_tools_words() {
        let told = parse("{\"record\":\"error\",\"kind\":\"failed\",\"message\":\"no disk\"}\n");
        assert_eq!(told.err().unwrap().to_string(), "no disk");
        assert!(parse("").is_err());
    }
}
