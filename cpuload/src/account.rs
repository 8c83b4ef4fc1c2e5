//! What one worker did and got, counted as it goes, without allocation.

use serde::Serialize;

/// Mean, spread and extremes of values that come one by one (Welford's method).
#[derive(Clone, Copy, Debug, Default)]
pub struct Spread {
    count: u64,
    mean: f64,
    squares: f64,
    min: f64,
    max: f64,
}

/// The figures of a `Spread`, in the unit of its values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SpreadFigures {
    /// How many values.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation.
    pub stdev: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Takes one value.
    pub fn record(&mut self, value: f64) {
        if self.count == 0 {
            (self.min, self.max) = (value, value);
        }
        self.count += 1;
        let from_mean = value - self.mean;
        self.mean += from_mean / self.count as f64;
        self.squares += from_mean * (value - self.mean);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// The figures; `None` before the first value.
    pub fn figures(&self) -> Option<SpreadFigures> {
        (self.count > 0).then(|| SpreadFigures {
            count: self.count,
            mean: self.mean,
            stdev: (self.squares / self.count as f64).sqrt(),
            min: self.min,
            max: self.max,
        })
    }
}

/// One worker's account of the measured time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    /// Where it begins, CLOCK_MONOTONIC.
    pub from_ns: u64,
    /// Where it ends.
    pub until_ns: u64,
    /// CPU time that the schedule demanded.
    pub demanded_ns: u64,
    /// CPU time received; before [`Account::end`] the thread's clock at the beginning.
    pub cpu_ns: u64,
    /// Time in busy windows during which others had the CPU.
    pub denied_ns: u64,
    /// Operations done.
    pub operations: u64,
    /// Whether these were all that it had to do.
    pub finished: bool,
    /// Received minus demanded, window by window, in percentage points of the window.
    pub window_error: Spread,
    /// Begin of windows that began with a sleep, actual minus intended, in nanoseconds.
    pub begin_error: Spread,
}

impl Account {
    /// Opens an account: the time and the thread's CPU clock.
    pub fn begin(from_ns: u64, cpu_ns: u64) -> Self {
        Self { from_ns, until_ns: from_ns, cpu_ns, ..Self::default() }
    }

    /// Counts one window of the schedule.
    pub fn window(&mut self, length_ns: u64, demanded_ns: u64, received_ns: u64) {
        self.demanded_ns += demanded_ns;
        if length_ns > 0 {
            let error_ns = received_ns as f64 - demanded_ns as f64;
            self.window_error.record(error_ns / length_ns as f64 * 100.0);
        }
    }

    /// Closes the account: the time, the thread's CPU clock and the operations of the measured time.
    pub fn end(&mut self, until_ns: u64, cpu_ns: u64, operations: u64) {
        self.until_ns = until_ns.max(self.from_ns);
        self.cpu_ns = cpu_ns.saturating_sub(self.cpu_ns);
        self.operations = operations;
    }

    /// Length of the measured time, in nanoseconds.
    pub fn elapsed_ns(&self) -> u64 {
        self.until_ns - self.from_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation_of_known_values() {
        let mut spread = Spread::default();
        assert_eq!(spread.figures(), None);
        for value in [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0] {
            spread.record(value);
        }
        let figures = spread.figures().unwrap();
        assert_eq!(figures, SpreadFigures { count: 8, mean: 5.0, stdev: 2.0, min: 2.0, max: 9.0 });
    }
}
