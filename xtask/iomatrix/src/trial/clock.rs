//! Where a trial's time goes, and how long its probe may take before somebody looks.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use plan::Cell;
use results::journal::Trial;

/// How many times longer than any before it a probe has to take to be overdue.
const PATIENT: f64 = 3.0;
/// A probe is never overdue sooner: what is short varies most.
const LEAST: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 5 });

/// The times of a trial, stage after stage.
pub(super) struct Laps {
    began: Instant,
    last: Instant,
}

impl Laps {
    /// All of it begins now.
    pub(super) fn begin() -> Self {
        let now = Instant::now();
        Self { began: now, last: now }
    }

    /// What has passed since the last stage was `stage`.
    pub(super) fn end(&mut self, stage: &str, trial: &mut Trial) {
        let now = Instant::now();
        *trial.stages_s.entry(stage.to_owned()).or_default() += (now - self.last).as_secs_f64();
        self.last = now;
    }

    /// How long all of it took, to the end of its last stage, in seconds.
    pub(super) fn all_s(&self) -> f64 {
        (self.last - self.began).as_secs_f64()
    }
}

/// How long probes have taken: what a later one is held against.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The longest so far, in seconds, by probe and attachment.
    longest: BTreeMap<(String, String), f64>,
}

impl Expected {
    /// Takes the time of a trial of `cell` that was measured, in seconds.
    pub fn learn(&mut self, cell: &Cell, probe_s: f64) {
        let longest = self.longest.entry((cell.probe.clone(), cell.attachment.clone())).or_default();
        *longest = longest.max(probe_s);
    }

    /// How long a probe of `cell` may take before somebody looks whether its domain still runs: several
    /// times longer than the longest on the same attachment under any load, half of `timeout_s` where
    /// there was none.
    pub(super) fn overdue(&self, cell: &Cell, timeout_s: f64) -> Duration {
        let longest = self.longest.get(&(cell.probe.clone(), cell.attachment.clone()));
        let most = timeout_s / 2.0;
        let seconds = longest.map_or(most, |longest| (PATIENT * longest).min(most));
        LEAST.max(Duration::from_secs_f64(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_held_against_the_slowest_of_its_attachment() {
        let cell = |attachment: &str, load: &str| Cell::new("disk", attachment, load);
        let mut expected = Expected::default();
        let overdue_s = |expected: &Expected, cell: &Cell| expected.overdue(cell, 100.0).as_secs_f64();
        assert_eq!(overdue_s(&expected, &cell("native", "none")), 50.0);
        expected.learn(&cell("native", "none"), 4.0);
        expected.learn(&cell("native", "cpu@a"), 8.0);
        expected.learn(&cell("native", "none"), 5.0);
        assert_eq!(overdue_s(&expected, &cell("native", "none")), 24.0);
        assert_eq!(
            overdue_s(&expected, &cell("virtual", "none")),
            50.0,
            "another attachment is another matter"
        );
        expected.learn(&cell("native", "none"), 40.0);
        assert_eq!(overdue_s(&expected, &cell("native", "none")), 50.0);
    }
}
