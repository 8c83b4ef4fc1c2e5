//! What the runs gave together.

use meter::{interrupts::InterruptCount, usage::Usage};

use crate::{
    config::Config,
    latencies::Latencies,
    outcome::{Figures, NamedHistogram, Summary, Verification},
    setup::Granted,
    steady,
    tally::Amount,
};

/// What was measured in one run, or in all together.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What was done.
    pub amount: Amount,
    /// What it cost.
    pub usage: Usage,
    /// Interrupts of the disk.
    pub interrupts: InterruptCount,
}

impl Measured {
    /// The figures, with latencies that are kept elsewhere.
    #[must_use]
    pub fn figures(&self, latencies: &Latencies) -> Figures {
        Figures::new(&self.amount, latencies, self.usage.clone(), self.interrupts.clone())
    }

    /// Adds what was measured at another time.
    pub fn add(&mut self, other: &Self) {
        self.amount.add(&other.amount);
        self.usage = sum_of_usage(&self.usage, &other.usage);
        let (sum, one) = (&mut self.interrupts, &other.interrupts);
        sum.count = sum.count.zip(one.count).map(|(sum, one)| sum + one);
        sum.sources.extend(
            one.sources.iter().filter(|name| !sum.sources.contains(name)).cloned().collect::<Vec<_>>(),
        );
        if sum.reason.is_none() {
            sum.reason.clone_from(&one.reason);
        }
    }

    fn bytes_per_s(&self) -> Option<f64> {
        self.amount.per_second(self.amount.bytes as f64)
    }
}

fn sum_of_usage(a: &Usage, b: &Usage) -> Usage {
    Usage {
        cpu_user_ns: a.cpu_user_ns + b.cpu_user_ns,
        cpu_system_ns: a.cpu_system_ns + b.cpu_system_ns,
        context_switches_voluntary: a.context_switches_voluntary + b.context_switches_voluntary,
        context_switches_involuntary: a.context_switches_involuntary + b.context_switches_involuntary,
        steal_ns: a.steal_ns.zip(b.steal_ns).map(|(a, b)| a + b),
        resident_peak_bytes: a.resident_peak_bytes.max(b.resident_peak_bytes),
    }
}

/// What is kept of the latencies: of a single run its figures, which costs no second set of histograms.
enum Kept {
    Sum(Box<Latencies>),
    Only(Option<Box<(Figures, Option<Vec<NamedHistogram>>)>>),
}

/// The sum of the runs so far.
pub struct Totals {
    runs: u32,
    measured: Measured,
    latencies: Kept,
    keep_histograms: bool,
    sync_s: Option<f64>,
    verification: Option<Verification>,
    rounds: Vec<f64>,
}

impl Totals {
    /// Nothing yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let nothing =
            InterruptCount { count: None, sources: Vec::new(), reason: Some("nothing was run".into()) };
        let measured = Measured { amount: Amount::default(), usage: Usage::default(), interrupts: nothing };
        Self {
            runs: 0,
            measured,
            latencies: match config.runs {
                1 => Kept::Only(None),
                _ => Kept::Sum(Box::new(Latencies::untouched(config.is_paced()))),
            },
            keep_histograms: config.histogram,
            sync_s: None,
            verification: None,
            rounds: Vec::new(),
        }
    }

    /// Adds a run with its latencies.
    pub fn add(&mut self, run: Measured, latencies: &Latencies) {
        self.rounds.extend(run.bytes_per_s());
        let histograms = self.keep_histograms.then(|| named(latencies));
        match &mut self.latencies {
            Kept::Sum(sum) => sum.merge(latencies),
            Kept::Only(only) => *only = Some(Box::new((run.figures(latencies), histograms))),
        }
        if self.runs == 0 {
            self.measured = run;
        } else {
            self.measured.add(&run);
        }
        self.runs += 1;
    }

    /// Adds what came after a run.
    pub fn add_aftermath(&mut self, sync_s: Option<f64>, verification: Option<Verification>) {
        if let Some(seconds) = sync_s {
            *self.sync_s.get_or_insert(0.0) += seconds;
        }
        if let Some(one) = verification {
            let sum =
                self.verification.get_or_insert(Verification { bytes: 0, wrong_sectors: 0, mismatch: None });
            sum.bytes += one.bytes;
            sum.wrong_sectors += one.wrong_sectors;
            sum.mismatch = sum.mismatch.take().or(one.mismatch);
        }
    }

    /// What reading back found so far.
    #[must_use]
    pub fn verification(&self) -> Option<&Verification> {
        self.verification.as_ref()
    }

    /// Number of runs so far.
    #[must_use]
    pub fn runs(&self) -> u32 {
        self.runs
    }

    /// Bytes of all runs.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.measured.amount.bytes
    }

    /// Whether SNIA's rule holds for the runs so far.
    #[must_use]
    pub fn steady_state(&self) -> steady::SteadyState {
        steady::judge(&self.rounds)
    }

    /// The summary of all runs, with what the kernel granted of the ring.
    #[must_use]
    pub fn summary(self, config: &Config, ring: Option<Granted>) -> Summary {
        let steady_state = config.steady_state.then(|| self.steady_state());
        let (figures, histograms) = match self.latencies {
            Kept::Only(Some(only)) => *only,
            Kept::Only(None) => (self.measured.figures(&Latencies::untouched(false)), None),
            Kept::Sum(sum) => (self.measured.figures(&sum), self.keep_histograms.then(|| named(&sum))),
        };
        Summary {
            runs: self.runs,
            figures,
            sync_s: self.sync_s,
            verification: self.verification,
            holes_bytes: None,
            steady_state,
            ring,
            histograms,
        }
    }
}

fn named(latencies: &Latencies) -> Vec<NamedHistogram> {
    latencies.named().map(|(name, histogram)| NamedHistogram::new(name, histogram)).collect()
}
