//! The measured stretch of time at one end: what moved and what it cost.

use meter::{
    Result, clock,
    interrupts::{InterruptMeter, Sources},
    usage::UsageMeter,
};

use super::Flow;
use crate::protocol::message::EndReport;

/// Payload of all flows of an end so far, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Handed to the kernel.
    pub sent_bytes: u64,
    /// Arrived here.
    pub received_bytes: u64,
}

impl Moved {
    /// Reads the counters of `flows`.
    #[must_use]
    pub fn of(flows: &[Flow]) -> Self {
        flows.iter().fold(Self::default(), |sum, flow| Self {
            sent_bytes: sum.sent_bytes + flow.sent_bytes.value(),
            received_bytes: sum.received_bytes + flow.received_bytes.value(),
        })
    }

    /// Growth since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            sent_bytes: self.sent_bytes - earlier.sent_bytes,
            received_bytes: self.received_bytes - earlier.received_bytes,
        }
    }
}

/// A measured stretch that has begun.
pub struct Window {
    opened_ns: u64,
    before: Moved,
    usage: UsageMeter,
    interrupts: InterruptMeter,
}

impl Window {
    /// Begins now: `cpus` are those whose stolen time counts (all where empty), `sources` the
    /// interrupts of the measured interface.
    ///
    /// # Errors
    /// When /proc can't be read.
    pub fn open(flows: &[Flow], cpus: &[usize], sources: Sources) -> Result<Self> {
        let interrupts = InterruptMeter::start(sources)?;
        let usage = UsageMeter::start(cpus);
        Ok(Self { before: Moved::of(flows), opened_ns: clock::now_ns(), usage, interrupts })
    }

    /// When it began, in nanoseconds of CLOCK_MONOTONIC.
    #[must_use]
    pub fn opened_ns(&self) -> u64 {
        self.opened_ns
    }

    /// Ends now.
    ///
    /// # Errors
    /// When /proc can't be read.
    pub fn close(self, flows: &[Flow], cpus: &[usize], threads: usize) -> Result<EndReport> {
        let moved = Moved::of(flows).since(self.before);
        let elapsed_ns = clock::now_ns() - self.opened_ns;
        Ok(EndReport {
            elapsed_s: elapsed_ns as f64 / 1e9,
            received_bytes: moved.received_bytes,
            sent_bytes: moved.sent_bytes,
            threads: threads as u32,
            cpus: cpus.to_vec(),
            usage: self.usage.read(),
            interrupts: self.interrupts.read()?,
            other_sessions: 0,
        })
    }
}
