//! Faults at a place that the test chooses, through a FUSE server that also counts what it confirmed: the
//! summary must tell the same bytes.

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use crate::{
    fuse::{Faults, FaultyFile},
    places::Loop,
    support::{Ran, folder, number, run, start, wait_until},
};

const SIZE: u64 = 8 << 20;
const ENGINES: [&str; 2] = ["io_uring", "sync"];

#[track_caller]
fn bytes_are(ran: &Ran, confirmed: &AtomicU64) {
    assert_eq!(number(ran.summary(), "bytes"), confirmed.load(SeqCst) as f64, "{}", ran.errors);
    assert!(ran.errors.is_empty() || ran.errors.contains(&format!("after {} bytes", ran.summary()["bytes"])));
}

#[test]
fn an_error_at_an_offset_is_told_with_it_and_only_confirmed_bytes_count() {
    for (errno, text) in [(libc::EIO, "Input/output error"), (libc::ENOSPC, "No space left")] {
        for engine in ENGINES {
            let faults = Faults { fail: Some((3_000_000, errno)), ..Faults::default() };
            let Some(file) = FaultyFile::new(SIZE, faults) else { return };
            let whole = 3_000_000 / 131_072 * 131_072;
            let wrote = run(&["write", &file.path(), "--overwrite", "--total", "8MiB", "--engine", engine]);
            wrote.fails(1, text).fails(1, &format!("at offset {whole}"));
            bytes_are(&wrote, &file.told.written);
            assert_eq!(number(wrote.summary(), "operations") * 131_072.0, number(wrote.summary(), "bytes"));
            let read = run(&["read", &file.path(), "--engine", engine]);
            read.fails(1, text).fails(1, &format!("at offset {whole}"));
            bytes_are(&read, &file.told.read);
        }
    }
}

#[test]
fn short_transfers_are_continued_where_they_ended() {
    for engine in ENGINES {
        let faults = Faults { longest: Some(20_480), ..Faults::default() };
        let Some(file) = FaultyFile::new(SIZE, faults) else { return };
        let path = file.path();
        let wrote =
            run(&["write", &path, "--overwrite", "--total", "8MiB", "--verifiable", "--engine", engine]);
        wrote.succeeds();
        bytes_are(&wrote, &file.told.written);
        assert_eq!(wrote.summary()["operations"], 64);
        // 131 072 bytes are six pieces of 20 480 and a rest; the page cache and io_uring's own thread go on
        // with some of them before the tool has to.
        let times = number(wrote.summary(), "short_transfers");
        assert!(times <= 64.0 * 6.0 && (times > 0.0 || engine != "sync"), "{times}");
        let read = run(&["read", &path, "--verify", "--engine", engine]);
        read.succeeds();
        assert_eq!(read.summary()["verification"]["wrong_sectors"], 0);
    }
}

#[test]
fn a_short_transfer_and_then_an_error_counts_what_came_before_it() {
    let faults = Faults { longest: Some(65_536), fail: Some((1_100_000, libc::EIO)), ..Faults::default() };
    let Some(file) = FaultyFile::new(SIZE, faults) else { return };
    let ran = run(&["write", &file.path(), "--overwrite", "--total", "8MiB", "--queue-depth", "1"]);
    // The block at 1 048 576 has its first half behind it nowhere: the error hits the first half.
    ran.fails(1, "at offset 1048576");
    bytes_are(&ran, &file.told.written);
    let faults = Faults { longest: Some(65_536), fail: Some((1_120_000, libc::EIO)), ..Faults::default() };
    let Some(file) = FaultyFile::new(SIZE, faults) else { return };
    let ran = run(&["write", &file.path(), "--overwrite", "--total", "8MiB", "--queue-depth", "1"]);
    ran.fails(1, &format!("at offset {}", 1_048_576 + 65_536));
    bytes_are(&ran, &file.told.written);
    assert_eq!(ran.summary()["bytes"], 1_048_576 + 65_536);
    assert_eq!(ran.summary()["operations"], 8, "half an operation is none");
}

#[test]
fn what_shrinks_meanwhile_ends_where_it_ends_now() {
    for engine in ENGINES {
        let faults = Faults { transfer: Duration::from_millis(2), ..Faults::default() };
        let Some(file) = FaultyFile::new(SIZE, faults) else { return };
        let child = start(&["read", &file.path(), "--duration", "60s", "--engine", engine]);
        wait_until("something is read", || file.told.read.load(SeqCst) > 0);
        file.told.size.store(1 << 20, SeqCst);
        let ran = Ran::of(&child.wait_with_output().unwrap());
        ran.fails(1, "the target ends there");
        bytes_are(&ran, &file.told.read);
    }
}

#[test]
fn a_file_whose_connection_breaks_is_an_error_with_what_was_done() {
    for engine in ENGINES {
        let faults = Faults { transfer: Duration::from_millis(2), ..Faults::default() };
        let Some(file) = FaultyFile::new(SIZE, faults) else { return };
        let child = start(&["write", &file.path(), "--overwrite", "--duration", "60s", "--engine", engine]);
        wait_until("something is written", || file.told.written.load(SeqCst) > 0);
        file.pull_out();
        let ran = Ran::of(&child.wait_with_output().unwrap());
        ran.fails(1, "at offset");
        let bytes = number(ran.summary(), "bytes");
        // What the server was just confirming may have been lost with the connection.
        let confirmed = file.told.written.load(SeqCst) as f64;
        assert!(
            bytes > 0.0 && bytes <= confirmed && confirmed <= bytes + 131_072.0 * 8.0,
            "{bytes} of {confirmed}"
        );
    }
}

#[test]
fn a_block_device_that_goes_away_under_it_is_an_error_with_what_was_done() {
    for engine in ENGINES {
        let faults = Faults { transfer: Duration::from_millis(1), ..Faults::default() };
        let Some(file) = FaultyFile::new(SIZE, faults) else { return };
        let Some(device) = Loop::on(folder(), file.path().as_ref(), 512, 0) else { return };
        let common = ["--overwrite", "--duration", "60s", "--engine", engine, "--device", &device.device];
        let child = start(&[&["write", &device.device][..], &common].concat());
        wait_until("something is written", || file.told.written.load(SeqCst) > 0);
        file.pull_out();
        let ran = Ran::of(&child.wait_with_output().unwrap());
        ran.fails(1, "Input/output error").fails(1, "at offset");
        assert!(number(ran.summary(), "bytes") <= file.told.written.load(SeqCst) as f64);
        assert!(fs::metadata(&device.device).is_ok());
    }
}
