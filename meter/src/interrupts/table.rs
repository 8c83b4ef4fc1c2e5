//! A snapshot of one of the kernel's interrupt tables.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::PathBuf,
};

use super::scan;
use crate::{Error, Result};

/// How often a file is read again when CPUs came or went while the kernel wrote it.
const ATTEMPTS: u32 = 3;

/// One source of interrupts and its counts since boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Number (`36`) or short name (`LOC`, `NET_RX`) before the colon. Not unique: powerpc has two
    /// rows `LOC`.
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

    /// Device names of a numbered row, such as `virtio1-req.0` or `ehci_hcd:usb1, nouveau`: what
    /// follows the last gap of two spaces, by which the kernel sets them off. Empty where the line
    /// ends with the chip's own columns, as for an interrupt that nobody handles any more.
    #[must_use]
    pub fn device(&self) -> &str {
        let start = match self.label.rfind("  ") {
            Some(gap) => gap + 2,
            None => {
                let first_of_list = self.label.find(", ").unwrap_or(self.label.len());
                // The first word is the chip.
                let Some(space) = self.label[..first_of_list].rfind(' ') else { return "" };
                space + 1
            }
        };
        let device = &self.label[start..];
        if is_trigger(device) { "" } else { device }
    }
}

/// Whether this is a chip's hardware number and trigger, such as `4-edge`, `27 Level` or `-fasteoi`.
fn is_trigger(text: &str) -> bool {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered = rest.len() < text.len();
    matches!(rest.trim(), "Level" | "Edge" | "level" | "edge") && numbered
        || matches!(rest, "-edge" | "-level" | "-fasteoi" | "-event" | "-virq" | "-ipi" | "-msi" | "-msi-x")
}

/// A snapshot of /proc/interrupts or /proc/softirqs.
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
        let mut table = Self::default();
        Reader::interrupts().read(&mut table)?;
        Ok(table)
    }

    /// Snapshot of /proc/softirqs.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn softirqs() -> Result<Self> {
        let mut table = Self::default();
        Reader::softirqs().read(&mut table)?;
        Ok(table)
    }

    /// Reads a table: a head of `CPUn` columns, then `name: counts… label` lines.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut table = Self::default();
        table.update(text);
        table
    }

    /// The same as [`Table::parse`] into memory that is there already: of a machine whose sources do
    /// not change it allocates nothing.
    pub fn update(&mut self, text: &str) {
        self.unread.clear();
        let head_end = text.find('\n').map_or(text.len(), |end| end + 1);
        if !self.update_head(&text[..head_end]) {
            self.cpus.clear();
            self.rows.clear();
            self.unread.extend(text.lines().map(str::to_owned));
            return;
        }
        let (mut at, mut row) = (head_end, 0);
        while at < text.len() {
            if self.rows.len() == row {
                self.rows.push(Row::default());
            }
            let (end, outcome) = parse_row(text, at, self.cpus.len(), &mut self.rows[row]);
            match outcome {
                Line::Row => row += 1,
                Line::Blank => {}
                Line::Unread => self.unread.push(text[at..end].trim_end().to_owned()),
            }
            at = end + 1;
        }
        self.rows.truncate(row);
    }

    /// The CPUs of the head; says whether it is one.
    fn update_head(&mut self, head: &str) -> bool {
        self.cpus.clear();
        for word in head.split_ascii_whitespace() {
            let Some(cpu) = word.strip_prefix("CPU").and_then(|number| number.parse().ok()) else {
                return false;
            };
            self.cpus.push(cpu);
        }
        true
    }

    /// Whether there is nothing to read: a file without a single CPU's column, as where a container's runtime
    /// lays an empty file over it. It says nothing about interrupts, least of all that there were none.
    #[must_use]
    pub fn is_masked(&self) -> bool {
        self.cpus.is_empty()
    }

    /// The first row of that name.
    #[must_use]
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }
}

/// What a line was.
enum Line {
    Row,
    Blank,
    Unread,
}

/// Reads the line that begins at `at` into `row`, and gives where it ends.
fn parse_row(text: &str, at: usize, cpus: usize, row: &mut Row) -> (usize, Line) {
    let bytes = text.as_bytes();
    let end_after = |from: usize| text[from..].find('\n').map_or(text.len(), |length| from + length);
    // The name is short: only a line without one is searched to its end.
    let Some(mark) = bytes[at..].iter().position(|byte| matches!(byte, b':' | b'\n')).map(|n| at + n) else {
        return (text.len(), if text[at..].trim().is_empty() { Line::Blank } else { Line::Unread });
    };
    let name = text[at..mark].trim();
    if bytes[mark] == b'\n' {
        return (mark, if name.is_empty() { Line::Blank } else { Line::Unread });
    }
    let rest = scan::counts(bytes, mark + 1, cpus, &mut row.counts);
    let end = end_after(rest);
    let label = text[rest..end].trim();
    // One count for all CPUs together, or one for each. Anything else was torn by a CPU that came or
    // went while the kernel wrote the lines, and so was a label that begins with another count.
    let complete = row.counts.len() == cpus || row.counts.len() == 1;
    let torn = label
        .split(' ')
        .next()
        .is_some_and(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()));
    if row.counts.is_empty() || name.is_empty() || !complete || torn {
        return (end, Line::Unread);
    }
    assign(&mut row.name, name);
    assign(&mut row.label, label);
    (end, Line::Row)
}

/// Makes `target` equal to `text`, in its memory.
fn assign(target: &mut String, text: &str) {
    if target != text {
        target.clear();
        target.push_str(text);
    }
}

/// Why a table says nothing.
pub const MASKED: &str = "the kernel's table is empty or hidden here, as containers mask it";

/// Reads one of the kernel's tables again and again through one buffer.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Reader {
    /// A reader of /proc/interrupts.
    #[must_use]
    pub fn interrupts() -> Self {
        Self::of("/proc/interrupts")
    }

    /// A reader of /proc/softirqs.
    #[must_use]
    pub fn softirqs() -> Self {
        Self::of("/proc/softirqs")
    }

    /// A reader of another file in the same form: a copy, or another root's /proc.
    #[must_use]
    pub fn of(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), bytes: Vec::new() }
    }

    /// Replaces `table` by what the file says now. Where CPUs came or went while the kernel wrote it,
    /// it is read again; lines that stay torn are in [`Table::unread`]. A file that is not there, or may not be
    /// read, leaves a table that [is masked](Table::is_masked).
    ///
    /// # Errors
    /// When the file can't be read for another reason.
    pub fn read(&mut self, table: &mut Table) -> Result<()> {
        for _ in 0..ATTEMPTS {
            self.bytes.clear();
            match File::open(&self.path).and_then(|mut file| file.read_to_end(&mut self.bytes)) {
                Ok(_) => {}
                // A /proc of processes only (`subset=pid`), or a rule of a container: nothing to read either.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {}
                Err(error) => return Err(Error::system(self.path.display().to_string(), error)),
            }
            // The name of a device may be any bytes.
            table.update(&String::from_utf8_lossy(&self.bytes));
            if table.unread.is_empty() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SMALL: &str = "           CPU0       CPU2\n 36:          5       4829 PCI-MSIX-0000:00:02.0   1-edge      virtio1-req.0\nLOC:       5396       6049   Local timer interrupts\nERR:          0\n";

    #[test]
    fn rows_have_names_counts_and_devices() {
        let table = Table::parse(SMALL);
        assert_eq!(table.cpus, [0, 2]);
        assert_eq!(table.rows[0].counts, [5, 4829]);
        assert_eq!(table.rows[0].device(), "virtio1-req.0");
        assert_eq!(table.row("ERR").unwrap().counts, [0]);
        assert!(table.unread.is_empty());
    }

    #[test]
    fn devices_are_told_from_the_chips_columns() {
        let device = |label: &str| Row { label: label.to_owned(), ..Row::default() }.device().to_owned();
        assert_eq!(device("IO-APIC 16-fasteoi ehci_hcd:usb1, nouveau"), "ehci_hcd:usb1, nouveau");
        assert_eq!(device("GICv2 175 Level     PCIe PME, aerdrv"), "PCIe PME, aerdrv");
        assert_eq!(device("GICv2  27 Level     kvm guest vtimer"), "kvm guest vtimer");
        assert_eq!(device("xen-dyn-lateeoi     Edge    -event     evtchn:xenstored"), "evtchn:xenstored");
        assert_eq!(device("IO-APIC   4-edge"), "");
        assert_eq!(device("ARMCTRL"), "", "a chip and nothing that handles it");
        assert_eq!(device("GICv2  27 Level"), "");
    }

    #[test]
    fn lines_that_make_no_sense_are_kept() {
        let table = Table::parse("  CPU0\nnonsense\n 1: 5 x\n\n: 7\n 9:\nlast");
        assert_eq!(table.unread, ["nonsense", ": 7", " 9:", "last"]);
        assert_eq!(table.rows.len(), 1);
    }

    #[test]
    fn a_line_written_while_a_cpu_came_or_went_is_torn() {
        let table =
            Table::parse(" CPU0 CPU1 CPU2\n 1: 5 6 IO-APIC x\n 2: 5 6 7 8 IO-APIC y\n 3: 1 2 3 IO-APIC z\n");
        assert_eq!(table.unread.len(), 2);
        assert_eq!(table.rows.len(), 1);
    }

    #[test]
    fn an_update_forgets_what_was_there_before() {
        let mut table = Table::parse(SMALL);
        for text in ["  CPU0\n 1: 5 x\n", SMALL, "garbage\nmore", ""] {
            table.update(text);
            assert_eq!(table, Table::parse(text), "{text}");
        }
    }

    #[test]
    fn this_machine_can_be_read() {
        let table = Table::interrupts().unwrap();
        assert!(!table.rows.is_empty());
        assert_eq!(table.unread, [""; 0]);
        assert!(Table::softirqs().unwrap().row("TIMER").is_some_and(|row| row.total() > 0));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_reported(text in "[ \\n:0-9A-Za-zé-]{0,300}", head in prop_oneof![Just(""), Just("  CPU0  CPU1\n")]) {
            let text = format!("{head}{text}");
            let table = Table::parse(&text);
            let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
            let read = table.rows.len() + table.unread.iter().filter(|line| !line.trim().is_empty()).count();
            prop_assert_eq!(read + usize::from(!table.cpus.is_empty()), lines);
        }
    }
}
