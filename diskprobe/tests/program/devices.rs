//! Block devices: a loop device, and one in memory.

use std::{fs, os::unix::fs::FileExt};

use crate::{
    fuse::{Faults, FaultyFile},
    places::{Loop, Zram},
    support::{Ran, is_root, number, output_of, run, skip, start, text, wait_until},
};

const SIZE: u64 = 64 << 20;

#[test]
fn an_empty_loop_device_is_written_verified_and_read() {
    let Some(device) = Loop::new(SIZE) else { return };
    let name = device.device.as_str();
    run(&["write", name, "--total", "8MiB"]).fails(2, "--overwrite");
    let ran = run(&["write", name, "--total", "8MiB", "--overwrite", "--verify"]);
    ran.succeeds();
    assert_eq!(ran.records[0]["config"]["target"]["kind"], "block device");
    // The device's own data counts as empty, so a second measurement needs no further flag.
    run(&["write", name, "--total", "8MiB", "--overwrite", "--verifiable"]).succeeds();
    run(&["read", name, "--total", "8MiB", "--verify"]).succeeds();
    let whole = run(&["read", name]);
    assert_eq!(whole.summary()["bytes"], SIZE);
    assert_eq!(fs::metadata(device.image()).unwrap().len(), SIZE);
}

#[test]
fn interrupts_are_those_of_the_disk_under_the_loop_device() {
    let Some(device) = Loop::new(SIZE) else { return };
    let on_file = run(&["write", text(&device.folder.path().join("x")), "--total", "4MiB"]);
    let on_loop = run(&["write", &device.device, "--total", "4MiB", "--overwrite"]);
    assert_eq!(on_file.summary()["interrupts"]["sources"], on_loop.summary()["interrupts"]["sources"]);
}

#[test]
fn a_device_with_a_file_system_is_refused_unless_named_twice() {
    let Some(device) = Loop::new(SIZE) else { return };
    let name = device.device.as_str();
    if output_of("mkfs.ext4", &["-q", "-F", name]).is_none() {
        return skip("mkfs.ext4 is missing");
    }
    run(&["write", name, "--overwrite"]).fails(2, "ext4").fails(2, &format!("--device {name}"));
    run(&["write", name, "--overwrite", "--device", "/dev/loop-other"]).fails(2, "is not what is written to");
    run(&["write", name, "--overwrite", "--device", name, "--total", "1MiB"]).succeeds();
}

#[test]
fn a_mounted_device_is_refused_even_when_named_twice() {
    let Some(mut device) = Loop::new(SIZE) else { return };
    let name = device.device.clone();
    let Some(place) = device.mount() else { return };
    fs::write(place.join("precious"), "precious").unwrap();
    for flags in [&["--overwrite"][..], &["--overwrite", "--device", &name]] {
        run(&[&["write", &name][..], flags].concat()).fails(3, "is mounted on");
    }
    assert_eq!(fs::read(place.join("precious")).unwrap(), b"precious");
}

#[test]
fn swap_and_partitions_and_other_data_are_refused() {
    let Some(device) = Loop::new(SIZE) else { return };
    let name = device.device.as_str();
    let image = fs::OpenOptions::new().write(true).open(device.image()).unwrap();
    let signatures: [(&str, u64, &[u8]); 4] = [
        ("swap", 4086, b"SWAPSPACE2"),
        ("GPT", 512, b"EFI PART"),
        ("LUKS", 0, b"LUKS\xba\xbe"),
        ("data", SIZE - 5000, b"something"),
    ];
    for (found, offset, bytes) in signatures {
        image.write_all_at(bytes, offset).unwrap();
        output_of("blockdev", &["--flushbufs", name]);
        run(&["write", name, "--overwrite"]).fails(2, found);
        image.write_all_at(&vec![0; bytes.len()], offset).unwrap();
    }
    output_of("blockdev", &["--flushbufs", name]);
    run(&["write", name, "--overwrite", "--total", "1MiB"]).succeeds();
}

#[test]
fn a_device_that_someone_else_has_claimed_is_refused() {
    use std::os::unix::fs::OpenOptionsExt;
    let Some(device) = Loop::new(SIZE) else { return };
    let claim = fs::OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(&device.device).unwrap();
    run(&["write", &device.device, "--overwrite"]).fails(3, "in use");
    drop(claim);
    run(&["write", &device.device, "--overwrite", "--total", "1MiB"]).succeeds();
}

#[test]
fn a_read_only_device_is_refused() {
    let Some(device) = Loop::new(SIZE) else { return };
    if output_of("blockdev", &["--setro", &device.device]).is_none() {
        return skip("blockdev is missing");
    }
    let ran = run(&["write", &device.device, "--overwrite"]);
    // The mark would outlive the loop device's file.
    output_of("blockdev", &["--setrw", &device.device]);
    ran.fails(3, "read-only");
}

#[test]
fn a_device_too_small_is_an_error_before_it_is_touched() {
    let Some(device) = Loop::new(1 << 20) else { return };
    run(&["write", &device.device, "--overwrite", "--total", "2MiB"]).fails(2, "fewer than --total");
    run(&["write", &device.device, "--overwrite", "--total", "2MiB", "--span", "1MiB"]).succeeds();
}

#[test]
fn sizes_must_fit_the_logical_block() {
    let Some(device) = Loop::with(SIZE, 4096, 0) else { return };
    let ran = run(&["write", &device.device, "--overwrite", "--block-size", "512B", "--total", "1MiB"]);
    ran.fails(2, "multiples of 4096");
    run(&["write", &device.device, "--overwrite", "--offset", "512B", "--total", "1MiB"]).fails(2, "4096");
    run(&["write", &device.device, "--overwrite", "--block-size", "4KiB", "--total", "1MiB"]).succeeds();
}

#[test]
fn a_device_in_memory_has_no_interrupts_and_says_so() {
    if !is_root() {
        return skip("zram needs root");
    }
    let Some(_zram) = Zram::new("64M") else { return };
    let common = ["--order", "random", "--block-size", "4KiB", "--queue-depth", "32", "--total", "32MiB"];
    let ran = run(&[&["write", Zram::DEVICE, "--overwrite", "--verify"][..], &common].concat());
    ran.succeeds();
    assert!(ran.summary()["interrupts"]["count"].is_null());
    assert!(ran.summary()["interrupts"]["reason"].as_str().unwrap().contains("zram0"));
    assert!(number(ran.summary(), "cost.cpu_per_operation_ns") > 0.0);
    run(&[&["read", Zram::DEVICE][..], &common].concat()).succeeds();
    run(&["read", Zram::DEVICE, "--io-poll"]).fails(3, "poll queues");
    run(&["read", Zram::DEVICE, "--precondition", "1MiB"]).fails(2, "--precondition-in");
    run(&["write", Zram::DEVICE, "--overwrite", "--precondition", "80MiB", "--total", "1MiB"]).succeeds();
}

/// What a run's ring was granted.
fn granted(ran: &Ran) -> String {
    ran.summary()["ring"]["granted"].to_string()
}

#[test]
fn the_kernels_threads_stay_on_the_workers_cpu_where_it_needs_them() {
    let Some(_zram) = Zram::new("64M") else { return };
    let arguments = ["read", Zram::DEVICE, "--block-size", "4KiB", "--queue-depth", "32"];
    let child = start(&[&arguments[..], &["--cpus", "0", "--duration", "2s", "--span", "64MiB"]].concat());
    let tasks = format!("/proc/{}/task", child.id());
    let cpus_of_threads = || {
        let tasks = fs::read_dir(&tasks).into_iter().flatten().flatten();
        let statuses = tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
        let threads = statuses.filter(|status| status.starts_with("Name:\tiou-wrk"));
        let list = |status: String| {
            status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:\t").map(str::to_owned))
        };
        threads.filter_map(list).collect::<Vec<_>>()
    };
    wait_until("a thread of the kernel works", || !cpus_of_threads().is_empty());
    let found = cpus_of_threads();
    let ran = Ran::of(&child.wait_with_output().unwrap());
    ran.succeeds();
    for name in ["ASYNC", "IOWQ_AFF", "IOWQ_MAX_WORKERS"] {
        assert!(granted(&ran).contains(name), "{name} in {}", granted(&ran));
    }
    assert!(found.iter().all(|cpus| cpus == "0"), "{found:?}");
    assert!(found.len() <= 1, "{found:?}");
}

#[test]
fn only_block_devices_that_block_are_handed_to_a_thread_of_the_kernel() {
    let Some(device) = Loop::new(SIZE) else { return };
    assert!(!granted(&run(&["read", &device.device, "--total", "1MiB"])).contains("ASYNC"));
    let Some(file) = FaultyFile::new(1 << 20, Faults::default()) else { return };
    let ran = run(&["read", &file.path()]);
    ran.succeeds();
    // Each operation there keeps a thread until it has ended: one thread would be a depth of 1.
    assert!(granted(&ran).contains("IOWQ_AFF") && !granted(&ran).contains("ASYNC"), "{}", granted(&ran));
}
