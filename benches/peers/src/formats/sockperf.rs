//! What sockperf writes for people; it has no other output. Ping-pong needs `--full-rtt`, for sockperf
//! halves the round trip otherwise.

use anyhow::{Context, Result};

/// Transactions of a ping-pong.
#[derive(Debug, PartialEq)]
pub struct PingPong {
    /// Transactions per second, warm-up left out.
    pub transactions_per_s: f64,
    /// Median round trip, in nanoseconds.
    pub p50_ns: f64,
    /// 99th percentile of the round trip, in nanoseconds.
    pub p99_ns: f64,
}

/// Reads the output of `sockperf ping-pong --full-rtt`.
pub fn ping_pong(output: &str) -> Result<PingPong> {
    let parse = || {
        let valid = output.lines().find(|line| line.contains("[Valid Duration]"))?;
        let seconds = after(valid, "RunTime=")?;
        let transactions = after(valid, "ReceivedMessages=")?;
        let percentile = |name: &str| {
            let line = output.lines().find(|line| line.contains(&format!("percentile {name} =")))?;
            Some(after(line, "=")? * 1000.0)
        };
        Some(PingPong {
            transactions_per_s: (seconds > 0.0).then_some(transactions / seconds)?,
            p50_ns: percentile("50.000")?,
            p99_ns: percentile("99.000")?,
        })
    };
    parse().context("sockperf reports no transactions")
}

/// How many messages a server says that it received.
pub fn received(output: &str) -> Result<f64> {
    let line = output.lines().find(|line| line.contains("messages received"));
    line.and_then(|line| after(line, "Total ")).context("sockperf does not say what it received")
}

/// The number that follows `mark`.
fn after(line: &str, mark: &str) -> Option<f64> {
    let rest = line.split_once(mark)?.1.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// sockperf 3.7, shortened.
    const CLIENT: &str = "sockperf: \x1b[2;35m== version #3.7-no.git == \x1b[0m
sockperf: [Total Run] RunTime=1.001 sec; Warm up time=400 msec; SentMessages=15152; ReceivedMessages=15151
sockperf: [Valid Duration] RunTime=0.500 sec; SentMessages=5367; ReceivedMessages=5367
sockperf: \x1b[2;35m====> avg-rtt=102.396 (std-dev=108.815)\x1b[0m
sockperf: ---> <MAX> observation = 3830.998
sockperf: ---> percentile 99.900 = 1661.643
sockperf: ---> percentile 99.000 =  337.980
sockperf: ---> percentile 50.000 =   96.222
sockperf: ---> <MIN> observation =   12.598
";

    #[test]
    fn round_trips_are_read() {
        let expected = PingPong { transactions_per_s: 10_734.0, p50_ns: 96_222.0, p99_ns: 337_980.0 };
        assert_eq!(ping_pong(CLIENT).unwrap(), expected);
        assert!(ping_pong("sockperf: ERROR: No connection").is_err());
    }

    #[test]
    fn the_servers_count_is_read() {
        let server = "sockperf: Test end (interrupted by user)\nsockperf: Total 118341 messages received and handled\n";
        assert_eq!(received(server).unwrap(), 118_341.0);
    }
}
