//! Idle states of both ends, limited for as long as it is measured: where the kernel has /dev/cpu_dma_latency and
//! the users of both ends may.

mod support;

use std::{
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
};

use support::{NETPROBE, Server, eventually, probe, probe_through};

const DEVICE: &str = "/dev/cpu_dma_latency";
/// Longer than any idle state takes: the tests change nothing for others on this machine.
const LIMIT: [&str; 2] = ["--cpu-dma-latency", "1000000"];
/// A user that owns nothing (nobody).
const NOBODY: u32 = 65_534;

/// Whether a limit can be held here; if not, why.
fn can_hold() -> bool {
    let found = fs::File::options().read(true).write(true).open(DEVICE);
    found.map_err(|error| eprintln!("skipped: this kernel gives no {DEVICE}: {error}")).is_ok()
}

/// How often the process has the kernel's file open.
fn holds(pid: u32) -> usize {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let targets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    targets.filter(|target| target == Path::new(DEVICE)).count()
}

#[test]
fn both_ends_hold_the_limit_while_they_measure_and_no_longer() {
    if !can_hold() {
        return;
    }
    let server = Server::start(&["--allow-cpu-dma-latency"]);
    for kind in [&["stream"][..], &["rr"], &["rr", "--transport", "udp"], &["crr"]] {
        let mut client = Command::new(NETPROBE)
            .args([kind[0], &server.name(), "--duration", "1min"])
            .args([&kind[1..], &LIMIT].concat())
            .args(["--json", "--controlled"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        eventually("both ends hold the limit", || (holds(client.id()), holds(server.pid())) == (1, 1));
        drop(client.stdin.take());
        assert!(client.wait().unwrap().success(), "{kind:?}");
        eventually("the server lets go of it", || holds(server.pid()) == 0);
    }
    let told = probe(&[&["rr", &server.name(), "--duration", "1s"][..], &LIMIT].concat());
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert_eq!(told.records[0]["config"]["order"]["cpu_dma_latency_us"], 1_000_000);
    assert!(told.summary()["peer"]["transactions"].as_u64().unwrap() > 0);
}

#[test]
fn a_server_that_was_not_told_to_allow_it_refuses() {
    if !can_hold() {
        return;
    }
    let server = Server::start(&[]);
    let told = probe(&[&["rr", &server.name(), "--duration", "1s"][..], &LIMIT].concat());
    assert_eq!(told.code, 3, "{}", told.stderr);
    assert!(told.stderr.contains("--allow-cpu-dma-latency"), "{}", told.stderr);
    let without = probe(&["rr", &server.name(), "--duration", "1s"]);
    assert_eq!(without.code, 0, "{}", without.stderr);
    assert!(without.records[0]["config"]["order"]["cpu_dma_latency_us"].is_null());
    assert_eq!(server.stop()["refused_order"], 1);
}

#[test]
fn an_end_whose_user_may_not_says_so() {
    let mode = fs::metadata(DEVICE).map(|metadata| (metadata.uid(), metadata.mode() & 0o006));
    if mode.ok() != Some((0, 0)) || !can_hold() {
        eprintln!("skipped: this kernel's {DEVICE} is not there, or open to all");
        return;
    }
    let as_nobody = |words: &[&str]| {
        let mut command = Command::new(NETPROBE);
        command.args(words).uid(NOBODY).gid(NOBODY).stdin(Stdio::null());
        command
    };
    let server = Server::start(&["--allow-cpu-dma-latency"]);
    let name = server.name();
    let words = [&["rr", &name, "--duration", "1s"][..], &LIMIT].concat();
    let refused = match as_nobody(&words).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("skipped: a user that owns nothing can't run {NETPROBE}: {error}");
            return;
        }
    };
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{told}");
    assert!(told.contains(DEVICE) && told.contains("run as root"), "{told}");
    drop(server);

    let address = support::free_address();
    let nobody = NOBODY.to_string();
    let prefix = ["setpriv", "--reuid", &nobody, "--regid", &nobody, "--clear-groups"];
    let server = Server::start_at(address, &prefix, &["--allow-cpu-dma-latency"]);
    let told = probe(&[&["rr", &server.name(), "--duration", "1s"][..], &LIMIT].concat());
    assert_eq!(told.code, 3, "{}", told.stderr);
    assert!(told.stderr.contains("refuses") && told.stderr.contains(DEVICE), "{}", told.stderr);
    assert_eq!(server.stop()["refused_order"], 1, "and it goes on");
}

#[test]
fn a_machine_without_the_file_says_so() {
    let server = Server::start(&["--allow-cpu-dma-latency"]);
    // A place of its own in which /dev is empty.
    let script = "mount -t tmpfs none /dev && exec \"$@\"";
    let prefix = ["unshare", "--mount", "sh", "-c", script, "sh"];
    if !Command::new(prefix[0])
        .args(&prefix[1..])
        .arg("true")
        .output()
        .is_ok_and(|done| done.status.success())
    {
        eprintln!("skipped: another mount namespace can't be entered");
        return;
    }
    let told = probe_through(&prefix, &[&["rr", &server.name(), "--duration", "1s"][..], &LIMIT].concat());
    assert_eq!(told.code, 3, "{}", told.stderr);
    assert!(told.stderr.contains("CONFIG_CPU_IDLE"), "{}", told.stderr);
}

#[test]
fn what_is_no_limit_is_a_bad_argument() {
    for text in ["-1", "2000000001", "off", ""] {
        let told = probe(&["rr", "127.0.0.1:1", &format!("--cpu-dma-latency={text}")]);
        assert_eq!(told.code, 2, "{text}: {}", told.stderr);
        assert!(told.stderr.contains("--cpu-dma-latency"), "{}", told.stderr);
    }
}
