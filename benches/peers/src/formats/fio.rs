//! fio's JSON (`--output-format=json`).

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// What fio says of one direction of its only job.
#[derive(Debug, PartialEq)]
pub struct Report {
    /// Bytes per second.
    pub bytes_per_s: f64,
    /// Operations per second.
    pub operations_per_s: f64,
    /// Operations.
    pub operations: f64,
    /// Median and 99th percentile of the total latency (submission and completion together, by
    /// `--lat_percentiles=1`), in nanoseconds.
    pub total_latency_ns: Option<(f64, f64)>,
}

/// Reads the report; `direction` is `read` or `write`.
pub fn parse(output: &str, direction: &str) -> Result<Report> {
    // fio may write notes for people before the document.
    let document = output.find('{').map_or(output, |start| &output[start..]);
    let document: Value = serde_json::from_str(document).context("fio gave no JSON")?;
    let job = document["jobs"].get(0).context("fio reports no job")?;
    if let Some(error) = job["error"].as_i64().filter(|error| *error != 0) {
        bail!("fio reports error {error}");
    }
    let part = &job[direction];
    let number = |key: &str| part[key].as_f64().with_context(|| format!("fio reports no {direction}.{key}"));
    let operations = number("total_ios")?;
    ensure!(operations > 0.0, "fio did no {direction}");
    let percentile = |name: &str| part["lat_ns"]["percentile"][name].as_f64();
    Ok(Report {
        bytes_per_s: number("bw_bytes")?,
        operations_per_s: number("iops")?,
        operations,
        total_latency_ns: percentile("50.000000").zip(percentile("99.000000")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// fio 3.33, shortened.
    const OUTPUT: &str = r#"note: both iodepth >= 1 and synchronous I/O engine are selected
{ "fio version" : "fio-3.33",
  "jobs" : [ { "jobname" : "w", "error" : 0,
    "read" : { "bw_bytes" : 0, "iops" : 0.000000, "total_ios" : 0 },
    "write" : { "io_bytes" : 67108864, "bw_bytes" : 615677651, "iops" : 4697.247706, "total_ios" : 512,
      "lat_ns" : { "min" : 1, "max" : 2, "mean" : 1.5, "stddev" : 0.1, "N" : 512,
        "percentile" : { "50.000000" : 1548288, "99.000000" : 4227072 } } } } ] }"#;

    #[test]
    fn rates_and_percentiles_are_read() {
        let report = parse(OUTPUT, "write").unwrap();
        assert_eq!(report.bytes_per_s, 615_677_651.0);
        assert_eq!(report.operations_per_s, 4697.247706);
        assert_eq!(report.total_latency_ns, Some((1_548_288.0, 4_227_072.0)));
    }

    #[test]
    fn a_job_that_did_nothing_or_failed_is_an_error() {
        assert!(parse(OUTPUT, "read").unwrap_err().to_string().contains("did no read"));
        let failed = OUTPUT.replace("\"error\" : 0", "\"error\" : 28");
        assert!(parse(&failed, "write").unwrap_err().to_string().contains("error 28"));
        assert!(parse("fio: no such file", "write").is_err());
    }
}
