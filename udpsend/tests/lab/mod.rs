//! Runs the real binary: on this machine's loopback, or in two network namespaces joined by a veth pair.
#![allow(dead_code)] // Each test binary uses a part of it.

pub mod capture;
pub mod seccomp;

use std::{
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::Value;

/// Where a tool runs: here, or in a network namespace.
#[derive(Clone, Debug)]
pub enum Place {
    Here,
    Namespace(String),
}

impl Place {
    /// A command that runs there.
    pub fn command(&self, program: &str) -> Command {
        match self {
            Self::Here => Command::new(program),
            Self::Namespace(name) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name, program]);
                command
            }
        }
    }

    /// Runs `udpsend` there to its end; a machine that takes its CPU for seconds is no reason to give up slots.
    pub fn udpsend(&self, args: &str) -> Finished {
        let mut command = self.command(env!("CARGO_BIN_EXE_udpsend"));
        if args.contains("--load") && !args.contains("--catch-up") {
            command.args(["--catch-up", "60s"]);
        }
        Finished::of(
            command.args(args.split_whitespace()).arg("--json").stdin(Stdio::null()).output().unwrap(),
        )
    }

    /// Starts `udpsend sink` there and returns when it is ready. Without an `--idle` it is told to end when
    /// its end is waited for: how long a busy machine keeps a sender from its next datagram can't be guessed.
    pub fn sink(&self, args: &str) -> Running {
        let mut command = self.command(env!("CARGO_BIN_EXE_udpsend"));
        command.args(["sink", "--json", "--duration", "120s"]);
        let is_told = !args.contains("--idle");
        if is_told {
            command.args(["--idle", "120s"]);
        }
        let mut sink = Running::start(&mut command, args);
        sink.is_told = is_told;
        sink
    }

    /// Runs a shell command there that must succeed, and gives its output.
    pub fn shell(&self, script: &str) -> String {
        let output = self.command("sh").args(["-ec", script]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {text}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// A tool that has ended.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub records: Vec<Value>,
    pub stderr: String,
}

impl Finished {
    pub fn of(output: Output) -> Self {
        let lines = String::from_utf8(output.stdout).unwrap();
        Self {
            code: output.status.code(),
            records: lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The summary of a run that succeeded.
    pub fn summary(&self) -> &Value {
        let summary = self.records.iter().find(|record| record["record"] == "summary");
        summary.unwrap_or_else(|| panic!("no summary: {self:?}"))
    }

    /// The samples.
    pub fn samples(&self) -> Vec<&Value> {
        self.records.iter().filter(|record| record["record"] == "sample").collect()
    }
}

/// A tool that runs and is ready.
pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    records: Vec<Value>,
    /// Whether waiting for its end begins with telling it.
    is_told: bool,
}

impl Running {
    /// Starts a tool and waits for its `ready` record.
    pub fn start(command: &mut Command, args: &str) -> Self {
        let mut child = command
            .args(args.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let stdin = child.stdin.take();
        let mut running = Self { child, stdin, lines, records: Vec::new(), is_told: false };
        while running.records.last().is_none_or(|record| record["record"] != "ready") {
            let line = running.lines.next().expect("it ended before it was ready").unwrap();
            running.records.push(serde_json::from_str(&line).unwrap());
        }
        running
    }

    /// The port that a sink is bound to.
    pub fn port(&self) -> u16 {
        let listen = self.records[0]["config"]["listen"].as_str().unwrap();
        listen.parse::<std::net::SocketAddr>().unwrap().port()
    }

    /// Says `go`, as a controller does.
    pub fn go(&mut self) {
        use std::io::Write;
        self.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    }

    /// Closes its standard input, as a controller does that goes away.
    pub fn let_go(&mut self) {
        self.stdin = None;
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Ends it, for all that there is has been sent, and waits for its end.
    pub fn stop(mut self) -> Finished {
        self.is_told = true;
        self.finish()
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Finished {
        if self.is_told {
            // A kernel with much to do delivers what was sent a moment later.
            std::thread::sleep(std::time::Duration::from_millis(200));
            self.signal("TERM");
        }
        for line in self.lines.by_ref() {
            self.records.push(serde_json::from_str(&line.unwrap()).unwrap());
        }
        let code = self.child.wait().unwrap().code();
        Finished { code, records: std::mem::take(&mut self.records), stderr: String::new() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that failed must not leave a tool behind; one that has ended can't be killed again.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two network namespaces joined by a veth pair, removed on drop. Neighbours are fixed and nothing but
/// the tests' own frames is on the link.
pub struct Lab {
    pub sender: Place,
    pub receiver: Place,
    names: [String; 2],
}

/// Address of the receiver.
pub const RECEIVER: &str = "10.99.0.2";
/// Address of the receiver, IPv6.
pub const RECEIVER6: &str = "fd99::2";

impl Lab {
    /// Sets it up; `None`, with the reason on standard error, where that is not possible.
    pub fn new() -> Option<Self> {
        Self::with("")
    }

    /// Sets it up with words for both ends of the link, such as `numtxqueues 2`.
    pub fn with(link: &str) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let names = ["s", "r"].map(|end| format!("udpsend-{}-{number}-{end}", std::process::id()));
        let [sender, receiver] = names.clone().map(Place::Namespace);
        let lab = Self { sender, receiver, names };
        let script = r#"
            ip netns add $S; ip netns add $R
            for n in $S $R; do ip netns exec $n sysctl -qw net.ipv6.conf.default.addr_gen_mode=1 net.ipv6.conf.default.accept_dad=0 \
                net.ipv6.conf.default.mldv2_unsolicited_report_interval=1; done
            ip link add vs address 02:00:00:00:00:01 $LINK netns $S type veth peer name vr address 02:00:00:00:00:02 $LINK netns $R
            ip -n $S addr add 10.99.0.1/24 dev vs; ip -n $R addr add 10.99.0.2/24 dev vr
            ip -n $S link set vs up; ip -n $R link set vr up; ip -n $S link set lo up; ip -n $R link set lo up
            ip -n $S addr add fd99::1/64 dev vs nodad; ip -n $R addr add fd99::2/64 dev vr nodad
            ip -n $S neigh add 10.99.0.2 lladdr 02:00:00:00:00:02 dev vs
            ip -n $R neigh add 10.99.0.1 lladdr 02:00:00:00:00:01 dev vr
            ip -n $S neigh add fd99::2 lladdr 02:00:00:00:00:02 dev vs
            ip -n $R neigh add fd99::1 lladdr 02:00:00:00:00:01 dev vr
        "#;
        let output = Command::new("sh")
            .args(["-ec", script])
            .env("LINK", link)
            .env("S", &lab.names[0])
            .env("R", &lab.names[1])
            .output()
            .ok()?;
        if !output.status.success() {
            eprintln!("skipped: no namespaces here: {}", String::from_utf8_lossy(&output.stderr).trim());
            return None;
        }
        // The kernel's own multicast reports go out first.
        std::thread::sleep(std::time::Duration::from_millis(200));
        Some(lab)
    }
}

impl Lab {
    /// Packets that the receiver's interface has counted.
    pub fn received(&self) -> u64 {
        self.receiver.shell("cat /sys/class/net/vr/statistics/rx_packets").trim().parse().unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in &self.names {
            // One that was never made can't be removed; nothing else is left to do then.
            let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
        }
    }
}

/// A whole number of a record.
pub fn count(record: &Value, key: &str) -> u64 {
    record[key].as_u64().unwrap_or_else(|| panic!("{key} is {} in {record}", record[key]))
}

/// What an interface counted in a summary.
pub fn frames(summary: &Value, interface: &str, key: &str) -> u64 {
    let interfaces = summary["interfaces"].as_array().unwrap();
    let interface = interfaces.iter().find(|found| found["name"] == interface);
    interface.map_or(0, |found| count(found, key))
}
