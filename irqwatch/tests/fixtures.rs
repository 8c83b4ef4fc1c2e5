//! /proc/interrupts of many machines: forms that real kernels write, with numbers of our own.

use std::{collections::BTreeMap, fs, path::Path};

use irqwatch::class::Class;
use meter::interrupts::{Table, difference};

fn fixtures() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: std::path::PathBuf| {
        (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap())
    };
    files.map(read).collect()
}

#[test]
fn every_line_of_every_kernel_is_understood() {
    let fixtures = fixtures();
    assert!(fixtures.len() >= 12);
    for (name, text) in fixtures {
        let table = Table::parse(&text);
        assert_eq!(table.unread, [""; 0], "{name}");
        assert_eq!(table.rows.len(), text.lines().count() - 1, "{name}");
        assert!(!table.cpus.is_empty(), "{name}");
        for row in &table.rows {
            let complete = [1, table.cpus.len()].contains(&row.counts.len());
            assert!(complete && !row.name.contains(' '), "{name}: {row:?}");
            let sum: u64 = row.counts.iter().sum();
            let line = text.lines().find(|line| line.trim_start().starts_with(&format!("{}:", row.name)));
            assert!(line.is_some() && (sum == row.total()), "{name}: {row:?}");
        }
    }
}

#[test]
fn a_table_does_not_differ_from_itself() {
    for (name, text) in fixtures() {
        let table = Table::parse(&text);
        assert!(difference(&table, &table).iter().all(|row| row.total() == 0), "{name}");
    }
}

#[test]
fn every_count_that_grows_is_found_where_it_grew() {
    for (name, text) in fixtures() {
        let before = Table::parse(&text);
        let mut after = before.clone();
        for (number, row) in after.rows.iter_mut().enumerate() {
            for (column, count) in row.counts.iter_mut().enumerate() {
                *count += (number * 10 + column) as u64;
            }
        }
        for (number, row) in difference(&before, &after).iter().enumerate() {
            let expected: Vec<u64> =
                (0..row.counts.len()).map(|column| (number * 10 + column) as u64).collect();
            assert_eq!(row.counts, expected, "{name}: {} {}", row.name, row.label);
        }
    }
}

#[test]
fn sources_are_known_by_class_and_device() {
    let expected: &[(&str, &str, &str, Class)] = &[
        ("x86-desktop", "127", "nvme0q1", Class::Msi),
        ("x86-desktop", "16", "ehci_hcd:usb1, snd_hda_intel:card1", Class::Device),
        ("x86-desktop", "0", "timer", Class::Timer),
        ("x86-desktop", "PIW", "", Class::Posted),
        ("x86-2.6", "16", "Intel EtherExpress Pro 10/100 Ethernet", Class::Device),
        ("xen-pv-guest", "33", "eth0-q0-tx", Class::XenVif),
        ("xen-pv-guest", "32", "blkif", Class::XenVbd),
        ("xen-pv-guest", "16", "timer0", Class::XenTimer),
        ("xen-hvm-guest", "39", "ens4-rx-0", Class::XenPirq),
        ("xen-hvm-guest", "56", "eth0", Class::XenVif),
        ("xen-hvm-guest", "HYP", "", Class::HypervisorCallback),
        ("xen-dom0", "82", "vif1.0-q0-tx", Class::XenVif),
        ("xen-dom0", "81", "blkif-backend", Class::XenVbd),
        ("xen-dom0", "64", "evtchn:xenstored", Class::XenStore),
        ("xen-dom0", "80", "evtchn:xenconsoled", Class::XenConsole),
        ("xen-dom0", "84", "evtchn:qemu-system-i38", Class::XenOther),
        ("xen-dom0", "68", "eth0", Class::XenPirq),
        ("xen-arm64", "11", "arch_timer", Class::Timer),
        ("xen-arm64", "IPI3", "", Class::Ipi),
        ("xen-arm64", "0", "xenbus", Class::XenStore),
        ("arm64-gicv2", "27", "PCIe PME, aerdrv", Class::Device),
        ("arm64-gicv2", "12", "kvm guest vtimer", Class::Device),
        ("arm32-zynq", "56", "nvme0q0", Class::Msi),
        ("arm32-zynq", "Err", "", Class::Error),
        ("riscv64", "5", "riscv-timer", Class::Timer),
        ("riscv64", "8", "1004b800.serial:rx err", Class::Device),
        ("riscv64", "11", "virtio0", Class::Msi),
        ("s390x", "EXT", "", Class::Sum),
        ("s390x", "CLK", "", Class::Timer),
        ("s390x", "EMS", "", Class::Ipi),
        ("s390x", "QAI", "", Class::Device),
        ("powerpc64", "16", "IPI", Class::Ipi),
        ("powerpc64", "LOC", "", Class::Timer),
    ];
    let fixtures = fixtures();
    for (fixture, name, device, class) in expected {
        let table = Table::parse(&fixtures[*fixture]);
        let row = table.row(name).unwrap_or_else(|| panic!("{fixture} has no {name}"));
        assert_eq!(Class::of(row), *class, "{fixture} {name}");
        if !device.is_empty() {
            assert_eq!(row.device(), *device, "{fixture} {name}");
        }
    }
}

#[test]
fn offline_cpus_keep_their_numbers() {
    assert_eq!(Table::parse(&fixtures()["x86-offline"]).cpus, [0, 2, 5]);
}

#[test]
fn a_thousand_cpus_with_four_thousand_interrupts_are_understood() {
    use std::fmt::Write;
    const CPUS: usize = 1024;
    const ROWS: usize = 4096;
    let mut text = String::from("           ");
    (0..CPUS).for_each(|cpu| write!(text, "CPU{cpu:<8}").unwrap());
    for row in 0..ROWS {
        write!(text, "\n{row:4}:").unwrap();
        for cpu in 0..CPUS {
            let count = if (row + cpu) % 64 == 0 { row as u64 * 1_000_003 } else { 0 };
            write!(text, " {count:10}").unwrap();
        }
        write!(text, "  IR-PCI-MSIX-0000:5e:00.0 {row}-edge      queue{row}").unwrap();
    }
    let table = Table::parse(&text);
    assert_eq!((table.cpus.len(), table.rows.len(), table.unread.len()), (CPUS, ROWS, 0));
    let wrong = table.rows.iter().enumerate().find(|(number, row)| {
        row.total() != *number as u64 * 1_000_003 * (CPUS as u64 / 64)
            || row.device() != format!("queue{number}")
    });
    assert_eq!(wrong, None);
}
