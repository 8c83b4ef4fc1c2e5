//! What goes wrong must be told, with the place and with nothing counted that did not happen.
#![allow(unsafe_code)] // Limits are set in the child between fork and exec.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::support::{Loop, Ran, diskprobe, folder, is_root, number, output_of, run, skip, text};

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

/// The program under a limit of file size, with the signal ignored that would else end it: the kernel
/// then cuts one write short and refuses the next.
fn limited(bytes: u64, arguments: &[&str]) -> Ran {
    let mut command = diskprobe(arguments);
    // SAFETY: both calls are async-signal-safe, and nothing else runs in the child before exec.
    unsafe {
        command.pre_exec(move || {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
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
    let arguments =
        ["read", text(&path), "--duration", "30s", "--block-size", "4KiB", "--rate", "2000/s", "--json"];
    let child = diskprobe(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 20).unwrap();
    let ran = Ran::of(&child.wait_with_output().unwrap());
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
            "device mapper's error target is missing; see a_device_that_loses_its_end_names_the_offset",
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
    let arguments = ["read", &device.device, "--duration", "30s", "--rate", "2000/s", "--json"];
    let child = diskprobe(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    // A detached loop device stays until its last user leaves, so its file is taken away as well.
    fs::OpenOptions::new().write(true).open(device.image()).unwrap().set_len(0).unwrap();
    let ran = Ran::of(&child.wait_with_output().unwrap());
    assert_eq!(ran.code, 1, "{}", ran.errors);
    assert!(ran.errors.contains("at offset"), "{}", ran.errors);
    assert!(number(ran.summary(), "operations") > 0.0);
}

/// Held by tests that run the program as another user: one of them forbids io_uring to all of those.
static UNPRIVILEGED: Mutex<()> = Mutex::new(());

#[test]
fn disabled_io_uring_is_named_with_its_sysctl() {
    const SYSCTL: &str = "/proc/sys/kernel/io_uring_disabled";
    let _turn = UNPRIVILEGED.lock().unwrap_or_else(PoisonError::into_inner);
    let before = fs::read_to_string(SYSCTL).unwrap_or_default();
    // Level 1 spares privileged processes and so the other tests that run at the same time.
    if !is_root() || fs::write(SYSCTL, "1").is_err() {
        return skip("the sysctl can't be set here");
    }
    let folder = folder();
    let open = Command::new("chmod").arg("777").arg(folder.path()).status();
    let program = copied(folder.path());
    let mut command = Command::new(&program);
    command.args(["write", text(&folder.path().join("x")), "--total", "1MiB"]).uid(65_534).gid(65_534);
    let output = command.output();
    fs::write(SYSCTL, before.trim()).unwrap();
    assert!(open.is_ok_and(|status| status.success()));
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("Permission denied") {
        return skip("another user can't reach the build folder");
    }
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("kernel.io_uring_disabled"), "{errors}");
    assert!(!folder.path().join("x").exists());
}

/// The program where every user can run it.
fn copied(folder: &Path) -> std::path::PathBuf {
    let copy = folder.join("program");
    fs::copy(env!("CARGO_BIN_EXE_diskprobe"), &copy).unwrap();
    copy
}

#[test]
fn too_little_locked_memory_is_named() {
    if !is_root() {
        return skip("another user is needed");
    }
    let _turn = UNPRIVILEGED.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = folder();
    output_of("chmod", &["777", text(folder.path())]);
    let mut command = Command::new(copied(folder.path()));
    command.args(["write", text(&folder.path().join("x")), "--total", "64MiB", "--block-size", "1MiB"]);
    // SAFETY: setrlimit is async-signal-safe, and nothing else runs in the child before exec.
    unsafe {
        command.uid(65_534).gid(65_534).pre_exec(|| {
            let limit = libc::rlimit { rlim_cur: 1 << 20, rlim_max: 1 << 20 };
            libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit);
            Ok(())
        });
    }
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("Permission denied") {
        return skip("another user can't reach the build folder");
    }
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("locked memory"), "{errors}");
    assert!(!folder.path().join("x").exists());
}

#[test]
fn a_file_system_without_o_direct_is_named() {
    let path = Path::new("/proc/self/status");
    run(&["read", text(path)]).fails(2, "no data");
    let Some(device) = Loop::new(1 << 20) else { return };
    let place = device.folder.path().join("mount");
    fs::create_dir(&place).unwrap();
    // A file system in memory that has no O_DIRECT.
    if output_of("mount", &["-t", "ramfs", "none", text(&place)]).is_none() {
        return skip("ramfs can't be mounted");
    }
    let path = place.join("x");
    let refused = run(&["write", text(&path), "--total", "1MiB"]);
    let left = path.exists();
    let buffered = run(&["write", text(&path), "--total", "1MiB", "--buffered"]);
    output_of("umount", &[text(&place)]);
    refused.fails(3, "refuses O_DIRECT").fails(3, "--buffered");
    assert!(!left, "nothing is left of the attempt");
    buffered.succeeds();
    assert!(buffered.summary()["interrupts"]["reason"].as_str().unwrap().contains("ramfs"));
}

#[test]
fn a_folder_without_permission_is_an_error() {
    let _turn = UNPRIVILEGED.lock().unwrap_or_else(PoisonError::into_inner);
    if !is_root() {
        return skip("another user is needed");
    }
    let folder = folder();
    let program = folder.path().join("program");
    fs::copy(env!("CARGO_BIN_EXE_diskprobe"), &program).unwrap();
    let inner = folder.path().join("closed");
    fs::create_dir(&inner).unwrap();
    output_of("chmod", &["755", text(folder.path())]);
    output_of("chmod", &["755", text(&inner)]);
    let output =
        Command::new(&program).args(["write", text(&inner.join("x"))]).uid(65_534).gid(65_534).output();
    let Ok(output) = output else { return skip("another user can't reach the build folder") };
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Permission denied"));
}
