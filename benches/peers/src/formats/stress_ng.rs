//! stress-ng's YAML (`--yaml FILE`), of which a few plain numbers are wanted.

use anyhow::{Context, Result};

/// CPU time over elapsed time of the only stressor, in percent.
pub fn duty_percent(yaml: &str) -> Result<f64> {
    let busy = number(yaml, "user-time")? + number(yaml, "system-time")?;
    Ok(busy / number(yaml, "wall-clock-time")? * 100.0)
}

/// The number behind a key.
fn number(yaml: &str, key: &str) -> Result<f64> {
    let value = yaml.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(':'));
    value.and_then(|value| value.trim().parse().ok()).with_context(|| format!("stress-ng reports no {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duty_is_cpu_time_over_elapsed_time() {
        // stress-ng 0.15.06, shortened.
        let yaml = "metrics:\n    - stressor: cpu\n      bogo-ops: 576\n      wall-clock-time: 2.000000\n      user-time: 0.500000\n      system-time: 0.100000\n...\n";
        assert!((duty_percent(yaml).unwrap() - 30.0).abs() < 1e-9);
        assert!(duty_percent("---\n").is_err());
    }
}
