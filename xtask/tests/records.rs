//! The records that the tools really write are what `docs/schema` says.

mod support;

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
};

use jsonschema::Validator;
use serde_json::Value;
use support::binaries;

fn validator(stem: &str) -> Validator {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/schema");
    // Subcommands that share a record share its schema, under the tool's own name.
    let shared = || {
        stem.split('-').next().zip(stem.split('-').next_back()).map(|(tool, kind)| format!("{tool}-{kind}"))
    };
    let own = folder.join(format!("{stem}.json"));
    let path = if own.exists() { own } else { folder.join(format!("{}.json", shared().unwrap())) };
    let schema: Value =
        serde_json::from_slice(&fs::read(&path).unwrap_or_else(|_| panic!("no schema for {stem}"))).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

/// Checks every line against the schema of its kind; gives the kinds in order.
fn check(name: &str, lines: &str) -> Vec<String> {
    let kind_of = |line: &str| -> (String, Value) {
        let record: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {error}: {line}"));
        (record["record"].as_str().unwrap().to_owned(), record)
    };
    lines
        .lines()
        .map(|line| {
            let (kind, record) = kind_of(line);
            let stem = match kind.as_str() {
                "ready" | "error" | "quiet" => format!("record-{kind}"),
                _ => format!("{name}-{kind}"),
            };
            let errors: Vec<String> =
                validator(&stem).iter_errors(&record).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{stem}: {errors:?}\n{line}");
            kind
        })
        .collect()
}

/// Runs a tool with `--json` and checks what it writes.
fn run(name: &str, args: &[&str]) -> Vec<String> {
    run_with(name, &[args, &["--json"]].concat())
}

/// The same with `--json` where the tool wants it.
fn run_with(name: &str, args: &[&str]) -> Vec<String> {
    let tool = name.split('-').next().unwrap();
    let output = Command::new(binaries().join(tool)).args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 4)), "{name} {args:?}: {:?} {stderr}", output.status);
    check(name, &String::from_utf8(output.stdout).unwrap())
}

/// A tool that serves until its input closes, and what it has written until it was ready.
fn serve(tool: &str, args: &[&str]) -> (Child, BufReader<std::process::ChildStdout>, String) {
    let mut child = Command::new(binaries().join(tool))
        .args(args)
        .args(["--json", "--controlled"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut lines = String::new();
    while !lines.contains("\"ready\"") {
        assert_ne!(reader.read_line(&mut lines).unwrap(), 0, "{tool} ended: {lines}");
    }
    use std::io::Write;
    writeln!(child.stdin.as_mut().unwrap(), "go").unwrap();
    (child, reader, lines)
}

/// Closes the tool's input, and checks all it has written.
fn stop(
    name: &str,
    (mut child, mut reader, mut lines): (Child, BufReader<std::process::ChildStdout>, String),
) {
    drop(child.stdin.take());
    reader.read_to_string(&mut lines).unwrap();
    assert!(matches!(child.wait().unwrap().code(), Some(0 | 4)), "{lines}");
    let kinds = check(name, &lines);
    assert_eq!(kinds.last().map(String::as_str), Some("summary"), "{name}: {kinds:?}");
}

#[test]
fn cpuload_and_irqwatch() {
    let kinds = run("cpuload", &["--duty", "20", "--duration", "200ms", "--interval", "100ms"]);
    assert_eq!(kinds.first().map(String::as_str), Some("start"));
    assert!(kinds.contains(&"sample".to_owned()), "{kinds:?}");
    let kinds = run("irqwatch", &["--interval", "50ms", "--count", "2"]);
    assert_eq!(kinds.last().map(String::as_str), Some("summary"), "{kinds:?}");
    run_with("irqwatch-run", &["run", "--json", "--", "true"]);
}

#[test]
fn diskprobe() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("data");
    let kinds = run("diskprobe", &["write", path.to_str().unwrap(), "--total", "1MiB", "--repeat", "2"]);
    assert_eq!(kinds, ["start", "ready", "sample", "sample", "summary"]);
}

#[test]
fn udpsend_and_its_sink() {
    let sink = serve("udpsend", &["sink", "--listen", "127.0.0.1:19411", "--interval", "50ms"]);
    let load = ["127.0.0.1:19411", "--load", "2kpps", "--duration", "200ms", "--interval", "100ms"];
    let kinds = run("udpsend", &load);
    assert_eq!(kinds.last().map(String::as_str), Some("summary"));
    stop("udpsend-sink", sink);
}

#[test]
fn netprobe_and_its_server() {
    let server = serve("netprobe", &["serve", "--listen", "127.0.0.1:19412"]);
    run("netprobe-stream", &["stream", "127.0.0.1:19412", "--direction", "send", "--duration", "100ms"]);
    run("netprobe-rr", &["rr", "127.0.0.1:19412", "--duration", "100ms"]);
    stop("netprobe-serve", server);
}

/// Says `quiet` to a running tool after its first sample, waits until it has heeded it and for some
/// intervals more, stops it, and checks that the summary was the next record.
fn hush(name: &str, tool: (Child, BufReader<std::process::ChildStdout>, String)) {
    use std::io::Write;
    let (mut child, mut reader, mut lines) = tool;
    for (wait_for, order) in [("\"sample\"", Some("quiet")), ("\"quiet\"", None)] {
        while !lines.contains(&format!("\"record\":{wait_for}")) {
            assert_ne!(reader.read_line(&mut lines).unwrap(), 0, "{name} ended: {lines}");
        }
        if let Some(order) = order {
            writeln!(child.stdin.as_mut().unwrap(), "{order}").unwrap();
        }
    }
    std::thread::sleep(std::time::Duration::from_millis(100));
    drop(child.stdin.take());
    reader.read_to_string(&mut lines).unwrap();
    assert!(matches!(child.wait().unwrap().code(), Some(0 | 4)), "{name}: {lines}");
    let kinds = check(name, &lines);
    assert_eq!(kinds[kinds.len() - 2..], ["quiet", "summary"], "{name}");
}

#[test]
fn a_tool_that_is_told_to_be_quiet_says_so_and_then_nothing_until_its_summary() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("data");
    let path = path.to_str().unwrap();
    let often = ["--interval", "20ms", "--duration", "60s"];
    let with = |args: &[&'static str]| [args, &often].concat();
    hush("cpuload", serve("cpuload", &with(&["--duty", "5"])));
    hush("irqwatch", serve("irqwatch", &with(&[])));
    hush("irqwatch-wakeup", serve("irqwatch", &with(&["wakeup"])));
    hush("irqwatch-gaps", serve("irqwatch", &with(&["gaps"])));
    let sink = serve("udpsend", &with(&["sink", "--listen", "127.0.0.1:19421"]));
    hush("udpsend", serve("udpsend", &with(&["127.0.0.1:19421", "--load", "100pps"])));
    hush("udpsend-sink", sink);
    let server = serve("netprobe", &["serve", "--listen", "127.0.0.1:19422", "--no-token"]);
    hush("netprobe-rr", serve("netprobe", &with(&["rr", "127.0.0.1:19422"])));
    hush("netprobe-stream", serve("netprobe", &with(&["stream", "127.0.0.1:19422", "--direction", "send"])));
    stop("netprobe-serve", server);
    let disk = [&["write", path, "--total", "64MiB", "--rate", "200/s"], &often[..]].concat();
    hush("diskprobe", serve("diskprobe", &disk));
}

#[test]
fn an_error_is_a_record_too() {
    let output = Command::new(binaries().join("diskprobe"))
        .args(["read", "/does/not/exist", "--json"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let kinds = check("diskprobe", &String::from_utf8(output.stdout).unwrap());
    assert_eq!(kinds.last().map(String::as_str), Some("error"));
}
