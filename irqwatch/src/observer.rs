//! The observer: both interrupt tables and the CPU times, read again and again, compared.

use std::fmt;

use meter::{
    Result, clock,
    interrupts::{Differ, Reader, Table},
    usage::{CpuTimes, Usage, UsageMeter},
};
use serde::Serialize;

use crate::{
    class::Class,
    filter::Filter,
    source::{ClassCount, CpuCount, Source, device_of, rate},
};

/// Both tables and the CPU times at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    at_ns: u64,
    interrupts: Table,
    softirqs: Table,
    cpu_times: Option<Vec<CpuTimes>>,
    unread_times: Vec<String>,
}

/// What came between two snapshots.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Difference {
    /// Time between them, in seconds.
    pub elapsed_s: f64,
    /// Sources that raised anything, as filtered and ordered.
    pub sources: Vec<Source>,
    /// Every class that had any, of the sources that the filter lets through.
    pub classes: Vec<ClassCount>,
    /// Every CPU, of the sources that the filter lets through.
    pub cpus: Vec<CpuCount>,
    /// Hard interrupts of all of these.
    pub interrupts: u64,
    /// The same per second.
    pub interrupts_per_s: f64,
    /// Soft interrupts of all of these.
    pub softirqs: u64,
    /// CPU time of all CPUs in hard interrupts, in nanoseconds; `null` where the kernel does not tell.
    /// Kernels without fine accounting count by clock ticks and see little of it.
    pub irq_ns: Option<u64>,
    /// The same in soft interrupts.
    pub softirq_ns: Option<u64>,
    /// Time stolen by the hypervisor from all CPUs, in nanoseconds; `null` where the kernel does not tell.
    pub steal_ns: Option<u64>,
}

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
        let elapsed_s = after.at_ns.saturating_sub(before.at_ns) as f64 / 1e9;
        let mut tally = Tally { elapsed_s, ..Tally::default() };
        tally.add(&mut self.differ, &before.interrupts, &after.interrupts, filter, Class::of);
        tally.add(&mut self.differ, &before.softirqs, &after.softirqs, filter, |_| Class::Softirq);
        filter.arrange(&mut tally.sources);
        tally.classes.sort_by_key(|class| class.class);
        tally.cpus.sort_by_key(|cpu| cpu.cpu);
        let grown = |of: fn(&CpuTimes) -> Option<u64>| {
            CpuTimes::growth(before.cpu_times.as_ref()?, after.cpu_times.as_ref()?, of)
        };
        Difference {
            elapsed_s,
            sources: tally.sources,
            classes: tally.classes,
            cpus: tally.cpus,
            interrupts: tally.interrupts,
            interrupts_per_s: rate(tally.interrupts, elapsed_s),
            softirqs: tally.softirqs,
            irq_ns: grown(|times| Some(times.irq_ns)),
            softirq_ns: grown(|times| Some(times.softirq_ns)),
            steal_ns: grown(|times| times.steal_ns),
        }
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

impl Snapshot {
    /// Lines that could not be understood, as they stand.
    #[must_use]
    pub fn unread(&self) -> Vec<String> {
        let lines = self.interrupts.unread.iter().chain(&self.softirqs.unread).chain(&self.unread_times);
        lines.map(|line| format!("a line of /proc that makes no sense: `{}`", line.trim())).collect()
    }
}

/// Sums up rows.
#[derive(Default)]
struct Tally {
    elapsed_s: f64,
    sources: Vec<Source>,
    classes: Vec<ClassCount>,
    cpus: Vec<CpuCount>,
    interrupts: u64,
    softirqs: u64,
}

impl Tally {
    fn add(
        &mut self,
        differ: &mut Differ,
        before: &Table,
        after: &Table,
        filter: &Filter,
        class_of: fn(&meter::interrupts::Row) -> Class,
    ) {
        let elapsed_s = self.elapsed_s;
        differ.each(before, after, |row, grew| {
            // Most rows of a big machine are quiet: they cost no more than this.
            if grew.iter().all(|&count| count == 0) {
                return;
            }
            let class = class_of(row);
            if !filter.wants(&row.name, device_of(row), class) {
                return;
            }
            let source = Source::new(row, class, grew, &after.cpus, elapsed_s);
            if class != Class::Sum {
                self.sum_up(&source);
            }
            self.sources.push(source);
        });
    }

    fn sum_up(&mut self, source: &Source) {
        let soft = source.class == Class::Softirq;
        *(if soft { &mut self.softirqs } else { &mut self.interrupts }) += source.count;
        match self.classes.iter_mut().find(|class| class.class == source.class) {
            Some(class) => {
                class.count += source.count;
                class.per_s += source.per_s;
            }
            None => self.classes.push(ClassCount {
                class: source.class,
                count: source.count,
                per_s: source.per_s,
            }),
        }
        for on_cpu in &source.cpus {
            let Some(cpu) = on_cpu.cpu else { continue };
            let index = match self.cpus.binary_search_by_key(&cpu, |known| known.cpu) {
                Ok(index) => index,
                Err(index) => {
                    let new = CpuCount { cpu, interrupts: 0, interrupts_per_s: 0.0, softirqs: 0 };
                    self.cpus.insert(index, new);
                    index
                }
            };
            let known = &mut self.cpus[index];
            if soft {
                known.softirqs += on_cpu.count;
            } else {
                known.interrupts += on_cpu.count;
                known.interrupts_per_s = rate(known.interrupts, self.elapsed_s);
            }
        }
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

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.interrupts_per_s;
        write!(
            f,
            "{} interrupts in {:.3} s, {rate:.1}/s; {} softirqs",
            self.interrupts, self.elapsed_s, self.softirqs
        )?;
        if let Some(steal_ns) = self.steal_ns.filter(|steal_ns| *steal_ns > 0) {
            write!(f, "; {} stolen", meter::units::duration(steal_ns as f64))?;
        }
        self.sources.iter().try_for_each(|source| write!(f, "\n{source}"))
    }
}
