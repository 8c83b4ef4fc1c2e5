//! The one latency histogram: HdrHistogram with three significant digits, in nanoseconds.

use std::{
    fmt,
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use hdrhistogram::{
    Histogram,
    serialization::{
        V2DeflateSerializer,
        interval_log::{IntervalLogWriterBuilder, Tag},
    },
};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, units};

/// Longest latency kept apart, in nanoseconds (one hour); longer ones count as this.
pub const HIGHEST_NS: u64 = 3_600_000_000_000;

/// A histogram of latencies in nanoseconds: 1 ns to one hour, each value within 0.1 %.
///
/// All of its memory (about 270 kB) is there from the start, so recording never allocates.
#[derive(Clone, Debug)]
pub struct LatencyHistogram {
    inner: Histogram<u64>,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self::new()
    }
}

impl LatencyHistogram {
    /// An empty histogram, its pages touched.
    ///
    /// # Panics
    /// Never: the bounds are constants that the histogram accepts.
    #[must_use]
    pub fn new() -> Self {
        let mut inner = Histogram::new_with_bounds(1, HIGHEST_NS, 3).expect("constant bounds are valid");
        // A first and a last value, then none: every page of the counts has been written to.
        for value in [1, HIGHEST_NS] {
            inner.saturating_record(value);
        }
        inner.reset();
        Self { inner }
    }

    /// An empty histogram for sums, used outside of hot loops: its memory grows with the longest latency that is added,
    /// which saves a short-lived tool the time to touch it all.
    ///
    /// # Panics
    /// Never, as [`LatencyHistogram::new`].
    #[must_use]
    pub fn untouched() -> Self {
        Self { inner: Histogram::new(3).expect("a constant precision is valid") }
    }

    /// Counts one latency.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.inner.saturating_record(ns);
    }

    /// Counts the same latency `count` times, as for the packets of one batch.
    #[inline]
    pub fn record_many(&mut self, ns: u64, count: u64) {
        self.inner.saturating_record_n(ns, count);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        // Both have the same bounds, so nothing can fall outside.
        let _ = self.inner.add(&other.inner);
    }

    /// Forgets everything; the memory stays.
    pub fn reset(&mut self) {
        self.inner.reset();
    }

    /// How many latencies it holds.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.inner.len()
    }

    /// The latency that `percent` of all do not exceed, in nanoseconds; `None` when empty.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<u64> {
        (!self.inner.is_empty()).then(|| self.inner.value_at_quantile(percent / 100.0))
    }

    /// The usual figures; `None` when empty, for an empty histogram has no minimum.
    #[must_use]
    pub fn summary(&self) -> Option<LatencySummary> {
        (!self.inner.is_empty()).then(|| LatencySummary {
            count: self.inner.len(),
            min_ns: self.inner.min(),
            mean_ns: self.inner.mean(),
            stdev_ns: self.inner.stdev(),
            p50_ns: self.inner.value_at_quantile(0.5),
            p90_ns: self.inner.value_at_quantile(0.9),
            p99_ns: self.inner.value_at_quantile(0.99),
            p99_9_ns: self.inner.value_at_quantile(0.999),
            p99_99_ns: self.inner.value_at_quantile(0.9999),
            max_ns: self.inner.max(),
        })
    }

    /// The non-empty buckets as (highest value in nanoseconds, count), ascending.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.inner.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()))
    }
}

/// The usual figures of a latency histogram. A percentile beyond what `count` supports is the maximum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LatencySummary {
    /// How many operations were measured.
    pub count: u64,
    /// Shortest, in nanoseconds.
    pub min_ns: u64,
    /// Mean, in nanoseconds.
    pub mean_ns: f64,
    /// Standard deviation, in nanoseconds.
    pub stdev_ns: f64,
    /// Median, in nanoseconds.
    pub p50_ns: u64,
    /// 90th percentile, in nanoseconds.
    pub p90_ns: u64,
    /// 99th percentile, in nanoseconds.
    pub p99_ns: u64,
    /// 99.9th percentile, in nanoseconds.
    pub p99_9_ns: u64,
    /// 99.99th percentile, in nanoseconds.
    pub p99_99_ns: u64,
    /// Longest, in nanoseconds.
    pub max_ns: u64,
}

impl fmt::Display for LatencySummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |ns: u64| units::duration(ns as f64);
        write!(
            f,
            "min {}  mean {}  p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
            show(self.min_ns),
            units::duration(self.mean_ns),
            show(self.p50_ns),
            show(self.p90_ns),
            show(self.p99_ns),
            show(self.p99_9_ns),
            show(self.max_ns)
        )
    }
}

/// Writes histograms as an HdrHistogram interval log (version 1.3), one line an interval, which the
/// HdrHistogram tools and plotters read. Values in the log are nanoseconds.
pub struct HistogramLog {
    path: PathBuf,
    writer: BufWriter<File>,
    serializer: V2DeflateSerializer,
    started: SystemTime,
    has_header: bool,
}

impl HistogramLog {
    /// Creates the file, so that a wrong path is known before anything runs.
    ///
    /// # Errors
    /// When the file can't be created.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path)
            .map_err(|error| Error::system(format!("create the histogram log {}", path.display()), error))?;
        Ok(Self {
            path: path.to_owned(),
            writer: BufWriter::new(file),
            serializer: V2DeflateSerializer::new(),
            started: SystemTime::now(),
            has_header: false,
        })
    }

    /// Appends one interval: `offset_ns` after the start of the measurement, `length_ns` long, under a
    /// `tag` without white space or commas that tells several histograms of one tool apart.
    ///
    /// # Errors
    /// When the file can't be written, or the tag has a character that the format forbids.
    pub fn append(
        &mut self,
        tag: &str,
        offset_ns: u64,
        length_ns: u64,
        histogram: &LatencyHistogram,
    ) -> Result<()> {
        let failed = |path: &Path, what: String| {
            Error::failed(format!("write the histogram log {}: {what}", path.display()))
        };
        let mut builder = IntervalLogWriterBuilder::new();
        if !self.has_header {
            builder.with_start_time(self.started).with_base_time(self.started);
            self.has_header = true;
        }
        let mut log = builder
            .begin_log_with(&mut self.writer, &mut self.serializer)
            .map_err(|error| failed(&self.path, error.to_string()))?;
        log.write_histogram(
            &histogram.inner,
            Duration::from_nanos(offset_ns),
            Duration::from_nanos(length_ns),
            Tag::new(tag),
        )
        .map_err(|error| failed(&self.path, format!("{error:?}")))?;
        self.writer.flush().map_err(|error| failed(&self.path, error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_thousandth() {
        let mut histogram = LatencyHistogram::new();
        for ns in 1..=100_000 {
            histogram.record(ns);
        }
        let p99 = histogram.percentile(99.0).unwrap() as f64;
        assert!((p99 / 99_000.0 - 1.0).abs() < 0.001, "{p99}");
        assert_eq!(histogram.summary().unwrap().count, 100_000);
    }

    #[test]
    fn an_empty_histogram_has_no_figures() {
        assert_eq!(LatencyHistogram::new().summary(), None);
        assert_eq!(LatencyHistogram::new().percentile(50.0), None);
    }

    #[test]
    fn a_sum_that_grows_says_the_same_as_what_was_added() {
        let (mut all, mut sum) = (LatencyHistogram::new(), LatencyHistogram::untouched());
        assert_eq!(sum.summary(), None);
        for part in [&[1_u64, 999, 1_000][..], &[5_000_000_017, 3], &[HIGHEST_NS, u64::MAX], &[]] {
            let mut one = LatencyHistogram::new();
            part.iter().for_each(|ns| one.record_many(*ns, 3));
            all.merge(&one);
            sum.merge(&one);
        }
        assert_eq!(sum.count(), 21);
        assert_eq!(sum.summary(), all.summary());
        assert!(sum.buckets().eq(all.buckets()));
    }

    #[test]
    fn longer_than_an_hour_still_counts() {
        let mut histogram = LatencyHistogram::new();
        histogram.record(u64::MAX);
        assert_eq!(histogram.count(), 1);
    }

    #[test]
    fn the_interval_log_can_be_read_again() {
        use hdrhistogram::serialization::{
            Deserializer,
            interval_log::{IntervalLogIterator, LogEntry},
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.hlog");
        let mut log = HistogramLog::create(&path).unwrap();
        let mut histogram = LatencyHistogram::new();
        histogram.record_many(1_000, 7);
        log.append("write", 0, 1_000_000_000, &histogram).unwrap();
        log.append("write", 1_000_000_000, 1_000_000_000, &histogram).unwrap();

        let text = std::fs::read(&path).unwrap();
        let mut intervals = 0;
        for entry in IntervalLogIterator::new(&text) {
            if let LogEntry::Interval(interval) = entry.unwrap() {
                let bytes = base64(interval.encoded_histogram());
                let read: Histogram<u64> =
                    Deserializer::new().deserialize(&mut std::io::Cursor::new(bytes)).unwrap();
                assert_eq!(read.len(), 7);
                intervals += 1;
            }
        }
        assert_eq!(intervals, 2);
        assert_eq!(String::from_utf8(text).unwrap().matches("StartTime").count(), 1);
    }

    /// Decodes standard base64, enough for the test above.
    fn base64(text: &str) -> Vec<u8> {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let digits = text.bytes().filter_map(|byte| ALPHABET.iter().position(|&a| a == byte));
        let (mut out, mut bits, mut count) = (Vec::new(), 0_u32, 0);
        for digit in digits {
            bits = bits << 6 | digit as u32;
            count += 6;
            if count >= 8 {
                count -= 8;
                out.push((bits >> count) as u8);
            }
        }
        out
    }
}
