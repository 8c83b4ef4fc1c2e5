//! The real binaries: built once, started, spoken to, and never left behind.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::rows::{Beside, Row};

/// After this long a tool hangs. No promise of the suite is a time limit.
const HANGS: Duration = Duration::from_secs(30);

/// The folder with the binaries of this workspace.
pub fn binaries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("a workspace");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let packages = ["cpuload", "diskprobe", "irqwatch", "netprobe", "udpsend"];
        let status = Command::new(cargo)
            .current_dir(workspace)
            .args(["build", "--quiet", "--bins"])
            .args(packages.iter().flat_map(|name| ["--package", name]))
            .status();
        assert!(status.expect("cargo runs").success(), "the tools can't be built");
        // The tests' own scratch folder lies beside the profiles' folders.
        Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a target folder").join("debug")
    })
}

/// A running tool whose records are read as they come.
pub struct Tool {
    pub row: Row,
    child: Child,
    stdin: Option<ChildStdin>,
    records: Receiver<Value>,
    pub seen: Vec<Value>,
    stderr: Option<JoinHandle<String>>,
    /// What it needs, for as long as it runs.
    _beside: Option<Box<Tool>>,
    _folder: tempfile::TempDir,
}

/// A tool that has ended.
pub struct Ended {
    pub row: Row,
    pub code: Option<i32>,
    pub records: Vec<Value>,
    pub stderr: String,
}

impl Tool {
    /// Starts the row's tool with `more` flags; `{folder}` in them is its temporary folder.
    pub fn start(row: Row, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        // A sender finds its sink, or the other way round, whoever comes first.
        let beside = match row.beside {
            Beside::Nothing => None,
            Beside::Server => Some(format!("netprobe serve --listen 127.0.0.1:{port}")),
            Beside::Sink => Some(format!("udpsend sink --listen 127.0.0.1:{port} --duration 1h")),
            Beside::Sender => Some(format!("udpsend 127.0.0.1:{port} --load 1kpps --duration 1h")),
        };
        let beside = beside.map(|args| args + " --json").map(|args| {
            let row = Row { beside: Beside::Nothing, ..row };
            let mut beside = Self::spawn(row, &args, tempfile::tempdir().expect("a temporary folder"));
            beside.wait_for("ready");
            Box::new(beside)
        });
        let args = match row.args.contains("{flags}") {
            true => row.args.replace("{flags}", &format!("{more} --json")),
            false => format!("{} {more} --json", row.args),
        };
        let args = args
            .replace("{port}", &port.to_string())
            .replace("{folder}", &folder.path().display().to_string());
        let mut tool = Self::spawn(row, &args, folder);
        tool._beside = beside;
        tool
    }

    fn spawn(row: Row, args: &str, folder: tempfile::TempDir) -> Self {
        let mut words = args.split_ascii_whitespace();
        let tool = binaries().join(words.next().expect("a tool"));
        let mut command = match row.mounts {
            "" => Command::new(tool),
            mounts => {
                let script = format!("{mounts} && exec \"$0\" \"$@\"");
                let mut command = Command::new("unshare");
                command.args(["--mount", "--propagation", "private", "sh", "-c", &script]).arg(tool);
                command
            }
        };
        let mut child = command
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the tool starts");
        let (tell, records) = channel();
        let out = BufReader::new(child.stdout.take().expect("piped"));
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let record = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                if tell.send(record).is_err() {
                    return;
                }
            }
        });
        let stderr = child.stderr.take().map(|stderr| thread::spawn(|| read_all(stderr)));
        let stdin = child.stdin.take();
        Self { row, child, stdin, records, seen: Vec::new(), stderr, _beside: None, _folder: folder }
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Sends a signal to this process alone.
    pub fn signal(&self, signal: i32) {
        #[allow(unsafe_code)] // The standard library has no kill(2) but SIGKILL.
        // SAFETY: the process is this test's own child, not waited for yet.
        let result = unsafe { libc::kill(self.pid(), signal) };
        assert_eq!(result, 0, "{}: signal {signal}", self.row.args);
    }

    /// Sends the line `order`.
    pub fn order(&mut self, order: &str) {
        let stdin = self.stdin.as_mut().expect("its input is open");
        stdin.write_all(format!("{order}\n").as_bytes()).expect("it reads its input");
    }

    /// Closes its input.
    pub fn close(&mut self) {
        self.stdin = None;
    }

    /// Reads records until one of that kind has come; gives whether one did before the output ended.
    pub fn reaches(&mut self, kind: &str) -> bool {
        let deadline = Instant::now() + HANGS;
        loop {
            match self.records.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(record) => {
                    let found = record["record"] == kind;
                    self.seen.push(record);
                    if found {
                        return true;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => panic!("{}: hangs before `{kind}`", self.row.args),
            }
        }
    }

    pub fn wait_for(&mut self, kind: &str) {
        if !self.reaches(kind) {
            let stderr = self.stderr.take().and_then(|stderr| stderr.join().ok());
            panic!("{}: ended before `{kind}`: {stderr:?} {:?}", self.row.args, self.seen);
        }
    }

    /// CPU time of the process so far, in clock ticks (proc_pid_stat(5)).
    pub fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it runs");
        let fields: Vec<&str> = stat[stat.rfind(')').expect("a name") + 2..].split(' ').collect();
        let field = |number: usize| fields[number - 3].parse::<u64>().expect("a number");
        field(14) + field(15)
    }

    /// Reads the rest and waits for the end.
    pub fn end(mut self) -> Ended {
        while self.reaches("no record has this kind") {}
        let status = self.wait();
        let stderr = self.stderr.take().and_then(|stderr| stderr.join().ok()).unwrap_or_default();
        Ended { row: self.row, code: status.code(), records: std::mem::take(&mut self.seen), stderr }
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + HANGS;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "{}: does not end", self.row.args);
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // One that has ended can't be killed, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a tool to its end.
pub fn run(row: Row, more: &str) -> Ended {
    Tool::start(row, more).end()
}

fn read_all(mut stderr: ChildStderr) -> String {
    let mut text = String::new();
    // What is no text, or can't be read, is not there.
    let _ = stderr.read_to_string(&mut text);
    text
}

/// A port that is free for TCP and UDP on loopback just now.
fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = tcp.local_addr().expect("an address").port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
