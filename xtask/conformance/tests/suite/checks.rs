//! What holds for the records of every run that has measured something.

use std::path::Path;

use hdrhistogram::{
    Histogram,
    serialization::{
        Deserializer,
        interval_log::{IntervalLogIterator, LogEntry},
    },
};
use serde_json::Value;

use crate::{process::Ended, rows::Time};

/// Samples are told in nanoseconds as seconds of 64-bit floats: that much is lost in each.
const ROUNDING_S: f64 = 2e-9;

impl Ended {
    pub fn of_kind(&self, kind: &str) -> Vec<&Value> {
        self.records.iter().filter(|record| record["record"] == kind).collect()
    }

    /// The samples of intervals; where a tool gives one for a whole run as well, that has no interval.
    pub fn samples(&self) -> Vec<&Value> {
        let mut samples = self.of_kind("sample");
        samples.retain(|sample| sample.get("interval").is_none_or(|interval| !interval.is_null()));
        samples
    }

    pub fn summary(&self) -> &Value {
        let last =
            self.records.last().unwrap_or_else(|| panic!("{}: no record: {}", self.row.args, self.stderr));
        assert_eq!(last["record"], "summary", "{}: {last} {}", self.row.args, self.stderr);
        last
    }

    /// The number at `path` of the summary.
    pub fn elapsed_s(&self) -> f64 {
        let elapsed = self.summary().pointer(self.row.time.1);
        elapsed.and_then(Value::as_f64).unwrap_or_else(|| panic!("{}: {}", self.row.args, self.summary()))
    }

    /// Records come in their order, and the exit code follows from the summary.
    pub fn check_form(&self) -> &Self {
        let kinds: Vec<&str> = self.records.iter().filter_map(|record| record["record"].as_str()).collect();
        let name = self.row.args;
        assert!(kinds.len() >= 3 && kinds[..2] == ["start", "ready"], "{name}: {kinds:?}");
        assert!(
            kinds[2..kinds.len() - 1].iter().all(|kind| ["sample", "quiet"].contains(kind)),
            "{name}: {kinds:?}"
        );
        let warnings = self.summary()["warnings"].as_array().expect("warnings");
        let code = if warnings.is_empty() { 0 } else { 4 };
        assert_eq!(self.code, Some(code), "{name}: {warnings:?} {}", self.stderr);
        self
    }

    /// The samples partition the run: lengths, counts and maxima add up to the summary's.
    pub fn check_sums(&self) -> &Self {
        let (name, samples, summary) = (self.row.args, self.samples(), self.summary());
        let shown = || {
            let brief = |record: &&Value| {
                let mut brief = (*record).clone();
                for key in ["usage", "cost", "sources", "cpus", "tcp", "peer_tcp", "host", "machine", "peer"]
                {
                    brief.as_object_mut().expect("an object").remove(key);
                }
                brief.to_string()
            };
            let lines: Vec<String> = samples.iter().chain([&summary]).map(brief).collect();
            lines.join("\n")
        };
        let number = |record: &Value, path: &str| record.pointer(path).and_then(Value::as_f64);
        let elapsed_s = self.elapsed_s();
        let sum_s = match self.row.time.0 {
            Time::Length(path) => samples.iter().filter_map(|sample| number(sample, path)).sum(),
            Time::End(path) => {
                let ends: Vec<f64> = samples.iter().filter_map(|sample| number(sample, path)).collect();
                assert!(ends.windows(2).all(|pair| pair[0] <= pair[1]), "{name}: {ends:?}");
                ends.last().copied().unwrap_or(0.0)
            }
        };
        let rounding_s = ROUNDING_S * (samples.len() + 1) as f64;
        assert!(
            (sum_s - elapsed_s).abs() <= rounding_s,
            "{name}: samples cover {sum_s} s of {elapsed_s} s\n{}",
            shown()
        );
        for (of_sample, of_summary) in self.row.sums {
            let sum: f64 = samples.iter().filter_map(|sample| number(sample, of_sample)).sum();
            let whole = number(summary, of_summary).unwrap_or(0.0);
            assert_eq!(sum, whole, "{name}: {of_sample} of the samples is not {of_summary}\n{}", shown());
        }
        for (of_sample, of_summary, _) in self.row.latencies.iter().filter(|latency| !latency.0.is_empty()) {
            let of = |record: &Value, key: &str| number(record, &format!("{of_sample}/{key}"));
            let count: f64 = samples.iter().filter_map(|sample| of(sample, "count")).sum();
            let max = samples.iter().filter_map(|sample| of(sample, "max_ns")).reduce(f64::max);
            let whole = number(summary, &format!("{of_summary}/count")).unwrap_or(0.0);
            assert_eq!(count, whole, "{name}: the counts of {of_sample}\n{}", shown());
            assert_eq!(
                max,
                number(summary, &format!("{of_summary}/max_ns")),
                "{name}: {of_sample}\n{}",
                shown()
            );
        }
        self
    }

    /// The histogram log holds what the summary says.
    pub fn check_log(&self, path: &Path) {
        for (_, of_summary, tag) in self.row.latencies {
            let Some(tag) = tag else { continue };
            let logged = read_log(path, tag);
            let of =
                |key: &str| self.summary().pointer(&format!("{of_summary}/{key}")).and_then(Value::as_u64);
            let name = self.row.args;
            assert_eq!(logged.len(), of("count").unwrap_or(0), "{name}: {tag}: {}", self.summary());
            if !logged.is_empty() {
                assert_eq!(Some(logged.max()), of("max_ns"), "{name}: {tag}");
                assert_eq!(Some(logged.min()), of("min_ns"), "{name}: {tag}");
                assert_eq!(Some(logged.value_at_quantile(0.5)), of("p50_ns"), "{name}: {tag}");
            }
        }
    }
}

/// All intervals of one tag, added up.
fn read_log(path: &Path, tag: &str) -> Histogram<u64> {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut sum = Histogram::<u64>::new_with_bounds(1, 3_600_000_000_000, 3).expect("valid bounds");
    for entry in IntervalLogIterator::new(&text) {
        let Ok(LogEntry::Interval(interval)) = entry else { continue };
        if interval.tag().is_some_and(|found| found.as_str() == tag) {
            let bytes = from_base64(interval.encoded_histogram());
            let part: Histogram<u64> =
                Deserializer::new().deserialize(&mut std::io::Cursor::new(bytes)).expect("a histogram");
            sum.add(&part).expect("the same bounds");
        }
    }
    sum
}

/// Decodes standard base64.
fn from_base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for digit in text.bytes().filter_map(|byte| ALPHABET.iter().position(|&other| other == byte)) {
        bits = bits << 6 | digit as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}
