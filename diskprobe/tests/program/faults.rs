//! What goes wrong must be told, with the place and with nothing counted that did not happen.
#![allow(unsafe_code)] // Limits are set in the child between fork and exec.

use std::{fs, os::unix::process::CommandExt};

use crate::{
    places::Loop,
    support::{Ran, Running, diskprobe, folder, number, output_of, run, skip, start, text, wait_until},
};

#[test]
fn a_full_file_system_is_told_before_anything_is_written() {
    let Some(mut device) = Loop::new(32 << 20) else { return };
    let Some(place) = device.mount() else { return };
    let path = place.join("x");
    run(&["write", text(&path), "--total", "64MiB"]).fails(1, "No space left").fails(1, "reserve");
    assert!(!path.exists());
}

#[test]
fn a_file_system_that_fills_up_gives_the_offset_and_what_was_written() {
    for engine in ["io_uring", "sync"] {
        let Some(mut device) = Loop::new(32 << 20) else { return };
        let Some(place) = device.mount() else { return };
        fs::write(place.join("other"), "kept").unwrap();
        let path = place.join("x");
        let ran = run(&["write", text(&path), "--total", "64MiB", "--layout", "extend", "--engine", engine]);
        ran.fails(1, "No space left").fails(1, "at offset");
        let done = number(ran.summary(), "bytes");
        assert!((8e6..33e6).contains(&done), "{done} bytes");
        assert!(ran.errors.contains(&format!("after {done} bytes")), "{}", ran.errors);
        assert!(!path.exists());
        assert_eq!(fs::read(place.join("other")).unwrap(), b"kept");
    }
}

#[test]
fn a_file_that_was_there_gets_its_size_back_when_space_runs_out() {
    let Some(mut device) = Loop::new(32 << 20) else { return };
    let Some(place) = device.mount() else { return };
    let path = place.join("x");
    fs::write(&path, vec![1; 10_000]).unwrap();
    run(&["write", text(&path), "--overwrite", "--total", "64MiB"]).fails(1, "No space left");
    assert_eq!(fs::metadata(&path).unwrap().len(), 10_000);
}

#[test]
fn a_file_system_is_not_filled_up_for_the_holes_of_a_large_file() {
    use std::os::unix::fs::MetadataExt;
    let Some(mut device) = Loop::new(32 << 20) else { return };
    let Some(place) = device.mount() else { return };
    let path = place.join("x");
    fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
    let random = ["--overwrite", "--order", "random", "--span", "1GiB", "--total", "1MiB"];
    let arguments = [&["write", text(&path)][..], &random].concat();
    run(&arguments).fails(1, "No space left").fails(1, "--layout extend");
    assert_eq!(fs::metadata(&path).unwrap().blocks(), 0);
    run(&[&arguments[..], &["--layout", "extend"]].concat()).succeeds();
    assert!(fs::metadata(&path).unwrap().blocks() * 512 < 2 << 20);
}

#[test]
fn unrelated_data_without_space_for_it_is_refused_before_it_fills_the_file_system() {
    let Some(mut device) = Loop::new(32 << 20) else { return };
    let Some(place) = device.mount() else { return };
    let path = place.join("x");
    let arguments = ["write", text(&path), "--total", "1MiB", "--precondition", "1TiB"];
    let ran = run(&arguments);
    ran.fails(1, "--precondition writes").fails(1, "--precondition-in");
    assert!(ran.records.iter().all(|record| record["record"] == "error"), "nothing was begun");
    assert!(!path.exists());
}

#[test]
fn runs_before_one_that_could_not_be_prepared_are_summed_up() {
    let Some(mut device) = Loop::new(32 << 20) else { return };
    let Some(place) = device.mount() else { return };
    let path = place.join("x");
    fs::write(&path, []).unwrap();
    let arguments = ["--append", "--total", "7MiB", "--repeat", "9", "--precondition", "14MiB"];
    let ran = run(&[&["write", text(&path)][..], &arguments].concat());
    ran.fails(1, "(unrelated data)").fails(1, "No space left");
    let runs = number(ran.summary(), "runs");
    assert!((1.0..4.0).contains(&runs), "{runs} runs");
    assert_eq!(number(ran.summary(), "bytes"), runs * f64::from(7 << 20));
}

#[test]
fn a_file_that_is_removed_meanwhile_is_measured_to_the_end_with_a_note() {
    let folder = folder();
    let path = folder.path().join("x");
    let rate = ["--span", "4MiB", "--duration", "60s", "--rate", "100/s", "--interval", "50ms"];
    let mut running = Running::start(&[&["write", text(&path)][..], &rate].concat());
    running.wait_for_operations();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "another's").unwrap();
    let ran = running.interrupt();
    ran.succeeds();
    let notes = ran.summary()["notes"].to_string();
    assert!(notes.contains("was removed or replaced meanwhile"), "{notes}");
    assert_eq!(fs::read(&path).unwrap(), b"another's");
}

/// The program under a limit of file size: the kernel cuts one write short, refuses the next, and sends a
/// signal that would end a program which knows nothing of it.
fn limited(bytes: u64, arguments: &[&str]) -> Ran {
    let mut command = diskprobe(arguments);
    // SAFETY: both calls are async-signal-safe, and nothing else runs in the child before exec.
    unsafe {
        command.pre_exec(move || {
            libc::signal(libc::SIGXFSZ, libc::SIG_DFL);
            let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
            libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit);
            Ok(())
        });
    }
    Ran::of(&command.arg("--json").output().unwrap())
}

#[test]
fn short_writes_are_finished_and_counted() {
    let folder = folder();
    let path = folder.path().join("x");
    let limit = 1_000_000 / 4096 * 4096;
    let layout = ["--layout", "extend", "--total", "4MiB", "--queue-depth", "1"];
    let ran = limited(limit, &[&["write", text(&path)][..], &layout].concat());
    ran.fails(1, "File too large").fails(1, &format!("at offset {limit}"));
    assert_eq!(number(ran.summary(), "bytes"), limit as f64);
    assert_eq!(number(ran.summary(), "short_transfers"), 1.0);
    assert_eq!(number(ran.summary(), "operations"), (limit / 131_072) as f64, "the cut one is not done");
}

#[test]
fn a_file_that_shrinks_meanwhile_is_told() {
    let folder = folder();
    let path = folder.path().join("x");
    fs::write(&path, vec![1; 8 << 20]).unwrap();
    let rate = ["--duration", "60s", "--block-size", "4KiB", "--rate", "2000/s", "--interval", "50ms"];
    let mut running = Running::start(&[&["read", text(&path)][..], &rate].concat());
    running.wait_for_operations();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 20).unwrap();
    let ran = running.end();
    ran.fails(1, "the target ends there");
    assert_eq!(number(ran.summary(), "bytes"), number(ran.summary(), "operations") * 4096.0);
}

#[test]
fn an_error_of_the_device_names_its_offset() {
    let Some(device) = Loop::new(64 << 20) else { return };
    let name = format!("diskprobe-{}", std::process::id());
    // 8 MiB that work, 4 MiB that fail, the rest works again.
    let table =
        format!("0 16384 linear {d} 0\n16384 8192 error\n24576 106496 linear {d} 24576\n", d = device.device);
    let file = device.folder.path().join("table");
    fs::write(&file, table).unwrap();
    if output_of("dmsetup", &["create", &name, text(&file)]).is_none() {
        return skip(
            "this kernel has no device mapper with an error target; misbehaving.rs has the same through FUSE",
        );
    }
    let mapped = format!("/dev/mapper/{name}");
    let ran = run(&["write", &mapped, "--overwrite", "--total", "32MiB"]);
    let held = run(&["write", &device.device, "--overwrite", "--device", &device.device]);
    output_of("dmsetup", &["remove", &name]);
    ran.fails(1, "Input/output error").fails(1, "at offset 8388608");
    held.fails(3, "is held by");
}

#[test]
fn a_device_that_loses_its_end_names_the_offset() {
    let Some(device) = Loop::new(64 << 20) else { return };
    // The loop trick: the backing file is cut, so that reads behind its end fail.
    fs::OpenOptions::new().write(true).open(device.image()).unwrap().set_len(8 << 20).unwrap();
    for engine in ["io_uring", "sync"] {
        let ran = run(&["read", &device.device, "--engine", engine]);
        ran.fails(1, "Input/output error").fails(1, "at offset 8388608");
        assert!(number(ran.summary(), "bytes") >= f64::from(8 << 20));
    }
}

#[test]
fn a_device_that_goes_away_is_told() {
    let Some(device) = Loop::new(64 << 20) else { return };
    let rate = ["--duration", "60s", "--rate", "2000/s", "--interval", "50ms"];
    let mut running = Running::start(&[&["read", &device.device][..], &rate].concat());
    running.wait_for_operations();
    // A detached loop device stays until its last user leaves, so its file is taken away as well.
    fs::OpenOptions::new().write(true).open(device.image()).unwrap().set_len(0).unwrap();
    let ran = running.end();
    assert_eq!(ran.code, 1, "{}", ran.errors);
    assert!(ran.errors.contains("at offset"), "{}", ran.errors);
    assert!(number(ran.summary(), "operations") > 0.0);
}

#[test]
fn a_loop_device_whose_file_finds_no_space_is_an_error_of_the_device() {
    let Some(mut outer) = Loop::new(32 << 20) else { return };
    let Some(place) = outer.mount() else { return };
    let image = place.join("image");
    fs::File::create(&image).unwrap().set_len(256 << 20).unwrap();
    let Some(inner) = Loop::on(folder(), &image, 512, 0) else { return };
    let ran = run(&["write", &inner.device, "--overwrite"]);
    assert_eq!(ran.code, 1, "{}", ran.errors);
    assert!(ran.errors.contains("at offset"), "{}", ran.errors);
    let done = number(ran.summary(), "bytes");
    assert!(done > 0.0 && done < 33e6, "{done} bytes, and no more than the file system has");
    assert!(ran.errors.contains(&format!("after {done} bytes")), "{}", ran.errors);
}

#[test]
fn a_loop_device_that_is_detached_meanwhile_serves_its_user_to_the_end() {
    let Some(mut device) = Loop::new(64 << 20) else { return };
    let child = start(&["read", &device.device, "--allow-holes", "--duration", "500ms", "--rate", "100/s"]);
    let (files, name) = (format!("/proc/{}/fd", child.id()), std::path::PathBuf::from(&device.device));
    let has_it_open = || {
        let mut files = fs::read_dir(&files).into_iter().flatten().flatten();
        files.any(|file| fs::read_link(file.path()).is_ok_and(|target| target == name))
    };
    wait_until("the probe has it open", has_it_open);
    device.detach();
    let ran = Ran::of(&child.wait_with_output().unwrap());
    ran.succeeds();
    assert!(number(ran.summary(), "operations") > 0.0);
    let loops = format!("/sys/block/{}/loop", name.file_name().unwrap().to_str().unwrap());
    wait_until("the device goes with its last user", || !std::path::Path::new(&loops).exists());
}
