//! Sources of interrupts as records show them: what grew, on which CPUs.

use std::fmt;

use meter::{
    Result,
    interrupts::{Row, Table, difference},
};
use serde::Serialize;

/// Which of the kernel's two tables a source is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// /proc/interrupts.
    Interrupt,
    /// /proc/softirqs.
    Softirq,
}

/// Interrupts of one source on one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OnCpu {
    /// The CPU; `null` for counts that the kernel keeps for all together.
    pub cpu: Option<usize>,
    /// How many.
    pub count: u64,
}

/// One source and what it raised.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Source {
    /// Number of the IRQ, or short name such as `LOC` or `NET_RX`.
    pub name: String,
    /// The table that it is in.
    pub origin: Origin,
    /// Name of the device, or the kernel's description.
    pub device: String,
    /// Interrupts of all CPUs.
    pub count: u64,
    /// The same per second.
    pub per_s: f64,
    /// Each CPU that had any.
    pub cpus: Vec<OnCpu>,
}

impl Source {
    fn new(row: &Row, origin: Origin, cpus: &[usize], elapsed_s: f64) -> Self {
        let per_cpu = row.counts.len() == cpus.len();
        let on_cpus = row.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let count = row.total();
        let numbered = row.name.starts_with(|c: char| c.is_ascii_digit());
        Self {
            name: row.name.clone(),
            origin,
            device: if numbered { row.device().to_owned() } else { row.label.clone() },
            count,
            per_s: if elapsed_s > 0.0 { count as f64 / elapsed_s } else { 0.0 },
            cpus: on_cpus
                .map(|(column, &count)| OnCpu { cpu: per_cpu.then(|| cpus[column]), count })
                .collect(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10} {:>12} {:>12.1}/s ", self.name, self.count, self.per_s)?;
        for OnCpu { cpu, count } in &self.cpus {
            match cpu {
                Some(cpu) => write!(f, " {cpu}:{count}")?,
                None => write!(f, " all:{count}")?,
            }
        }
        write!(f, "  {}", self.device)
    }
}

/// Both tables at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    interrupts: Table,
    softirqs: Table,
}

impl Snapshot {
    /// Reads both.
    ///
    /// # Errors
    /// When /proc can't be read.
    pub fn take() -> Result<Self> {
        Ok(Self { interrupts: Table::interrupts()?, softirqs: Table::softirqs()? })
    }

    /// Lines that could not be understood, as they stand.
    #[must_use]
    pub fn unread(&self) -> Vec<String> {
        self.interrupts.unread.iter().chain(&self.softirqs.unread).cloned().collect()
    }

    /// The sources that grew since `before`, busiest first.
    #[must_use]
    pub fn since(&self, before: &Self, elapsed_s: f64) -> Vec<Source> {
        let tables = [
            (Origin::Interrupt, &before.interrupts, &self.interrupts),
            (Origin::Softirq, &before.softirqs, &self.softirqs),
        ];
        let mut sources: Vec<Source> = tables
            .into_iter()
            .flat_map(|(origin, before, after)| {
                difference(before, after)
                    .into_iter()
                    .filter(|row| row.total() > 0)
                    .map(move |row| Source::new(&row, origin, &after.cpus, elapsed_s))
            })
            .collect();
        sources.sort_by_key(|source| std::cmp::Reverse(source.count));
        sources
    }
}
