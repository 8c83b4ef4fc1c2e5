//! `cargo xtask matrix` as a user runs it: the real binary, real namespaces, real files.
//!
//! They need the right to make network namespaces and say so when it is missing.

mod support;

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::binaries;

/// A plan of all 24 cells, as small as it gets.
fn tiny_plan(folder: &Path) -> PathBuf {
    let plans = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("plans");
    fs::create_dir_all(folder.join("published")).unwrap();
    for name in ["ipsj-2010.toml", "published/ipsj-2010-os113.toml"] {
        fs::copy(plans.join(name), folder.join(name)).unwrap();
    }
    let plan = folder.join("tiny.toml");
    let text = "extends = \"ipsj-2010.toml\"\nname = \"tiny\"\ntitle = \"As small as it gets\"\nrepetitions = 1\n\
        trial_timeout_s = 60\n[variables]\ntotal = \"4MiB\"\nprecondition = \"1MiB\"\ndisk_size = \"8MiB\"\n\
        stream = \"100ms\"\nflood_load = \"20kpps\"\n";
    fs::write(&plan, text).unwrap();
    plan
}

/// The command on a tiny plan with results in `folder`.
fn matrix(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["matrix", "--plan"]).arg(tiny_plan(folder)).arg("--results").arg(folder.join("results"));
    command.arg("--binaries").arg(binaries()).args(args).current_dir(folder);
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Whether this process may make namespaces and loop devices; says so where not.
fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
    let root = u64::from_str_radix(effective, 16).unwrap() >> 21 & 1 == 1;
    if !root {
        eprintln!("skipped: needs root (CAP_SYS_ADMIN)");
    }
    root
}

fn summary(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("results/latest/summary.json")).unwrap()).unwrap()
}

/// Processes and loop devices that still have to do with `folder`.
fn leftovers(folder: &Path) -> Vec<String> {
    let mark = folder.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let command_line = fs::read(path.join("cmdline")).ok()?;
        let text = String::from_utf8_lossy(&command_line).replace('\0', " ");
        text.contains(mark).then_some(text)
    });
    let loops = fs::read_dir("/sys/block").unwrap().filter_map(|entry| {
        let backing = fs::read_to_string(entry.unwrap().path().join("loop/backing_file")).ok()?;
        backing.contains(mark).then_some(backing)
    });
    processes.chain(loops).collect()
}

/// Waits until `done`, a minute at most: long enough for a machine that does other things too.
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Starts a long matrix and returns when it has finished three trials.
fn started(folder: &Path) -> std::process::Child {
    let mut command = matrix(folder, &["--repetitions", "50"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().unwrap();
    let results = folder.join("results");
    wait_until("three trials", || {
        let journals = fs::read_dir(&results).into_iter().flatten().filter_map(Result::ok);
        journals
            .filter_map(|entry| fs::read_to_string(entry.path().join("journal.jsonl")).ok())
            .any(|journal| journal.lines().count() > 3)
    });
    child
}

fn signal(process: &std::process::Child, name: &str) {
    let status = Command::new("kill").args(["-s", name, &process.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Files of a results folder that are too large for anything that belongs there; a disk image is.
fn larger_than_a_journal(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let large = files.filter(|file| file.metadata().unwrap().len() >= 8 << 20);
    large.map(|file| file.path().display().to_string()).collect()
}

#[test]
fn all_24_cells_complete_and_the_report_is_made_again_byte_for_byte() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = matrix(folder.path(), &[]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let cells = summary(folder.path())["cells"].as_array().unwrap().clone();
    assert_eq!(cells.len(), 24);
    for cell in &cells {
        assert_eq!(cell["n"], 1, "{cell}");
        assert!(cell["published_id"].is_string(), "{cell}");
    }
    let latest = folder.path().join("results/latest").canonicalize().unwrap();
    for made in ["plan.toml", "journal.jsonl", "runs.csv", "summary.json", "report/index.html"] {
        assert!(latest.join(made).exists(), "{made}");
    }
    assert_eq!(larger_than_a_journal(&latest), [""; 0], "disk images have no name");
    assert_eq!(leftovers(folder.path()), [] as [String; 0]);

    let again = folder.path().join("again");
    fs::create_dir(&again).unwrap();
    for kept in ["plan.toml", "journal.jsonl"] {
        fs::copy(latest.join(kept), again.join(kept)).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("report").arg(&again).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let differences = Command::new("diff").arg("-r").args([&latest, &again]).output().unwrap();
    assert!(differences.status.success(), "{}", text(&differences));
}

#[test]
fn ctrl_c_leaves_the_finished_trials_a_report_and_nothing_else() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = started(folder.path());
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let latest = folder.path().join("results/latest");
    assert!(latest.join("report/index.html").exists());
    let finished = fs::read_to_string(latest.join("journal.jsonl")).unwrap().lines().count() - 1;
    let counted = summary(folder.path())["cells"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cell| cell["n"].as_u64().unwrap())
        .sum::<u64>();
    assert!(finished >= 3 && counted >= 1, "{finished} finished, {counted} counted");
    assert_eq!(larger_than_a_journal(&latest), [""; 0], "disk images have no name");
    assert_eq!(leftovers(folder.path()), [] as [String; 0]);
}

#[test]
fn a_killed_coordinator_leaves_no_load_and_no_device() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = started(folder.path());
    signal(&child, "KILL");
    child.wait().unwrap();
    wait_until("the end of every tool and device", || leftovers(folder.path()).is_empty());
}

#[test]
fn a_killed_matrix_goes_on_where_it_was_and_another_machine_is_refused() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = matrix(folder.path(), &["--repetitions", "3", "--only", "disk/*/none"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let journal = || {
        let results = fs::read_dir(folder.path().join("results")).ok()?;
        let path =
            results.filter_map(Result::ok).map(|entry| entry.path()).find(|path| !path.is_symlink())?;
        Some((fs::read_to_string(path.join("journal.jsonl")).ok()?, path))
    };
    wait_until("two trials", || journal().is_some_and(|(lines, _)| lines.lines().count() > 2));
    let (_, results) = journal().unwrap();
    let resume = |binaries: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["matrix", "--resume"]).arg(&results).arg("--binaries").arg(binaries);
        command.output().unwrap()
    };
    let busy = resume(binaries());
    assert!(text(&busy).contains("another `cargo xtask matrix`"), "{}", text(&busy));
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the end of every tool and device", || leftovers(folder.path()).is_empty());
    let before = journal().unwrap().0;

    let others = folder.path().join("others");
    assert!(Command::new("cp").arg("-r").arg(binaries()).arg(&others).status().unwrap().success());
    let mut cpuload = fs::read(others.join("cpuload")).unwrap();
    cpuload.push(0);
    fs::write(others.join("cpuload"), cpuload).unwrap();
    let refused = resume(&others);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    assert!(text(&refused).contains("SHA-256 of cpuload"), "{}", text(&refused));

    let finished = resume(binaries());
    assert!(finished.status.success(), "{}", text(&finished));
    let whole = before.rfind('\n').map_or("", |end| &before[..=end]);
    let after = journal().unwrap().0;
    assert!(after.starts_with(whole) && after.contains("\"line\":\"resumed\""), "{after}");
    for cell in summary(folder.path())["cells"].as_array().unwrap() {
        assert_eq!(cell["n"], 3, "{cell}");
    }
    assert!(fs::read_to_string(results.join("report/index.html")).unwrap().contains("was interrupted"));
    let nothing_left = resume(binaries());
    assert!(
        nothing_left.status.success() && text(&nothing_left).contains("is finished"),
        "{}",
        text(&nothing_left)
    );
    assert_eq!(journal().unwrap().0, after);
    assert_eq!(leftovers(folder.path()), [] as [String; 0]);
}

#[test]
fn without_root_it_runs_and_says_what_it_could_not_do() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // An unprivileged user may not be able to read this checkout, so everything it needs comes along.
    let plan = tiny_plan(folder.path());
    let xtask = folder.path().join("xtask");
    fs::copy(env!("CARGO_BIN_EXE_xtask"), &xtask).unwrap();
    let copied =
        Command::new("cp").arg("-r").arg(binaries()).arg(folder.path().join("dist")).status().unwrap();
    assert!(copied.success());
    assert!(Command::new("chmod").args(["-R", "a+rwX"]).arg(folder.path()).status().unwrap().success());
    let output = Command::new(&xtask)
        .args(["matrix", "--only", "*/*/none", "--binaries", "dist", "--plan"])
        .arg(&plan)
        .current_dir(folder.path())
        .uid(65534)
        .gid(65534)
        .output()
        .unwrap();
    let said = text(&output);
    if said.contains("allow unprivileged user namespaces") {
        eprintln!("skipped: this kernel has no unprivileged user namespaces");
        return;
    }
    assert!(output.status.success(), "{said}");
    let cells = summary(folder.path())["cells"].as_array().unwrap().clone();
    for cell in &cells {
        let looped = cell["name"].as_str().unwrap().starts_with("disk/virtual/");
        let expected = if looped { "skipped" } else { "completed" };
        assert_eq!(cell["outcomes"][expected], 1, "{cell}");
    }
    let journal = fs::read_to_string(folder.path().join("results/latest/journal.jsonl")).unwrap();
    assert!(journal.contains("no loop device"), "the reason is kept");
}

#[test]
fn mistakes_are_named_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| matrix(folder.path(), args).output().unwrap();
    let nothing_left = run(&["--only", "dsik/*"]);
    assert_eq!(nothing_left.status.code(), Some(2), "{}", text(&nothing_left));
    assert!(text(&nothing_left).contains("disk/native/none"));
    assert_eq!(run(&["--repetitions", "0"]).status.code(), Some(2));
    assert_eq!(run(&["--repetitions", "many"]).status.code(), Some(2));

    let plan = folder.path().join("wrong.toml");
    fs::write(
        &plan,
        "extends = \"ipsj-2010.toml\"\nname = \"wrong\"\ntitle = \"\"\n[variables]\nblok = \"4KiB\"\n",
    )
    .unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_xtask")).args(["matrix", "--plan"]).arg(&plan).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("wrong.toml:5"), "{}", text(&output));
    assert!(!folder.path().join("results").exists());
}

#[test]
fn a_dry_run_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = matrix(folder.path(), &["--dry-run"]).output().unwrap();
    assert!(output.status.success());
    assert!(text(&output).contains("24 cells x 1 = 24 trials"), "{}", text(&output));
    assert!(!folder.path().join("results").exists());
}
