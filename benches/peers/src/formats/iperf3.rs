//! iperf3's JSON (`-J`), as the client gives it.

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Payload bits per second that arrived in a TCP stream.
pub fn goodput_bps(output: &str) -> Result<f64> {
    let document = document(output)?;
    document["end"]["sum_received"]["bits_per_second"].as_f64().context("iperf3 reports no goodput")
}

/// Datagrams per second that arrived, and how many they were.
pub fn delivered(output: &str) -> Result<(f64, f64)> {
    let document = document(output)?;
    let sum = &document["end"]["sum"];
    let number = |key: &str| sum[key].as_f64().with_context(|| format!("iperf3 reports no end.sum.{key}"));
    let arrived = number("packets")? - number("lost_packets")?;
    Ok((arrived / number("seconds")?, arrived))
}

fn document(output: &str) -> Result<Value> {
    let document: Value = serde_json::from_str(output).context("iperf3 gave no JSON")?;
    match document["error"].as_str() {
        Some(error) => bail!("iperf3 reports: {error}"),
        None => Ok(document),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrived_counts() {
        // iperf 3.12, shortened.
        let udp = r#"{"end":{"sum":{"seconds":2.0,"bytes":9428480,"packets":147320,"lost_packets":67320}}}"#;
        assert_eq!(delivered(udp).unwrap(), (40_000.0, 80_000.0));
        let tcp = r#"{"end":{"sum_sent":{"bits_per_second":2.0},"sum_received":{"bits_per_second":13438282030.4}}}"#;
        assert_eq!(goodput_bps(tcp).unwrap(), 13_438_282_030.4);
    }

    #[test]
    fn its_error_is_ours() {
        let failed = r#"{"start":{},"error":"unable to connect to server: Connection refused"}"#;
        assert!(goodput_bps(failed).unwrap_err().to_string().contains("Connection refused"));
        assert!(delivered("{}").is_err());
    }
}
