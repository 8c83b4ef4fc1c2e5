//! The last words of valgrind's cachegrind on standard error.

use anyhow::{Context, Result};

/// Instructions that the program executed.
pub fn instructions(words: &str) -> Result<f64> {
    // `I   refs:` or `I refs:`, by version; `LLi misses:` and the like are other counts.
    let of_line = |line: &'_ str| {
        let (head, count) = line.split_once("refs:")?;
        head.trim_end().ends_with(" I").then(|| count.to_owned())
    };
    let count = words.lines().find_map(of_line);
    count
        .and_then(|count| count.trim().replace(',', "").parse().ok())
        .context("valgrind does not tell how many instructions there were")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_read() {
        // valgrind 3.19, shortened.
        let words = "==7== Cachegrind, a cache and branch-prediction profiler\n==7== \n==7== I   refs:      12,774,192\n";
        assert_eq!(instructions(words).unwrap(), 12_774_192.0);
        assert!(instructions("==7== \n").is_err());
    }
}
