//! What criterion leaves behind: `estimates.json` of a benchmark.

use anyhow::{Context, Result};
use serde_json::Value;

/// Median time of one iteration, in nanoseconds.
pub fn median_ns(estimates: &str) -> Result<f64> {
    let estimates: Value = serde_json::from_str(estimates).context("criterion wrote no JSON")?;
    estimates["median"]["point_estimate"].as_f64().context("criterion wrote no median")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_read() {
        let estimates =
            r#"{"mean":{"point_estimate":3.0},"median":{"confidence_interval":{},"point_estimate":2.5}}"#;
        assert_eq!(median_ns(estimates).unwrap(), 2.5);
        assert!(median_ns("{}").is_err());
    }
}
