//! What differs from file system to file system: who holds a file, what O_DIRECT requires, and what has no data.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FallocateFlags, fallocate};

use crate::{
    places::Loop,
    support::{number, run, skip, text},
};

const KINDS: [&str; 3] = ["ext4", "xfs", "btrfs"];
const MIB: u64 = 1 << 20;

/// A loop device with a file system of that type.
fn mounted(kind: &str) -> Option<(Loop, PathBuf)> {
    let mut device = Loop::new(400 * MIB)?;
    let place = device.mount_as(kind)?;
    Some((device, place))
}

/// A file of 1 MiB of data, 1 MiB of nothing, 1 MiB that is reserved only, and 1 MiB of data.
fn file_with_holes(path: &Path) -> File {
    let file = File::options().read(true).write(true).create_new(true).open(path).unwrap();
    for offset in [0, 3 * MIB] {
        file.write_all_at(&vec![1; MIB as usize], offset).unwrap();
    }
    fallocate(&file, FallocateFlags::empty(), 2 * MIB, MIB).unwrap();
    file
}

#[test]
fn the_disk_and_the_alignment_are_found_on_every_file_system() {
    for kind in KINDS {
        let Some((device, place)) = mounted(kind) else { continue };
        let path = place.join("x");
        let disk = device.device.strip_prefix("/dev/").unwrap();
        let ran = run(&["write", text(&path), "--total", "1MiB", "--keep"]);
        ran.succeeds();
        for facts in [
            &ran.records[0]["config"]["target"],
            &run(&["read", text(&path), "--dry-run"]).records[0]["config"]["target"],
        ] {
            assert_eq!(facts["file_system"], kind);
            assert_eq!(facts["disk"], disk, "{kind}");
            assert_eq!(facts["logical_block_bytes"], 512, "{kind}");
        }
        let on_loop = run(&["read", &device.device, "--total", "1MiB"]);
        assert_eq!(ran.summary()["interrupts"]["sources"], on_loop.summary()["interrupts"]["sources"]);
        assert_eq!(
            ran.summary()["interrupts"]["reason"],
            on_loop.summary()["interrupts"]["reason"],
            "that of what lies under the loop device's file, not that no mount was found"
        );
    }
}

#[test]
fn operations_that_would_go_through_the_page_cache_are_refused() {
    for kind in KINDS {
        let Some((_device, place)) = mounted(kind) else { continue };
        let path = place.join("x");
        run(&["write", text(&path), "--total", "1MiB", "--keep"]).succeeds();
        let small = ["--block-size", "512B", "--total", "64KiB"];
        let ran = run(&[&["read", text(&path)][..], &small].concat());
        let facts = &run(&["read", text(&path), "--dry-run"]).records[0]["config"]["target"];
        if kind == "btrfs" {
            ran.fails(2, "multiples of 4096");
            assert_eq!(facts["alignment_source"], "file_system_block");
            let new = run(&[&["write", text(&place.join("new"))][..], &small].concat());
            new.fails(2, "multiples of 4096");
            assert!(!place.join("new").exists());
            run(&[&["read", text(&path), "--buffered"][..], &small].concat()).succeeds();
        } else {
            ran.succeeds();
            assert_eq!(
                (&facts["alignment_source"], &facts["alignment_bytes"]),
                (&"statx".into(), &512.into())
            );
        }
    }
}

#[test]
fn a_file_that_only_pretends_to_heed_o_direct_is_refused() {
    let Some((_device, place)) = mounted("ext4") else { return };
    let path = place.join("x");
    fs::write(&path, vec![1; 1 << 20]).unwrap();
    let journaled = std::process::Command::new("chattr").args(["+j", text(&path)]).status();
    if !journaled.is_ok_and(|status| status.success()) {
        return skip("chattr can't have the data journaled");
    }
    run(&["read", text(&path)]).fails(3, "goes through the page cache");
    run(&["read", text(&path), "--buffered"]).succeeds();
}

#[test]
fn holes_and_reserved_space_that_are_read_make_the_result_untrusted() {
    for kind in KINDS {
        let Some((_device, place)) = mounted(kind) else { continue };
        let path = place.join("x");
        drop(file_with_holes(&path));
        let ran = run(&["read", text(&path)]);
        ran.fails(4, "of the 4194304 bytes that a run reads");
        ran.fails(4, "1048576 are holes and 1048576 are reserved").fails(4, "--allow-holes");
        assert_eq!(number(ran.summary(), "holes_bytes"), (2 * MIB) as f64, "{kind}");
        let allowed = run(&["read", text(&path), "--allow-holes"]);
        allowed.succeeds();
        assert!(allowed.summary()["notes"].to_string().contains("1048576 are holes"), "{kind}");
        for part in [&["--total", "1MiB"][..], &["--offset", "3MiB"]] {
            let ran = run(&[&["read", text(&path)][..], part].concat());
            ran.succeeds();
            assert_eq!(number(ran.summary(), "holes_bytes"), 0.0, "{kind} {part:?}");
        }
        run(&["read", text(&path), "--total", "1MiB", "--order", "random", "--span", "4MiB"])
            .fails(4, "holes");
    }
}

#[test]
fn holes_of_the_file_under_a_loop_device_are_told() {
    let Some(device) = Loop::new(16 * MIB) else { return };
    run(&["write", &device.device, "--overwrite", "--total", "1MiB", "--sync", "fsync"]).succeeds();
    run(&["read", &device.device, "--total", "1MiB"]).succeeds();
    run(&["read", &device.device, "--total", "2MiB"]).fails(4, "1048576 are holes");
}

#[test]
fn space_is_checked_for_the_region_that_is_written() {
    for kind in ["ext4", "xfs"] {
        let Some((_device, place)) = mounted(kind) else { continue };
        let path = place.join("x");
        let half = number(&serde_json::json!({ "free": free(&place) / MIB / 2 }), "free") as u64;
        fallocate(File::create(&path).unwrap(), FallocateFlags::empty(), 0, half * MIB).unwrap();
        let region = |offset: u64| {
            let (offset, total) = (format!("{offset}MiB"), format!("{}MiB", half + 100));
            run(&[
                "write",
                text(&path),
                "--overwrite",
                "--offset",
                &offset,
                "--span",
                &total,
                "--total",
                "1MiB",
            ])
        };
        // As many bytes as the file has already, and more than there is space for behind them.
        region(half).fails(1, "No space left").fails(1, "free (--layout extend");
        assert!(free(&place) > half * MIB / 2, "{kind}: nothing was reserved");
        // More than there is space for, but half of it is there.
        region(0).succeeds();
    }
}

fn free(place: &Path) -> u64 {
    let system = rustix::fs::statvfs(place).unwrap();
    system.f_bavail * system.f_frsize
}

#[test]
fn a_file_is_filled_once_with_a_warm_up_too() {
    let Some((device, place)) = mounted("ext4") else { return };
    let statistics = format!("/sys/block/{}/stat", device.device.strip_prefix("/dev/").unwrap());
    let written = || {
        rustix::fs::sync();
        let line = fs::read_to_string(&statistics).unwrap();
        line.split_whitespace().nth(6).unwrap().parse::<u64>().unwrap() * 512
    };
    let small =
        ["--span", "64MiB", "--total", "4KiB", "--block-size", "4KiB", "--warmup", "50ms", "--rate", "100/s"];
    for (name, arguments) in
        [("filled", ["write", "--layout", "fill"]), ("created", ["read", "--create", "--keep"])]
    {
        let before = written();
        let path = place.join(name);
        run(&[&[arguments[0], text(&path)][..], &arguments[1..], &small].concat()).succeeds();
        let bytes = written() - before;
        assert!((64 * MIB..100 * MIB).contains(&bytes), "{name}: {bytes} bytes");
    }
}
