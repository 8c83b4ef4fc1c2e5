//! The last line that dd writes to standard error.

use anyhow::{Context, Result};

/// Bytes per second.
pub fn bytes_per_s(stderr: &str) -> Result<f64> {
    let parse = || {
        let line = stderr.lines().rev().find(|line| line.contains(" copied, "))?;
        let bytes: f64 = line.split(' ').next()?.parse().ok()?;
        let seconds: f64 = line.split(" copied, ").nth(1)?.split(' ').next()?.parse().ok()?;
        (seconds > 0.0).then(|| bytes / seconds)
    };
    parse().with_context(|| format!("dd does not say what it copied: {stderr}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_seconds_are_read() {
        let stderr =
            "500+0 records in\n500+0 records out\n65536000 bytes (66 MB, 62 MiB) copied, 0.5 s, 446 MB/s\n";
        assert_eq!(bytes_per_s(stderr).unwrap(), 131_072_000.0);
        assert!(bytes_per_s("dd: failed to open 'x': Permission denied\n").is_err());
    }
}
