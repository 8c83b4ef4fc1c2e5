//! The interrupts of one device over a measurement.

use serde::{Deserialize, Serialize};

use super::{MASKED, Row, Table, difference};
use crate::Result;

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
        let sources = match sources {
            Sources::Interrupts(_) | Sources::Softirqs(_) if before.is_masked() => {
                Sources::Unknown(MASKED.into())
            }
            sources => sources,
        };
        Ok(Self { sources, before })
    }

    /// The count since the start, or since the last [`InterruptMeter::split`].
    ///
    /// # Errors
    /// When /proc can't be read.
    pub fn read(&self) -> Result<InterruptCount> {
        Ok(self.until(&snapshot(&self.sources)?))
    }

    /// The same, and begins again at this very moment: the parts of a measurement add up to the whole.
    ///
    /// # Errors
    /// When /proc can't be read.
    pub fn split(&mut self) -> Result<InterruptCount> {
        let now = snapshot(&self.sources)?;
        let count = self.until(&now);
        self.before = now;
        Ok(count)
    }

    fn until(&self, now: &Table) -> InterruptCount {
        let names = match &self.sources {
            Sources::Interrupts(names) | Sources::Softirqs(names) => names,
            Sources::Unknown(reason) => {
                return InterruptCount { count: None, sources: Vec::new(), reason: Some(reason.clone()) };
            }
        };
        let grown = difference(&self.before, now);
        let rows: Vec<&Row> = grown.iter().filter(|row| names.contains(&row.name)).collect();
        if rows.is_empty() {
            let reason = format!("the kernel's table shows none of {}", names.join(", "));
            return InterruptCount { count: None, sources: Vec::new(), reason: Some(reason) };
        }
        let label =
            |row: &&Row| if row.label.is_empty() { row.name.clone() } else { row.device().to_owned() };
        InterruptCount {
            count: Some(rows.iter().map(|row| row.total()).sum()),
            sources: rows.iter().map(label).collect(),
            reason: None,
        }
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

    const BEFORE: &str = " CPU0\n 36: 5 PCI-MSIX 1-edge virtio1-req.0\n";
    const AFTER: &str = " CPU0\n 36: 9 PCI-MSIX 1-edge virtio1-req.0\n";

    fn count(name: &str, before: &str, now: &str) -> InterruptCount {
        let sources = Sources::Interrupts(vec![name.into()]);
        InterruptMeter { sources, before: Table::parse(before) }.until(&Table::parse(now))
    }

    #[test]
    fn what_the_table_does_not_show_is_no_zero() {
        assert_eq!(count("36", BEFORE, AFTER).count, Some(4));
        assert_eq!(count("36", BEFORE, BEFORE).count, Some(0));
        for (name, now) in [("37", AFTER), ("36", "")] {
            let missing = count(name, BEFORE, now);
            assert_eq!(missing.count, None);
            assert!(missing.reason.unwrap().contains(name));
        }
    }
}
