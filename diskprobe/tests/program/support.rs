//! What the tests share: running the real program, reading its records, and waiting.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// A command for the program with those arguments.
pub fn diskprobe(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_diskprobe"));
    command.args(arguments);
    command
}

/// The program's output and its records.
pub struct Ran {
    pub code: i32,
    pub records: Vec<Value>,
    pub errors: String,
}

impl Ran {
    pub fn of(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout);
        Self {
            code: output.status.code().unwrap_or(-1),
            records: text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub fn all(&self, kind: &str) -> Vec<&Value> {
        self.records.iter().filter(|record| record["record"] == kind).collect()
    }

    #[track_caller]
    pub fn summary(&self) -> &Value {
        self.all("summary").first().copied().unwrap_or_else(|| panic!("no summary: {}", self.errors))
    }

    /// The one error, with its exit code.
    #[track_caller]
    pub fn fails(&self, code: i32, part: &str) -> &Self {
        assert_eq!(self.code, code, "{}", self.errors);
        assert!(self.errors.contains(part), "`{part}` is not in: {}", self.errors);
        self
    }

    #[track_caller]
    pub fn succeeds(&self) -> &Self {
        assert_eq!(self.code, 0, "{}", self.errors);
        self
    }
}

/// Runs the program with `--json` to its end.
pub fn run(arguments: &[&str]) -> Ran {
    Ran::of(&diskprobe(arguments).arg("--json").output().unwrap())
}

pub fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").unwrap().lines().any(|line| line.starts_with("Uid:\t0\t"))
}

/// A folder on a disk's file system: the temporary folder may be in memory.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Says why a test does nothing here.
pub fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}

/// What a program printed; `None` when it failed or is missing.
pub fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The program, started with `--json`, to be interrupted or watched.
pub fn start(arguments: &[&str]) -> Child {
    let mut command = diskprobe(arguments);
    command.arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A program whose records are read while it runs.
pub struct Running {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    seen: Vec<u8>,
}

impl Running {
    /// The program, started with `--json`.
    pub fn start(arguments: &[&str]) -> Self {
        let mut child = start(arguments);
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input: None, output, seen: Vec::new() }
    }

    /// The same, with orders on its standard input; the arguments must have `--controlled`.
    pub fn controlled(arguments: &[&str]) -> Self {
        let mut command = diskprobe(arguments);
        command.arg("--json").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { input: child.stdin.take(), child, output, seen: Vec::new() }
    }

    /// Gives it an order.
    pub fn tell(&mut self, order: &str) {
        writeln!(self.input.as_mut().unwrap(), "{order}").unwrap();
    }

    /// Closes its input, which ends it.
    pub fn close(&mut self) {
        self.input = None;
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a record that is as `wanted`.
    #[track_caller]
    pub fn wait_for(&mut self, wanted: impl Fn(&Value) -> bool) {
        loop {
            let from = self.seen.len();
            let length = self.output.read_until(b'\n', &mut self.seen).unwrap();
            assert!(length > 0, "it ended: {}", String::from_utf8_lossy(&self.seen));
            if wanted(&serde_json::from_slice(&self.seen[from..]).unwrap()) {
                return;
            }
        }
    }

    /// Waits until it says that something was done; it needs `--interval` to say so within a run.
    #[track_caller]
    pub fn wait_for_operations(&mut self) {
        self.wait_for(|record| record["operations"].as_u64().is_some_and(|operations| operations > 0));
    }

    /// Sends SIGINT and waits for the end, which must come soon.
    #[track_caller]
    pub fn interrupt(self) -> Ran {
        let sent = send_interrupt(&self.child);
        let ran = self.end();
        assert!(sent.elapsed() < SOON, "it ran on for {:?}", sent.elapsed());
        ran
    }

    /// Waits for the end.
    pub fn end(mut self) -> Ran {
        self.output.read_to_end(&mut self.seen).unwrap();
        let mut output = self.child.wait_with_output().unwrap();
        output.stdout = self.seen;
        Ran::of(&output)
    }
}

/// Waits until something is so; panics when it does not come.
#[track_caller]
pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sends SIGINT and waits for the end, which must come soon.
#[track_caller]
pub fn interrupt(child: Child) -> Ran {
    let sent = send_interrupt(&child);
    let ran = Ran::of(&child.wait_with_output().unwrap());
    assert!(sent.elapsed() < SOON, "it ran on for {:?}", sent.elapsed());
    ran
}

/// A machine that is busy with others may need some seconds to do next to nothing.
const SOON: Duration = Duration::from_secs(30);

#[track_caller]
fn send_interrupt(child: &Child) -> Instant {
    let sent = Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    sent
}

/// The path as text.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A figure of a record.
#[track_caller]
pub fn number(record: &Value, key: &str) -> f64 {
    let value = key.split('.').fold(record, |value, part| &value[part]);
    value.as_f64().unwrap_or_else(|| panic!("no number {key} in {record}"))
}
