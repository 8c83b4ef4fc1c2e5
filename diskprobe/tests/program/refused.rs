//! What the machine refuses is told with its name and what to try, before anything was touched.
#![allow(unsafe_code)] // Limits and a filter of system calls are set in the child between fork and exec.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    places::{Mounted, pretend},
    support::{Ran, diskprobe, folder, interrupt, is_root, output_of, run, skip, text},
};

const SYSCTL: &str = "/proc/sys/kernel/io_uring_disabled";

/// Lets io_uring_setup(2) fail with EPERM in a child, as the sysctl does, and nothing else.
fn without_io_uring(command: &mut Command) -> &mut Command {
    refusing(command, libc::SYS_io_uring_setup, libc::EPERM)
}

/// Lets one system call fail in a child, and nothing else.
fn refusing(command: &mut Command, call: libc::c_long, errno: i32) -> &mut Command {
    // Load the call's number; for that one give the error, else allow (seccomp(2)).
    let filter =
        |code: u32, jump_if_not, k| libc::sock_filter { code: code as u16, jt: 0, jf: jump_if_not, k };
    let mut program = [
        filter(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, call as u32),
        filter(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        filter(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    // SAFETY: both calls are async-signal-safe, the program lives in the closure, and nothing else runs in
    // the child before exec.
    unsafe {
        command.pre_exec(move || {
            let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
            let set = libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0;
            if set { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        })
    }
}

#[test]
fn disabled_io_uring_is_named_with_its_sysctl() {
    let folder = folder();
    // For this test's own eyes: the real switch would turn io_uring off for everybody on the machine.
    if !Path::new(SYSCTL).exists() || !pretend(folder.path(), SYSCTL, "2\n") {
        return skip(
            "this kernel has no sysctl kernel.io_uring_disabled, or it can't be stood in for without root",
        );
    }
    let path = folder.path().join("x");
    let arguments = ["write", text(&path), "--total", "1MiB", "--json"];
    let ran = Ran::of(&without_io_uring(&mut diskprobe(&arguments)).output().unwrap());
    ran.fails(3, "the sysctl kernel.io_uring_disabled is 2").fails(3, "--engine sync");
    assert!(!path.exists());
    let other_engine = [&arguments[..], &["--engine", "sync"]].concat();
    Ran::of(&without_io_uring(&mut diskprobe(&other_engine)).output().unwrap()).succeeds();
}

#[test]
fn forbidden_io_uring_is_not_blamed_on_the_sysctl() {
    if fs::read_to_string(SYSCTL).is_ok_and(|level| level.trim() != "0") {
        return skip("this machine has no io_uring: the sysctl forbids it");
    }
    let folder = folder();
    let path = folder.path().join("x");
    let mut command = diskprobe(&["write", text(&path), "--total", "1MiB", "--json"]);
    Ran::of(&without_io_uring(&mut command).output().unwrap())
        .fails(3, "by a filter of system calls (seccomp)");
    assert!(!path.exists());
}

#[test]
fn a_filter_that_denies_that_io_uring_exists_is_named() {
    let folder = folder();
    let path = folder.path().join("x");
    let mut command = diskprobe(&["write", text(&path), "--total", "1MiB", "--json"]);
    let ran = Ran::of(&refusing(&mut command, libc::SYS_io_uring_setup, libc::ENOSYS).output().unwrap());
    ran.fails(3, "seccomp) of a container or sandbox hides it").fails(3, "--engine sync");
}

/// The kernel takes no operation: the run has to end all the same, with what was refused.
#[test]
fn operations_that_the_kernel_never_takes_end_with_the_run() {
    let folder = folder();
    let path = folder.path().join("x");
    fs::write(&path, vec![1; 1 << 20]).unwrap();
    for (errno, operation) in [(libc::EAGAIN, "read"), (libc::EBUSY, "read"), (libc::EAGAIN, "write")] {
        let over = ["--overwrite", "--span", "1MiB"];
        let rest = if operation == "write" { &over[..] } else { &over[1..] };
        for duration in ["200ms", "1h"] {
            let arguments = [&[operation, text(&path), "--json", "--duration", duration][..], rest].concat();
            let mut command = diskprobe(&arguments);
            refusing(&mut command, libc::SYS_io_uring_enter, errno)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let child = command.spawn().unwrap();
            let ran = if duration == "1h" {
                std::thread::sleep(Duration::from_millis(300));
                interrupt(child)
            } else {
                Ran::of(&child.wait_with_output().unwrap())
            };
            ran.fails(1, "io_uring took no operation until the end").fails(1, "at offset 0, after 0 bytes");
            assert_eq!(ran.summary()["operations"], 0);
        }
    }
    assert_eq!(fs::read(&path).unwrap(), vec![1; 1 << 20], "what was refused does not start later");
}

#[test]
fn interrupts_that_are_masked_are_unknown_and_not_none() {
    let folder = folder();
    let path = folder.path().join("x");
    let arguments = ["write", text(&path), "--total", "1MiB"];
    let count = |ran: &Ran| ran.succeeds().summary()["interrupts"].clone();
    if !count(&run(&arguments))["count"].is_number() {
        return skip("the disk of this file shows no interrupts here anyway");
    }
    if !pretend(folder.path(), "/proc/interrupts", "") {
        return;
    }
    let masked = count(&run(&arguments));
    assert!(masked["count"].is_null(), "{masked}");
    assert!(masked["reason"].as_str().unwrap().contains("/proc/interrupts has no rows"), "{masked}");
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
    let folder = folder();
    // A file system in memory that has no O_DIRECT.
    let Some(mounted) = Mounted::new(folder.path(), "none", "ramfs", "") else { return };
    let path = mounted.place.join("x");
    let refused = run(&["write", text(&path), "--total", "1MiB"]);
    refused.fails(3, "refuses O_DIRECT").fails(3, "--buffered");
    assert!(!path.exists(), "nothing is left of the attempt");
    let buffered = run(&["write", text(&path), "--total", "1MiB", "--buffered"]);
    buffered.succeeds();
    assert!(buffered.summary()["interrupts"]["reason"].as_str().unwrap().contains("ramfs"));
}

#[test]
fn a_read_only_file_system_is_named() {
    let folder = folder();
    let Some(mounted) = Mounted::new(folder.path(), "none", "tmpfs", "ro") else { return };
    let ran = run(&["write", text(&mounted.place.join("x")), "--total", "1MiB"]);
    assert!(ran.code == 1 || ran.code == 3, "{}", ran.errors);
    assert!(ran.errors.contains("Read-only file system"), "{}", ran.errors);
}

#[test]
fn a_folder_without_permission_is_an_error() {
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
