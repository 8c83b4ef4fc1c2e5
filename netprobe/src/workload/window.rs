//! The measured stretch of time at one end: what moved and what it cost.

use meter::{
    Result, clock,
    interrupts::{InterruptMeter, Sources},
    placement::Placement,
    usage::UsageMeter,
};

use super::{
    flow::{Flow, Role, tcp_info_of},
    recorder::Measured,
    trouble::NetworkErrors,
};
use crate::protocol::{
    order::{Order, SendWith, Workload},
    report::{EndReport, ZerocopyCount},
};

/// What all flows of an end have moved so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Stream payload handed to the kernel, in bytes.
    pub sent_bytes: u64,
    /// Stream payload that arrived here, in bytes.
    pub received_bytes: u64,
    /// Requests answered or responses received.
    pub transactions: u64,
    /// Requests given up.
    pub lost: u64,
    /// Datagrams and connections that belong to no transaction.
    pub stray: u64,
    /// Errors of the network with which the work went on.
    pub errors: NetworkErrors,
}

impl Moved {
    /// Reads the counters of `flows`.
    #[must_use]
    pub fn of(flows: &[Flow]) -> Self {
        flows.iter().fold(Self::default(), |sum, flow| Self {
            sent_bytes: sum.sent_bytes + flow.sent_bytes.value(),
            received_bytes: sum.received_bytes + flow.received_bytes.value(),
            transactions: sum.transactions + flow.transactions.value(),
            lost: sum.lost + flow.lost.value(),
            stray: sum.stray + flow.stray.value(),
            errors: sum.errors.plus(flow.troubles.errors()),
        })
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            sent_bytes: self.sent_bytes + other.sent_bytes,
            received_bytes: self.received_bytes + other.received_bytes,
            transactions: self.transactions + other.transactions,
            lost: self.lost + other.lost,
            stray: self.stray + other.stray,
            errors: self.errors.plus(other.errors),
        }
    }

    /// Growth since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            sent_bytes: self.sent_bytes - earlier.sent_bytes,
            received_bytes: self.received_bytes - earlier.received_bytes,
            transactions: self.transactions - earlier.transactions,
            lost: self.lost - earlier.lost,
            stray: self.stray - earlier.stray,
            errors: self.errors.since(earlier.errors),
        }
    }
}

/// A measured stretch that has begun.
pub struct Window {
    opened_ns: u64,
    /// Where it ends at the latest, if work beyond is not counted.
    until_ns: u64,
    before: Moved,
    cpus: Vec<usize>,
    threads: u32,
    usage: UsageMeter,
    interrupts: InterruptMeter,
}

impl Window {
    /// Begins now, or with `measured` where the workers count what belongs to that time alone: `placements` are
    /// those of the threads, `sources` the interrupts of the measured interface.
    ///
    /// # Errors
    /// When /proc can't be read.
    pub fn open(
        flows: &[Flow],
        placements: &[Placement],
        sources: Sources,
        measured: Option<Measured>,
    ) -> Result<Self> {
        let cpus: Vec<usize> = placements.iter().filter_map(|placement| placement.cpu).collect();
        let interrupts = InterruptMeter::start(sources)?;
        let usage = UsageMeter::start(&cpus);
        let threads = placements.len() as u32;
        let before = Moved::of(flows);
        let opened_ns = measured.map_or_else(clock::now_ns, |measured| measured.from_ns);
        let until_ns = measured.map_or(u64::MAX, |measured| measured.until_ns);
        Ok(Self { before, opened_ns, until_ns, cpus, threads, usage, interrupts })
    }

    /// What has moved before it.
    #[must_use]
    pub fn before(&self) -> Moved {
        self.before
    }

    /// What has moved so far, and the time it is then, within the window.
    #[must_use]
    pub fn look(&self, flows: &[Flow]) -> (Moved, u64) {
        let moved = Moved::of(flows);
        (moved, clock::now_ns().min(self.until_ns).max(self.opened_ns))
    }

    /// When it began, in nanoseconds of CLOCK_MONOTONIC.
    #[must_use]
    pub fn opened_ns(&self) -> u64 {
        self.opened_ns
    }

    /// Ends now; gives what this end saw, what moved since it was opened, and when it ended.
    ///
    /// # Errors
    /// When /proc can't be read.
    pub fn close(self, flows: &[Flow], order: &Order) -> Result<(EndReport, Moved, u64)> {
        let (now, closed_ns) = self.look(flows);
        let (moved, elapsed_ns) = (now.since(self.before), closed_ns - self.opened_ns);
        let has = |role: Role| flows.iter().any(|flow| flow.role == role);
        let report = EndReport {
            elapsed_s: elapsed_ns as f64 / 1e9,
            received_bytes: has(Role::Receive).then_some(moved.received_bytes),
            sent_bytes: has(Role::Send).then_some(moved.sent_bytes),
            transactions: (has(Role::Ask) || has(Role::Answer)).then_some(moved.transactions),
            threads: self.threads,
            cpus: self.cpus,
            usage: self.usage.read(),
            interrupts: self.interrupts.read()?,
            tcp: tcp_info_of(flows, order),
            zerocopy: zerocopy(flows, order),
            errors: order.survives_errors().then_some(moved.errors),
            other_sessions: 0,
        };
        Ok((report, moved, closed_ns))
    }
}

fn zerocopy(flows: &[Flow], order: &Order) -> Option<ZerocopyCount> {
    let asked = matches!(order.workload, Workload::Stream { send_with: SendWith::Zerocopy, .. });
    let sends = flows.iter().any(|flow| flow.role == Role::Send);
    (asked && sends).then(|| ZerocopyCount {
        completed: flows.iter().map(|flow| flow.zerocopy_completed.value()).sum(),
        copied: flows.iter().map(|flow| flow.zerocopy_copied.value()).sum(),
    })
}
