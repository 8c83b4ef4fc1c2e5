//! Entries and exits of handlers, made into times.

use std::collections::BTreeMap;

use meter::histogram::LatencyHistogram;
use serde::{Serialize, Serializer};

/// What a handler handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An IRQ, by its number: one handler of one device.
    Interrupt,
    /// A softirq.
    Softirq,
    /// A vector of the processor's own, by the name of its tracepoint, such as `local_timer` (x86).
    Vector(&'static str),
}

impl Kind {
    /// The name in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "irq",
            Self::Softirq => "softirq",
            Self::Vector(_) => "vector",
        }
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Kind {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HandlerKind".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "enum": ["irq", "softirq", "vector"]})
    }
}

/// Times of one handler.
pub(super) struct Times {
    pub(super) histogram: LatencyHistogram,
    pub(super) total_ns: u64,
}

/// A handler that has been entered.
struct Open {
    kind: Kind,
    number: u32,
    began_ns: u64,
    /// Time of the interrupts that came in its middle.
    inner_ns: u64,
}

/// Finds the exit of every entry, CPU by CPU.
pub(super) struct Pairs {
    open: Vec<Vec<Open>>,
    times: BTreeMap<(Kind, u32), Times>,
    lost: u64,
}

impl Pairs {
    pub(super) fn new(cpus: usize) -> Self {
        Self { open: (0..cpus).map(|_| Vec::with_capacity(8)).collect(), times: BTreeMap::new(), lost: 0 }
    }

    pub(super) fn enter(&mut self, cpu: usize, kind: Kind, number: u32, time_ns: u64) {
        self.open[cpu].push(Open { kind, number, began_ns: time_ns, inner_ns: 0 });
    }

    /// An exit without its entry is that of a handler that ran when the measurement began.
    pub(super) fn exit(&mut self, cpu: usize, kind: Kind, number: u32, time_ns: u64) {
        let open = &mut self.open[cpu];
        let Some(index) = open.iter().rposition(|open| (open.kind, open.number) == (kind, number)) else {
            return;
        };
        let entry = open.swap_remove(index);
        // Whatever was entered after it and never left has lost its exit.
        open.truncate(index);
        let whole_ns = time_ns.saturating_sub(entry.began_ns);
        if let Some(outer) = open.last_mut() {
            outer.inner_ns += whole_ns;
        }
        let own_ns = whole_ns.saturating_sub(entry.inner_ns);
        let new = || Times { histogram: LatencyHistogram::new(), total_ns: 0 };
        let times = self.times.entry((kind, number)).or_insert_with(new);
        times.histogram.record(own_ns);
        times.total_ns += own_ns;
    }

    /// Events of that CPU are missing: what is open can't be trusted.
    pub(super) fn lose(&mut self, cpu: usize) {
        self.open[cpu].clear();
        self.lost += 1;
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    pub(super) fn into_times(self) -> impl Iterator<Item = (Kind, u32, Times)> {
        self.times.into_iter().map(|((kind, number), times)| (kind, number, times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_in_the_middle_is_not_counted_twice() {
        let mut pairs = Pairs::new(1);
        pairs.exit(0, Kind::Interrupt, 9, 50);
        pairs.enter(0, Kind::Softirq, 3, 100);
        pairs.enter(0, Kind::Interrupt, 36, 120);
        pairs.exit(0, Kind::Interrupt, 36, 150);
        pairs.exit(0, Kind::Softirq, 3, 200);
        let times: Vec<_> =
            pairs.into_times().map(|(kind, number, times)| (kind, number, times.total_ns)).collect();
        assert_eq!(times, [(Kind::Interrupt, 36, 30), (Kind::Softirq, 3, 70)]);
    }

    #[test]
    fn what_was_open_when_events_were_lost_is_forgotten() {
        let mut pairs = Pairs::new(1);
        pairs.enter(0, Kind::Interrupt, 1, 100);
        pairs.lose(0);
        pairs.exit(0, Kind::Interrupt, 1, 900);
        assert_eq!(pairs.lost(), 1);
        assert_eq!(pairs.into_times().count(), 0);
    }
}
