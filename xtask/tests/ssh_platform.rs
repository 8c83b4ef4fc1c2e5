//! The platform `ssh` as a user runs it: machines without a hypervisor.

#[path = "support/sshd.rs"]
mod sshd;
mod support;

use std::{
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use sshd::Server;
use support::binaries;

/// A plan of two probes on machines that are `at`, each with its own terms.
fn plan(folder: &Path, settings: &str, native: &str) -> PathBuf {
    let text = format!(
        r#"
name = "machines"
title = "Machines over SSH"
repetitions = 2
seed = 1
trial_timeout_s = 60
proof_timeout_s = 30
[platform]
kind = "ssh"
control = "native"
outside = "generator"
[platform.settings]
peer = "127.0.0.1"
{settings}
[domains.native]
cpus = "0"
at = {{ address = "127.0.0.1", file = "{}/measured", {native} }}
[domains.generator]
cpus = "0"
at = {{ address = "127.0.0.1" }}
[attachments.native]
measured = "native"
baseline = true
[loads.none]
[probes.disk]
tool = "diskprobe"
device = "disk"
args = ["write", "{{disk}}", "--total", "4MiB", "--overwrite", "--keep", "--cpus", "{{cpu}}"]
metrics = [{{ name = "elapsed", key = "elapsed_s", unit = "s", better = "less" }}]
[probes.net]
tool = "netprobe"
device = "network"
args = ["stream", "{{peer}}:22865", "--direction", "send", "--duration", "300ms", "--cpus", "{{cpu}}"]
metrics = [{{ name = "goodput", key = "goodput_bps", unit = "bits/s", better = "more" }}]
[[probes.net.with]]
domain = "generator"
tool = "netprobe"
args = ["serve", "--listen", "{{peer}}:22865", "--no-token"]
[[matrix]]
probes = ["disk", "net"]
attachments = ["native"]
loads = ["none"]
"#,
        folder.display()
    );
    let path = folder.join("machines.toml");
    fs::write(&path, text).unwrap();
    path
}

/// Every cell completed in every repetition.
fn check(folder: &Path) {
    let summary = fs::read(folder.join("results/latest/summary.json")).unwrap();
    let summary: Value = serde_json::from_slice(&summary).unwrap();
    let cells = summary["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 2);
    assert!(cells.iter().all(|cell| cell["n"] == 2), "{cells:?}");
    assert_eq!(summary["platform"], "machines without a hypervisor, over SSH");
}

/// The user namespaces that a process is seen in, until it ends.
fn user_namespaces(child: &mut Child) -> Vec<PathBuf> {
    let mut seen = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(120);
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it does not end");
        let namespace = fs::read_link(format!("/proc/{}/ns/user", child.id()));
        seen.extend(namespace.ok().filter(|namespace| !seen.contains(namespace)));
        thread::sleep(Duration::from_millis(2));
    }
    seen
}

#[test]
fn an_ordinary_user_stays_in_the_user_namespace_that_ssh_is_configured_in() {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let plan = plan(folder.path(), "", "");
    // An unprivileged user may not be able to read this checkout, so everything it needs comes along.
    let xtask = folder.path().join("xtask");
    fs::copy(env!("CARGO_BIN_EXE_xtask"), &xtask).unwrap();
    let copied =
        Command::new("cp").arg("-r").arg(binaries()).arg(folder.path().join("dist")).status().unwrap();
    assert!(copied.success());
    assert!(Command::new("chmod").args(["-R", "a+rwX"]).arg(folder.path()).status().unwrap().success());
    let own = fs::read_link("/proc/self/ns/user").unwrap();
    let said = folder.path().join("said");
    let mut command = Command::new(&xtask);
    command
        .args(["matrix", "--binaries", "dist", "--plan"])
        .arg(&plan)
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&said).unwrap());
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.uid(65534).gid(65534);
    }
    let mut child = command.spawn().unwrap();
    let seen = user_namespaces(&mut child);
    let said = fs::read_to_string(said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    assert_eq!(seen, [own], "{said}");
    check(folder.path());
}

fn xtask(args: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).args(args).current_dir(folder).output().unwrap()
}

#[test]
fn a_machine_behind_sshd_measures_and_doctor_looks_at_it() {
    let Some(server) = Server::start() else { return };
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let config = format!("ssh_config = {:?}", server.config());
    let plan = plan(folder.path(), &config, "ssh = \"guest\"");
    let plan = plan.to_str().unwrap();
    let doctor = xtask(&["doctor", "--plan", plan], folder.path());
    let said = String::from_utf8_lossy(&doctor.stdout);
    // What a user that is not root lacks is a finding, too.
    assert!(matches!(doctor.status.code(), Some(0 | 3)), "{said}");
    assert!(said.contains("ok  native     Linux") && said.contains("measured file"), "{said}");

    let tools = binaries().to_str().unwrap();
    let matrix = xtask(&["matrix", "--plan", plan, "--binaries", tools], folder.path());
    assert!(matrix.status.success(), "{}", String::from_utf8_lossy(&matrix.stderr));
    check(folder.path());

    drop(server);
    let matrix = xtask(&["matrix", "--plan", plan, "--binaries", tools], folder.path());
    let said = String::from_utf8_lossy(&matrix.stderr);
    assert_eq!(matrix.status.code(), Some(1), "{said}");
    assert!(said.contains("domain `native` can't be used") && said.contains("guest"), "{said}");
    let doctor = xtask(&["doctor", "--plan", plan], folder.path());
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert!(said.contains("can't be reached") && said.contains("spoils 2 of 2 cells"), "{said}");
    assert_eq!(doctor.status.code(), Some(3), "{said}");
}

#[test]
fn what_a_plan_says_of_machines_is_checked_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = plan(folder.path(), "", "");
    let good = fs::read_to_string(&path).unwrap();
    for (from, to, says) in [
        ("file = ", "serial = ", "unknown field `serial`"),
        ("file = \"", "file = \"/dev/sda\", nic = \"", "must be"),
        ("file = \"", "ssh = \"-oProxyCommand=true\", file = \"", "does not begin with a dash"),
        ("file = \"", "disk = \"\", file = \"", "one line that is not empty"),
        ("file = \"", "disk = \"S1\", file = \"", "two answers"),
        ("peer = \"127.0.0.1\"", "peer = \"generator\"", "an IP address"),
        ("baseline = true", "device = { disk = \"virtual\" }\nbaseline = true", "unknown variant `virtual`"),
    ] {
        let line = 1 + good[..good.find(from).expect(from)].matches('\n').count();
        fs::write(&path, good.replacen(from, to, 1)).unwrap();
        let output = xtask(&["matrix", "--dry-run", "--plan", path.to_str().unwrap()], folder.path());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("machines.toml:{line}: ")) && said.contains(says), "{to}: {said}");
    }
}
