//! Ctrl-C in each phase ends it soon, with a summary of what was done and nothing left behind.

use std::{fs, sync::atomic::Ordering::SeqCst, time::Duration};

use crate::{
    fuse::{Faults, FaultyFile},
    places::Loop,
    support::{Running, folder, interrupt, number, start, text, wait_until},
};

#[test]
fn an_interrupt_while_measuring_settling_or_warming_up_ends_it_with_a_summary() {
    let folder = folder();
    let phases: [(&[&str], &str, u64); 3] = [
        (&["--duration", "60s", "--span", "1MiB", "--interval", "50ms"], "sample", 1),
        (&["--repeat", "2", "--settle", "60s", "--total", "1MiB"], "sample", 1),
        (&["--warmup", "60s", "--total", "1MiB"], "ready", 0),
    ];
    for (phase, record, runs) in phases {
        let path = folder.path().join("x");
        let mut running = Running::start(&[&["write", text(&path)][..], phase].concat());
        running.wait_for(|seen| seen["record"] == record);
        assert!(path.exists());
        let ran = running.interrupt();
        ran.succeeds();
        assert_eq!(ran.summary()["runs"], runs, "{phase:?}");
        assert!(ran.summary()["notes"].to_string().contains("stopped before its end"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{phase:?}");
    }
}

#[test]
fn an_interrupt_while_unrelated_data_is_written_ends_it_with_a_summary_of_nothing() {
    let Some(device) = Loop::new(64 << 20) else { return };
    let arguments = ["--overwrite", "--precondition", "1TiB", "--total", "1MiB"];
    let mut running = Running::start(&[&["write", &device.device][..], &arguments].concat());
    running.wait_for(|seen| seen["record"] == "ready");
    let ran = running.interrupt();
    ran.succeeds();
    assert_eq!((&ran.summary()["runs"], &ran.summary()["bytes"]), (&0.into(), &0.into()));
}

#[test]
fn an_interrupt_of_a_slow_file_counts_what_was_confirmed() {
    for engine in ["io_uring", "sync"] {
        let faults = Faults { transfer: Duration::from_millis(20), ..Faults::default() };
        let Some(file) = FaultyFile::new(8 << 20, faults) else { return };
        let child = start(&["write", &file.path(), "--overwrite", "--duration", "60s", "--engine", engine]);
        wait_until("some blocks are written", || file.told.written.load(SeqCst) > 500_000);
        let ran = interrupt(child);
        ran.succeeds();
        assert_eq!(number(ran.summary(), "bytes"), file.told.written.load(SeqCst) as f64, "{engine}");
    }
}

#[test]
fn an_interrupt_in_the_final_sync_ends_it_when_the_data_is_durable() {
    let faults = Faults { sync: Duration::from_millis(1500), ..Faults::default() };
    let Some(file) = FaultyFile::new(8 << 20, faults) else { return };
    let child =
        start(&["write", &file.path(), "--overwrite", "--total", "1MiB", "--sync", "fsync", "--repeat", "9"]);
    wait_until("the sync has begun", || file.told.syncs.load(SeqCst) > 0);
    let ran = interrupt(child);
    ran.succeeds();
    assert_eq!((&ran.summary()["runs"], &ran.summary()["bytes"]), (&1.into(), &(1 << 20).into()));
    assert!(number(ran.all("sample")[0], "sync_s") >= 1.5);
}

#[test]
fn an_interrupt_while_reading_back_says_how_much_was_compared() {
    let faults = Faults { transfer: Duration::from_millis(10), ..Faults::default() };
    let Some(file) = FaultyFile::new(8 << 20, faults) else { return };
    let common = ["--overwrite", "--total", "8MiB", "--block-size", "64KiB", "--verify"];
    let child = start(&[&["write", &file.path()][..], &common].concat());
    wait_until("something is read back", || file.told.read.load(SeqCst) > 0);
    let ran = interrupt(child);
    ran.succeeds();
    assert_eq!(ran.summary()["bytes"], 8 << 20);
    let compared = number(ran.summary(), "verification.bytes");
    assert_eq!(compared, file.told.read.load(SeqCst) as f64);
    assert!(compared < f64::from(8 << 20), "{compared} bytes were compared");
}
