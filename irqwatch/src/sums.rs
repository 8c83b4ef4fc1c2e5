//! What grew over a series of snapshots, step by step: a row that restarted, came or went in between keeps
//! what it had counted until then, so that a sum of many steps is the sum of their differences.

use std::fmt;

use meter::{
    interrupts::{Differ, MASKED, Row, Table},
    usage::CpuTimes,
};
use serde::Serialize;

use crate::{
    class::Class,
    filter::Filter,
    source::{ClassCount, CpuCount, OnCpu, Source, device_of, rate},
};

/// Both tables and the CPU times at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// When it was taken, CLOCK_MONOTONIC in nanoseconds.
    pub(crate) at_ns: u64,
    pub(crate) interrupts: Table,
    pub(crate) softirqs: Table,
    pub(crate) cpu_times: Option<Vec<CpuTimes>>,
    pub(crate) unread_times: Vec<String>,
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
    /// Hard interrupts of all of these; `null` where /proc/interrupts is masked.
    pub interrupts: Option<u64>,
    /// The same per second.
    pub interrupts_per_s: Option<f64>,
    /// Soft interrupts of all of these; `null` where /proc/softirqs is masked.
    pub softirqs: Option<u64>,
    /// CPU time of all CPUs in hard interrupts, in nanoseconds; `null` where the kernel does not tell.
    /// Kernels without fine accounting count by clock ticks and see little of it.
    pub irq_ns: Option<u64>,
    /// The same in soft interrupts.
    pub softirq_ns: Option<u64>,
    /// Time stolen by the hypervisor from all CPUs, in nanoseconds; `null` where the kernel does not tell.
    pub steal_ns: Option<u64>,
}

impl Snapshot {
    /// Lines that could not be understood, as they stand.
    #[must_use]
    pub fn unread(&self) -> Vec<String> {
        let masked = [("interrupts", &self.interrupts), ("softirqs", &self.softirqs)].into_iter();
        let masked = masked.filter(|(_, table)| table.is_masked());
        let lines = self.interrupts.unread.iter().chain(&self.softirqs.unread).chain(&self.unread_times);
        lines
            .map(|line| match line.trim() {
                // The fast interrupts of an Arm: a name and its handler, without a count.
                fast if fast.starts_with("FIQ:") => format!("the kernel counts no fast interrupts: `{fast}`"),
                other => format!("a line of /proc that can't be read: `{other}`"),
            })
            .chain(masked.map(|(name, _)| format!("/proc/{name}: {MASKED}")))
            .collect()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.interrupts.zip(self.interrupts_per_s) {
            Some((count, rate)) => write!(f, "{count} interrupts in {:.3} s, {rate:.1}/s", self.elapsed_s)?,
            None => write!(f, "interrupts unknown in {:.3} s", self.elapsed_s)?,
        }
        match self.softirqs {
            Some(count) => write!(f, "; {count} softirqs")?,
            None => f.write_str("; softirqs unknown")?,
        }
        if let Some(steal_ns) = self.steal_ns.filter(|steal_ns| *steal_ns > 0) {
            write!(f, "; {} stolen", meter::units::duration(steal_ns as f64))?;
        }
        self.sources.iter().try_for_each(|source| write!(f, "\n{source}"))
    }
}

/// The growth of all rows and CPU times over one step or many.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    elapsed_ns: u64,
    hard: Vec<Grown>,
    soft: Vec<Grown>,
    /// Whether there were no counts to add at some step.
    masked: Masked,
    irq_ns: Option<u64>,
    softirq_ns: Option<u64>,
    steal_ns: Option<u64>,
}

/// Which of the two tables said nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Masked {
    hard: bool,
    soft: bool,
}

/// One row that grew.
#[derive(Clone, Debug)]
struct Grown {
    /// Its name and label; the counts are in `on`.
    row: Row,
    /// Where it stood in the kernel's file when it last grew.
    place: usize,
    on: Vec<OnCpu>,
}

impl Sums {
    /// Adds what came between two snapshots, the later of which was read right after the step before.
    pub fn add(&mut self, differ: &mut Differ, before: &Snapshot, after: &Snapshot) {
        self.elapsed_ns += after.at_ns.saturating_sub(before.at_ns);
        let masked = |of: fn(&Snapshot) -> &Table| of(before).is_masked() || of(after).is_masked();
        self.masked.hard |= masked(|snapshot| &snapshot.interrupts);
        self.masked.soft |= masked(|snapshot| &snapshot.softirqs);
        add_rows(&mut self.hard, differ, &before.interrupts, &after.interrupts);
        add_rows(&mut self.soft, differ, &before.softirqs, &after.softirqs);
        let grown = |of: fn(&CpuTimes) -> Option<u64>| {
            CpuTimes::growth(before.cpu_times.as_ref()?, after.cpu_times.as_ref()?, of)
        };
        let add = |sum: &mut Option<u64>, grown: Option<u64>| {
            if let Some(grown) = grown {
                *sum = Some(sum.unwrap_or(0).saturating_add(grown));
            }
        };
        add(&mut self.irq_ns, grown(|times| Some(times.irq_ns)));
        add(&mut self.softirq_ns, grown(|times| Some(times.softirq_ns)));
        add(&mut self.steal_ns, grown(|times| times.steal_ns));
    }

    /// The sums as a record shows them: sources that `filter` lets through, in its order.
    #[must_use]
    pub fn difference(&self, filter: &Filter) -> Difference {
        let elapsed_s = self.elapsed_ns as f64 / 1e9;
        let mut tally = Tally { elapsed_s, masked: self.masked, ..Tally::default() };
        tally.add(&self.hard, filter, Class::of);
        tally.add(&self.soft, filter, |_| Class::Softirq);
        filter.arrange(&mut tally.sources);
        tally.classes.sort_by_key(|class| class.class);
        tally.cpus.sort_by_key(|cpu| cpu.cpu);
        Difference {
            elapsed_s,
            sources: tally.sources,
            classes: tally.classes,
            cpus: tally.cpus,
            interrupts: (!self.masked.hard).then_some(tally.interrupts),
            interrupts_per_s: (!self.masked.hard).then(|| rate(tally.interrupts, elapsed_s)),
            softirqs: (!self.masked.soft).then_some(tally.softirqs),
            irq_ns: self.irq_ns,
            softirq_ns: self.softirq_ns,
            steal_ns: self.steal_ns,
        }
    }
}

/// Adds to `sums` every row that grew. Rows of one name with another label are another source: the kernel
/// gives the number of a device that went to one that comes.
fn add_rows(sums: &mut Vec<Grown>, differ: &mut Differ, before: &Table, after: &Table) {
    let (mut place, mut hint) = (0, 0);
    differ.each(before, after, |row, grew| {
        place += 1;
        // Most rows of a big machine are quiet: they cost no more than this.
        if grew.iter().all(|&count| count == 0) {
            return;
        }
        let same = |sum: &Grown| sum.row.name == row.name && sum.row.label == row.label;
        // Both are in the kernel's order, so that the next one is nearly always the one looked for.
        let found = sums.get(hint).is_some_and(same).then_some(hint);
        let index = found.or_else(|| sums.iter().position(same)).unwrap_or_else(|| {
            let row = Row { name: row.name.clone(), counts: Vec::new(), label: row.label.clone() };
            sums.push(Grown { row, place, on: Vec::new() });
            sums.len() - 1
        });
        hint = index + 1;
        let sum = &mut sums[index];
        sum.place = place;
        let per_cpu = grew.len() == after.cpus.len();
        for (column, &count) in grew.iter().enumerate().filter(|(_, count)| **count > 0) {
            let cpu = per_cpu.then(|| after.cpus[column]);
            match sum.on.binary_search_by_key(&cpu, |on| on.cpu) {
                Ok(at) => sum.on[at].count = sum.on[at].count.wrapping_add(count),
                Err(at) => sum.on.insert(at, OnCpu { cpu, count }),
            }
        }
    });
    sums.sort_by_key(|sum| sum.place);
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
    masked: Masked,
}

impl Tally {
    fn add(&mut self, sums: &[Grown], filter: &Filter, class_of: fn(&Row) -> Class) {
        for sum in sums {
            let class = class_of(&sum.row);
            if !filter.wants(&sum.row.name, device_of(&sum.row), class) {
                continue;
            }
            let source = Source::new(&sum.row, class, sum.on.clone(), self.elapsed_s);
            if class != Class::Sum {
                self.sum_up(&source);
            }
            self.sources.push(source);
        }
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
                    let known = (!self.masked.hard).then_some(0);
                    let new = CpuCount {
                        cpu,
                        interrupts: known,
                        interrupts_per_s: known.map(|_| 0.0),
                        softirqs: (!self.masked.soft).then_some(0),
                    };
                    self.cpus.insert(index, new);
                    index
                }
            };
            let known = &mut self.cpus[index];
            if soft {
                known.softirqs = known.softirqs.map(|count| count + on_cpu.count);
            } else {
                known.interrupts = known.interrupts.map(|count| count + on_cpu.count);
                known.interrupts_per_s = known.interrupts.map(|count| rate(count, self.elapsed_s));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::FilterArgs;

    fn snapshot(at_ns: u64, interrupts: &str) -> Snapshot {
        Snapshot { at_ns, interrupts: Table::parse(interrupts), ..Snapshot::default() }
    }

    /// What each step grew by is in the sum, whatever became of the row later.
    #[test]
    fn a_sum_of_steps_is_the_sum_of_their_differences() {
        let steps = [
            snapshot(0, " CPU0 CPU1\n 36: 1000 0 PCI-MSI 1-edge  nic0\n 40: 7 7 PCI-MSI 2-edge  disk\n"),
            snapshot(1_000, " CPU0 CPU1\n 36: 3000 5 PCI-MSI 1-edge  nic0\n 40: 8 7 PCI-MSI 2-edge  disk\n"),
            // It restarted, with one CPU less.
            snapshot(2_000, " CPU0\n 36: 1000 PCI-MSI 1-edge  nic0\n 40: 9 PCI-MSI 2-edge  disk\n"),
            // It went, and its number is another device's.
            snapshot(3_000, " CPU0\n 36: 20 PCI-MSI 1-edge  usb\n 40: 9 PCI-MSI 2-edge  disk\n"),
            snapshot(4_000, " CPU0\n 40: 10 PCI-MSI 2-edge  disk\n"),
        ];
        let filter = FilterArgs::default().resolve().unwrap();
        let (mut differ, mut total, mut by_step) = (Differ::default(), Sums::default(), Vec::new());
        for pair in steps.windows(2) {
            let mut step = Sums::default();
            step.add(&mut differ, &pair[0], &pair[1]);
            total.add(&mut differ, &pair[0], &pair[1]);
            by_step.push(step.difference(&filter));
        }
        let all = total.difference(&filter);
        assert_eq!(all.interrupts, by_step.iter().map(|step| step.interrupts).sum());
        assert_eq!(all.softirqs, None, "no table, no zero");
        assert!(
            all.cpus.iter().all(|cpu| cpu.softirqs.is_none() && cpu.interrupts > Some(0)),
            "{:?}",
            all.cpus
        );
        let counts: Vec<(&str, u64)> =
            all.sources.iter().map(|source| (source.device.as_str(), source.count)).collect();
        assert_eq!(counts, [("nic0", 3005), ("usb", 20), ("disk", 3)]);
        assert_eq!(
            all.sources[0].cpus,
            [OnCpu { cpu: Some(0), count: 3000 }, OnCpu { cpu: Some(1), count: 5 }]
        );
        assert!((all.elapsed_s - 4_000e-9).abs() < 1e-15);
        let one_step = {
            let mut step = Sums::default();
            step.add(&mut differ, &steps[0], &steps[4]);
            step.difference(&filter).interrupts
        };
        assert_eq!(one_step, Some(3), "which is all that the first and the last snapshot tell");
    }
}
