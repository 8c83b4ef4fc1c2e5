//! Interrupt counts: /proc/interrupts and /proc/softirqs, read and compared.

use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// One source of interrupts and its counts since boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Number (`36`) or short name (`LOC`, `NET_RX`) before the colon.
    pub name: String,
    /// Counts, one per CPU of the table; a row of a single total (`ERR`) has one.
    pub counts: Vec<u64>,
    /// What stands behind the counts: chip, hardware number and devices, or a description.
    pub label: String,
}

impl Row {
    /// Interrupts of all CPUs together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.wrapping_add(*count))
    }

    /// Device names of a numbered row, such as `virtio1-req.0`: the last word of the label, or the
    /// words after the last comma-separated list began.
    #[must_use]
    pub fn device(&self) -> &str {
        let first_of_list = self.label.find(", ").map_or(self.label.len(), |comma| comma);
        let start = self.label[..first_of_list].rfind(' ').map_or(0, |space| space + 1);
        &self.label[start..]
    }
}

/// A snapshot of one of the kernel's interrupt tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Numbers of the CPUs, in the order of the columns. Offline CPUs have no column.
    pub cpus: Vec<usize>,
    /// The sources, in the kernel's order.
    pub rows: Vec<Row>,
    /// Lines that could not be read, as they stand: reported, never dropped.
    pub unread: Vec<String>,
}

impl Table {
    /// Snapshot of /proc/interrupts.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn interrupts() -> Result<Self> {
        Self::read("/proc/interrupts")
    }

    /// Snapshot of /proc/softirqs.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn softirqs() -> Result<Self> {
        Self::read("/proc/softirqs")
    }

    fn read(path: &str) -> Result<Self> {
        fs::read_to_string(path)
            .map(|text| Self::parse(&text))
            .map_err(|error: io::Error| Error::system(path, error))
    }

    /// Reads a table: a head of `CPUn` columns, then `name: counts… label` lines.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let head = lines.next().unwrap_or_default();
        let cpus: Option<Vec<usize>> =
            head.split_ascii_whitespace().map(|word| word.strip_prefix("CPU")?.parse().ok()).collect();
        let Some(cpus) = cpus else {
            return Self { unread: text.lines().map(str::to_owned).collect(), ..Self::default() };
        };
        let mut table = Self { cpus, ..Self::default() };
        for line in lines.filter(|line| !line.trim().is_empty()) {
            match parse_row(line, table.cpus.len()) {
                Some(row) => table.rows.push(row),
                None => table.unread.push(line.to_owned()),
            }
        }
        table
    }

    /// The row of that name.
    #[must_use]
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }
}

fn parse_row(line: &str, cpus: usize) -> Option<Row> {
    let (name, mut rest) = line.split_once(':')?;
    let mut counts = Vec::with_capacity(cpus);
    while counts.len() < cpus {
        rest = rest.trim_start();
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        // A count ends at white space: `4-edge` is the label already.
        if end == 0 || rest[end..].starts_with(|c: char| !c.is_ascii_whitespace()) {
            break;
        }
        counts.push(rest[..end].parse().ok()?);
        rest = &rest[end..];
    }
    let name = name.trim();
    (!counts.is_empty() && !name.is_empty()).then(|| Row {
        name: name.to_owned(),
        counts,
        label: rest.trim().to_owned(),
    })
}

/// What grew between two snapshots: for every row of `after`, by name, how much each CPU's count grew.
///
/// A count that restarted counts from zero, a row or CPU that is new from zero as well, one that
/// vanished is left out: never a negative or huge difference.
#[must_use]
pub fn difference(before: &Table, after: &Table) -> Vec<Row> {
    let column_before: Vec<Option<usize>> =
        after.cpus.iter().map(|cpu| before.cpus.iter().position(|other| other == cpu)).collect();
    after
        .rows
        .iter()
        .map(|row| {
            let old = before.row(&row.name).filter(|old| old.label == row.label);
            let grown = |(column, &count): (usize, &u64)| {
                let column =
                    if row.counts.len() == after.cpus.len() { column_before[column] } else { Some(column) };
                let earlier =
                    column.zip(old).and_then(|(column, old)| old.counts.get(column)).copied().unwrap_or(0);
                count.checked_sub(earlier).unwrap_or(count)
            };
            Row { counts: row.counts.iter().enumerate().map(grown).collect(), ..row.clone() }
        })
        .collect()
}

/// Which interrupts belong to what is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Rows of /proc/interrupts by their names, that is IRQ numbers.
    Interrupts(Vec<String>),
    /// Rows of /proc/softirqs by their names, such as `NET_RX`: where a device has no interrupt line.
    Softirqs(Vec<String>),
    /// They can't be told, for this reason.
    Unknown(String),
}

/// Interrupts of the measured device during a measurement. Machine-wide counts of these sources:
/// others that use the same device are in them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InterruptCount {
    /// How many; `null` when they can't be told.
    pub count: Option<u64>,
    /// What was counted: device names of IRQs, or names of softirqs.
    pub sources: Vec<String>,
    /// Why they can't be told.
    pub reason: Option<String>,
}

/// Counts the interrupts of [`Sources`] from its creation on.
pub struct InterruptMeter {
    sources: Sources,
    before: Table,
}

impl InterruptMeter {
    /// Begins now.
    ///
    /// # Errors
    /// When /proc can't be read.
    pub fn start(sources: Sources) -> Result<Self> {
        let before = snapshot(&sources)?;
        Ok(Self { sources, before })
    }

    /// The count since the start.
    ///
    /// # Errors
    /// When /proc can't be read.
    pub fn read(&self) -> Result<InterruptCount> {
        let names = match &self.sources {
            Sources::Interrupts(names) | Sources::Softirqs(names) => names,
            Sources::Unknown(reason) => {
                return Ok(InterruptCount { count: None, sources: Vec::new(), reason: Some(reason.clone()) });
            }
        };
        let grown = difference(&self.before, &snapshot(&self.sources)?);
        let rows: Vec<&Row> = grown.iter().filter(|row| names.contains(&row.name)).collect();
        let label =
            |row: &&Row| if row.label.is_empty() { row.name.clone() } else { row.device().to_owned() };
        Ok(InterruptCount {
            count: Some(rows.iter().map(|row| row.total()).sum()),
            sources: rows.iter().map(label).collect(),
            reason: None,
        })
    }
}

fn snapshot(sources: &Sources) -> Result<Table> {
    match sources {
        Sources::Interrupts(_) => Table::interrupts(),
        Sources::Softirqs(_) => Table::softirqs(),
        Sources::Unknown(_) => Ok(Table::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "           CPU0       CPU2\n 36:          5       4829 PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0\nLOC:       5396       6049   Local timer interrupts\nERR:          0\n";

    #[test]
    fn rows_have_names_counts_and_devices() {
        let table = Table::parse(BEFORE);
        assert_eq!(table.cpus, [0, 2]);
        assert_eq!(table.rows[0].counts, [5, 4829]);
        assert_eq!(table.rows[0].device(), "virtio1-req.0");
        assert_eq!(table.row("ERR").unwrap().counts, [0]);
        assert!(table.unread.is_empty());
    }

    #[test]
    fn shared_lines_keep_all_their_devices() {
        let table = Table::parse("  CPU0\n 16: 1 IO-APIC 16-fasteoi ehci_hcd:usb1, nouveau\n");
        assert_eq!(table.rows[0].device(), "ehci_hcd:usb1, nouveau");
    }

    #[test]
    fn a_cpu_that_came_and_a_counter_that_restarted_give_no_nonsense() {
        let after = "  CPU0 CPU1 CPU2\n 36: 7 9 3 PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0\n";
        let grown = difference(&Table::parse(BEFORE), &Table::parse(after));
        assert_eq!(grown[0].counts, [2, 9, 3]);
    }

    #[test]
    fn lines_that_make_no_sense_are_kept() {
        let table = Table::parse("  CPU0\nnonsense\n 1: 5 x\n");
        assert_eq!(table.unread, ["nonsense"]);
        assert_eq!(table.rows.len(), 1);
    }

    #[test]
    fn this_machine_counts_its_timer() {
        let grown = difference(&Table::default(), &Table::softirqs().unwrap());
        assert!(grown.iter().any(|row| row.name == "TIMER" && row.total() > 0));
    }
}
