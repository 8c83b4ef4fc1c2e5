//! What a control group takes away shows: a CPU quota in the figures, a cpuset by its name.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

/// A control group of this test's own, removed at the end.
struct Cgroup {
    folder: PathBuf,
    version_2: bool,
}

impl Cgroup {
    /// One with that controller; `None`, with the reason, where this machine gives none.
    fn new(controller: &str) -> Option<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let version_2 = fs::read_to_string(root.join("cgroup.subtree_control"))
            .is_ok_and(|list| list.split_whitespace().any(|name| name == controller));
        let parent = if version_2 { root.to_owned() } else { root.join(controller) };
        let folder = parent.join(format!("cpuload-test-{controller}-{}", std::process::id()));
        if !version_2 && !parent.join("tasks").exists() {
            eprintln!("skipped: no control group with `{controller}` can be made on this machine");
            return None;
        }
        match fs::create_dir(&folder) {
            Ok(()) => Some(Self { folder, version_2 }),
            Err(error) => {
                eprintln!("skipped: make a control group: {error}");
                None
            }
        }
    }

    /// Sets one of its values; `false`, with the reason, where the kernel refuses.
    fn set(&self, file: &str, value: &str) -> bool {
        let outcome = fs::write(self.folder.join(file), value);
        outcome.inspect_err(|error| eprintln!("skipped: set {file} of a control group: {error}")).is_ok()
    }

    fn cpuload(&self, arguments: &str) -> Output {
        let procs = self.folder.join("cgroup.procs");
        let program = env!("CARGO_BIN_EXE_cpuload");
        let script = format!("echo $$ > {} && exec {program} --json {arguments}", procs.display());
        Command::new("sh").args(["-c", &script]).output().unwrap()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Empty since its only process has ended.
        let _: std::io::Result<()> = fs::remove_dir(&self.folder);
    }
}

fn last_record(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap_or_else(|| panic!("{output:?}"))).unwrap()
}

#[test]
fn cpu_time_that_a_quota_denies_is_missing_and_shows() {
    let Some(group) = Cgroup::new("cpu") else { return };
    let limited = if group.version_2 {
        group.set("cpu.max", "20000 100000")
    } else {
        group.set("cpu.cfs_period_us", "100000") && group.set("cpu.cfs_quota_us", "20000")
    };
    if !limited {
        return;
    }
    let output = group.cpuload("--cpus 0 --duration 1s --require 10");
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let summary = last_record(&output);
    assert_eq!(summary["demanded_ns"], 1_000_000_000);
    assert!(summary["cpu_ns"].as_u64().unwrap() < 500_000_000, "{summary}");
    let (received_ns, denied_ns) = (&summary["cpu_ns"], &summary["workers"][0]["denied_ns"]);
    assert!(denied_ns.as_u64().unwrap() > 500_000_000, "{summary}");
    let accounted_ns = received_ns.as_u64().unwrap() + denied_ns.as_u64().unwrap();
    assert!(accounted_ns > 980_000_000, "what it did not get was denied: {summary}");
    assert!(summary["warnings"][0].as_str().unwrap().contains("CPU quota"), "{summary}");
}

#[test]
fn a_cpu_that_the_cpuset_leaves_out_is_refused_with_its_name() {
    let Ok(cpus) = meter::cpulist::CpuList::allowed() else { return };
    let [kept, left_out, ..] = cpus.cpus()[..] else {
        eprintln!("skipped: one CPU only");
        return;
    };
    let Some(group) = Cgroup::new("cpuset") else { return };
    if !(group.set("cpuset.cpus", &kept.to_string()) && group.set("cpuset.mems", "0")) {
        return;
    }
    let output = group.cpuload(&format!("--cpus {kept},{left_out} --duration 100ms"));
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let error = last_record(&output)["message"].as_str().unwrap().to_owned();
    let name = group.folder.file_name().unwrap().to_string_lossy();
    assert!(error.contains(&format!("CPU {left_out} can't be used here: the cpuset /{name} has")), "{error}");
    assert_eq!(group.cpuload("--duration 100ms").status.code(), Some(0), "the rest is used without --cpus");
}
