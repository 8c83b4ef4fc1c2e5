//! The observer: both interrupt tables and the CPU times, read again and again, compared.

use std::fmt;

use meter::{
    Error, Result, clock,
    interrupts::{Differ, MASKED, Reader},
    usage::{CpuTimes, Usage, UsageMeter},
};
use serde::Serialize;

use crate::{filter::Filter, sums::Sums};

pub use crate::sums::{Difference, Snapshot};

/// Takes snapshots and compares them, through memory that is allocated once.
pub struct Observer {
    interrupts: Reader,
    softirqs: Reader,
    differ: Differ,
    usage: UsageMeter,
    wakeups: u64,
}

impl Observer {
    /// An observer of this machine; its own cost counts from here.
    #[must_use]
    pub fn new() -> Self {
        Self {
            interrupts: Reader::interrupts(),
            softirqs: Reader::softirqs(),
            differ: Differ::default(),
            usage: UsageMeter::start(&[]),
            wakeups: 0,
        }
    }

    /// Replaces `snapshot` by what holds now.
    ///
    /// # Errors
    /// When /proc can't be read.
    pub fn read(&mut self, snapshot: &mut Snapshot) -> Result<()> {
        snapshot.at_ns = clock::now_ns();
        self.interrupts.read(&mut snapshot.interrupts)?;
        self.softirqs.read(&mut snapshot.softirqs)?;
        let (times, unread) = CpuTimes::read().unzip();
        (snapshot.cpu_times, snapshot.unread_times) = (times, unread.unwrap_or_default());
        Ok(())
    }

    /// Refuses a place that shows no interrupts: what can't be seen is not zero.
    ///
    /// # Errors
    /// When the kernel's table is masked (exit code 3), or can't be read.
    pub fn require_interrupts(&mut self) -> Result<()> {
        if self.snapshot()?.interrupts.is_masked() {
            return Err(Error::unavailable(format!(
                "/proc/interrupts: {MASKED}; run it outside of the container, or unmask the file there"
            )));
        }
        Ok(())
    }

    /// A new snapshot.
    ///
    /// # Errors
    /// When /proc can't be read.
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        self.read(&mut snapshot)?;
        Ok(snapshot)
    }

    /// What came between two snapshots, as `filter` wants it.
    #[must_use]
    pub fn compare(&mut self, before: &Snapshot, after: &Snapshot, filter: &Filter) -> Difference {
        let mut sums = Sums::default();
        self.add(&mut sums, before, after);
        sums.difference(filter)
    }

    /// Adds what came between two snapshots to `sums`.
    pub fn add(&mut self, sums: &mut Sums, before: &Snapshot, after: &Snapshot) {
        sums.add(&mut self.differ, before, after);
    }

    /// Counts one sleep that a timer interrupt ended.
    pub fn woke(&mut self) {
        self.wakeups += 1;
    }

    /// What the observer itself cost so far.
    #[must_use]
    pub fn own_cost(&self) -> OwnCost {
        OwnCost { timer_interrupts: self.wakeups, usage: self.usage.read() }
    }
}

impl Default for Observer {
    fn default() -> Self {
        Self::new()
    }
}

/// What the watching itself cost.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OwnCost {
    /// Timer interrupts that its sleeps asked for; they are in the counts.
    pub timer_interrupts: u64,
    /// CPU time, context switches and memory of the watching process.
    pub usage: Usage,
}

impl fmt::Display for OwnCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpu = meter::units::duration(self.usage.cpu_ns() as f64);
        write!(f, "own cost: {cpu} of CPU time, {} timer interrupts", self.timer_interrupts)
    }
}
