//! A server and clients, as real processes.
#![allow(dead_code)] // Each test file uses its part.

pub mod pair;
pub mod talk;
pub mod tun;

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

pub const NETPROBE: &str = env!("CARGO_BIN_EXE_netprobe");

/// A server that ends when dropped.
pub struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    pub address: SocketAddr,
}

/// A port that was free a moment ago.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Server {
    pub fn start(flags: &[&str]) -> Self {
        Self::start_at(free_address(), &[], flags)
    }

    /// Starts it at `address`, through the command `prefix`, and waits until it listens.
    pub fn start_at(address: SocketAddr, prefix: &[&str], flags: &[&str]) -> Self {
        Self::start_listening(&address.to_string(), address, prefix, flags)
    }

    /// The same with `listen` as the text of `--listen`, by which clients reach it at `address`.
    pub fn start_listening(listen: &str, address: SocketAddr, prefix: &[&str], flags: &[&str]) -> Self {
        let mut words: Vec<&str> = prefix.to_vec();
        words.extend([NETPROBE, "serve", "--json", "--controlled", "--listen", listen]);
        words.extend(flags);
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("\"record\":\"ready\"") {
            line.clear();
            assert!(stdout.read_line(&mut line).unwrap() > 0, "the server did not start");
        }
        writeln!(stdin, "go").unwrap();
        Self { child, stdin: Some(stdin), stdout, address }
    }

    pub fn name(&self) -> String {
        self.address.to_string()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Number of its open file descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Number of its threads.
    pub fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap().count()
    }

    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() * 1024
    }

    /// Stops it and gives its summary.
    pub fn stop(mut self) -> Value {
        drop(self.stdin.take());
        let last = (&mut self.stdout).lines().map(Result::unwrap).last().expect("a summary");
        assert!(self.child.wait().unwrap().success());
        let summary: Value = serde_json::from_str(&last).unwrap();
        assert_eq!(summary["record"], "summary");
        summary
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The end of its standard input stops it; this is for a server that hangs.
        drop(self.stdin.take());
        for _ in 0..100 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a client said, and how it ended.
pub struct Told {
    pub records: Vec<Value>,
    pub code: i32,
    pub stderr: String,
}

impl Told {
    pub fn summary(&self) -> &Value {
        let found = self.records.iter().find(|record| record["record"] == "summary");
        found.unwrap_or_else(|| panic!("no summary: {} {:?}", self.stderr, self.records))
    }

    pub fn samples(&self) -> Vec<&Value> {
        self.records.iter().filter(|record| record["record"] == "sample").collect()
    }
}

/// Runs the probe with these words and `--json`.
pub fn probe(words: &[&str]) -> Told {
    probe_through(&[], words)
}

/// The same through the command `prefix`.
pub fn probe_through(prefix: &[&str], words: &[&str]) -> Told {
    let mut all: Vec<&str> = prefix.to_vec();
    all.push(NETPROBE);
    all.extend(words);
    all.push("--json");
    let output = Command::new(all[0]).args(&all[1..]).stdin(Stdio::null()).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    Told {
        records: stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect(),
        code: output.status.code().unwrap_or(-1),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Measures against `server`, expects success, and gives the summary.
pub fn summary_of(server: &Server, command: &str, flags: &[&str]) -> Value {
    let name = server.name();
    let mut words = vec![command, &name, "--duration", "200ms"];
    words.extend(flags);
    let told = probe(&words);
    assert_eq!(told.code, 0, "{words:?}: {}", told.stderr);
    told.summary().clone()
}

/// Waits until `holds`, at most ten seconds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what} did not come true");
        std::thread::sleep(Duration::from_millis(20));
    }
}
