//! What grew between two snapshots: never negative, never huge.

use super::table::{Row, Table};

/// The kernel's counters have 32 bits on every architecture.
const WRAP: u64 = 1 << 32;
/// A counter that fell from the top of its range by a growth below this has wrapped, not restarted.
const WRAP_GROWTH: u64 = 1 << 28;

/// Compares two snapshots row by row through memory of its own.
#[derive(Clone, Debug, Default)]
pub struct Differ {
    /// For each column of `after` that of `before`; `None` for a CPU that was not there.
    columns: Vec<Option<usize>>,
    grown: Vec<u64>,
}

impl Differ {
    /// Calls `visit` for every row of `after` with how much each of its counts grew since `before`.
    ///
    /// A count that fell has wrapped, where it was close to 2³², and else restarted: then it counts
    /// from zero. A row that is new counts from zero too. A CPU that came back shows what it had before
    /// it went, so it counts from the next snapshot on. What vanished is left out.
    pub fn each<'a>(&mut self, before: &Table, after: &'a Table, mut visit: impl FnMut(&'a Row, &[u64])) {
        let same_cpus = before.cpus == after.cpus;
        self.columns.clear();
        if !same_cpus {
            self.columns
                .extend(after.cpus.iter().map(|cpu| before.cpus.iter().position(|other| other == cpu)));
        }
        // Both are in the kernel's order, and names may repeat: a walk side by side finds the partners.
        let mut next = 0;
        for row in &after.rows {
            let found =
                before.rows[next..].iter().position(|old| old.name == row.name).map(|skip| next + skip);
            self.grown.clear();
            match found {
                None => self.grown.extend_from_slice(&row.counts),
                Some(index) => {
                    next = index + 1;
                    let per_cpu = row.counts.len() == after.cpus.len();
                    self.compare(&before.rows[index].counts, &row.counts, same_cpus || !per_cpu);
                }
            }
            visit(row, &self.grown);
        }
    }

    fn compare(&mut self, old: &[u64], new: &[u64], same_columns: bool) {
        if !same_columns {
            let earlier = |column: &Option<usize>| column.and_then(|column| old.get(column)).copied();
            let grown = |(column, &count)| earlier(column).map_or(0, |old| growth(old, count));
            self.grown.extend(self.columns.iter().zip(new).map(grown));
        } else if old == new {
            self.grown.resize(new.len(), 0);
        } else {
            self.grown.extend(old.iter().zip(new).map(|(&old, &count)| growth(old, count)));
            // A row that had one count for all and now has one for each, or the reverse.
            self.grown.resize(new.len(), 0);
        }
    }
}

/// How much a counter grew from `old` to `new`.
#[inline]
fn growth(old: u64, new: u64) -> u64 {
    match new.checked_sub(old) {
        Some(growth) => growth,
        None if old < WRAP && new + WRAP - old < WRAP_GROWTH => new + WRAP - old,
        None => new,
    }
}

/// What grew between two snapshots: for every row of `after` how much each CPU's count grew, by the
/// rules of [`Differ::each`]: never a negative or huge difference.
#[must_use]
pub fn difference(before: &Table, after: &Table) -> Vec<Row> {
    let mut rows = Vec::with_capacity(after.rows.len());
    Differ::default().each(before, after, |row, grown| {
        rows.push(Row { name: row.name.clone(), counts: grown.to_vec(), label: row.label.clone() });
    });
    rows
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grown(before: &str, after: &str) -> Vec<Vec<u64>> {
        difference(&Table::parse(before), &Table::parse(after)).into_iter().map(|row| row.counts).collect()
    }

    #[test]
    fn a_cpu_that_came_and_a_counter_that_restarted_give_no_nonsense() {
        let before = " CPU0 CPU2\n 36: 5 4829 PCI-MSIX   1-edge      virtio1-req.0\n";
        let after = " CPU0 CPU1 CPU2\n 36: 7 900000 3 PCI-MSIX   1-edge      virtio1-req.0\n";
        assert_eq!(grown(before, after), [[2, 0, 3]]);
        assert_eq!(grown(after, before), [[5, 4826]], "CPU 1 went, CPU 0 restarted");
    }

    #[test]
    fn a_counter_that_wraps_goes_on() {
        assert_eq!(grown(" CPU0\nLOC: 4294967290 x\n", " CPU0\nLOC: 5 x\n"), [[11]]);
        assert_eq!(grown(" CPU0\nLOC: 3000000000 x\n", " CPU0\nLOC: 5 x\n"), [[5]], "too far: a restart");
    }

    #[test]
    fn rows_of_one_name_are_told_apart_by_their_order() {
        let before = " CPU0\n17: 9 a\nLOC: 1000000 event device\nBCT: 0 b\nLOC: 7 others\n";
        let after = " CPU0\n16: 4 new\nLOC: 1000005 event device\nBCT: 0 b\nLOC: 9 others\n";
        assert_eq!(grown(before, after), [[4], [5], [0], [2]]);
    }

    #[test]
    fn a_device_that_was_renamed_does_not_count_from_zero() {
        assert_eq!(grown(" CPU0\n5: 1000 MSI  eth0\n", " CPU0\n5: 1002 MSI  enp1s0\n"), [[2]]);
    }

    fn table(cpus: &[usize], rows: Vec<(u8, Vec<u64>)>) -> Table {
        let row = |(name, mut counts): (u8, Vec<u64>)| {
            counts.resize(cpus.len(), 0);
            Row { name: name.to_string(), counts, label: String::new() }
        };
        Table { cpus: cpus.to_vec(), rows: rows.into_iter().map(row).collect(), unread: Vec::new() }
    }

    fn rows() -> impl Strategy<Value = Vec<(u8, Vec<u64>)>> {
        let counts = proptest::collection::vec(0_u64..WRAP, 0..4);
        proptest::collection::vec((0_u8..12, counts), 0..10)
    }

    proptest! {
        #[test]
        fn no_difference_is_larger_than_what_was_counted(
            cpus_before in proptest::sample::subsequence(vec![0, 1, 2, 3], 0..4),
            cpus_after in proptest::sample::subsequence(vec![0, 1, 2, 3], 0..4),
            before in rows(),
            after in rows(),
        ) {
            let (before, after) = (table(&cpus_before, before), table(&cpus_after, after));
            for (grown, row) in difference(&before, &after).iter().zip(&after.rows) {
                for (grown, count) in grown.counts.iter().zip(&row.counts) {
                    prop_assert!(grown <= count || *grown < WRAP_GROWTH, "{} of {}", grown, count);
                }
            }
        }

        #[test]
        fn what_was_added_is_found(
            base in proptest::collection::vec(0_u64..1 << 31, 1..8),
            added in proptest::collection::vec(0_u64..1 << 27, 1..8),
        ) {
            let sum = base.iter().zip(added.iter().chain(std::iter::repeat(&0)));
            let after: Vec<u64> = sum.map(|(base, added)| base + added).collect();
            let cpus: Vec<usize> = (0..base.len()).collect();
            let (before, after) = (table(&cpus, vec![(1, base.clone())]), table(&cpus, vec![(1, after)]));
            let mut expected = added;
            expected.resize(base.len(), 0);
            prop_assert_eq!(&difference(&before, &after)[0].counts, &expected);
        }
    }
}
