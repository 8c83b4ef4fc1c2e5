//! Tools as processes of this machine: on some CPUs, perhaps in another network namespace.
#![allow(unsafe_code)] // Between fork and exec only raw system calls are allowed.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{Domain, Event, Exit, Process, ToolCommand};

/// How long a tool that was told to stop gets before it is killed.
const GRACE: Duration = Duration::from_secs(3);
/// How much of a tool's last words is kept.
const STDERR_KEPT: usize = 4096;

/// A place on this machine.
pub struct LocalDomain {
    /// Where the tools are.
    pub binaries: PathBuf,
    /// The CPUs that its tools may use.
    pub cpus: Vec<usize>,
    /// Its network namespace; this process's own where missing.
    pub network: Option<Arc<OwnedFd>>,
}

impl Domain for LocalDomain {
    fn start(&self, command: &ToolCommand) -> Result<Box<dyn Process>> {
        let mut system_command = Command::new(self.binaries.join(&command.tool));
        system_command
            .args(&command.args)
            .args(["--json", "--controlled"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        enter(&mut system_command, self.network.as_ref(), &self.cpus);
        let child = system_command.spawn().with_context(|| format!("start `{command}`"))?;
        Ok(Box::new(LocalProcess::watch(child, &command.tool)?))
    }
}

/// Lets `command` run in a network namespace and on some CPUs (all where none are named), in a process
/// group of its own, so that Ctrl-C on the terminal reaches only the coordinator, and die with it.
pub fn enter(command: &mut Command, network: Option<&Arc<OwnedFd>>, cpus: &[usize]) {
    let network = network.map(Arc::clone);
    let cpus = cpus.to_vec();
    command.process_group(0);
    let in_child = move || {
        if let Some(network) = &network {
            // SAFETY: the descriptor is open: `network` keeps it, here and in the parent.
            if unsafe { libc::setns(network.as_raw_fd(), libc::CLONE_NEWNET) } < 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
        if !cpus.is_empty() {
            meter::sys::sched_setaffinity(&cpus)?;
        }
        // SAFETY: prctl with an integer argument touches no memory.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes only system calls on what it owns: it neither
    // allocates nor takes a lock.
    unsafe { command.pre_exec(in_child) };
}

/// A child of this program that speaks records.
pub struct LocalProcess {
    child: Child,
    stdin: Option<ChildStdin>,
    records: Receiver<Result<serde_json::Value, String>>,
    stderr: Option<JoinHandle<String>>,
    ended: Option<Exit>,
}

impl LocalProcess {
    /// Listens to a child whose three streams are pipes.
    pub fn watch(mut child: Child, tool: &str) -> Result<Self> {
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("the tool has no standard output")?;
        let stderr = child.stderr.take().context("the tool has no standard error")?;
        let (teller, records) = channel();
        thread::Builder::new()
            .name(format!("{tool} records"))
            .spawn(move || read_records(stdout, &teller))?;
        let stderr =
            thread::Builder::new().name(format!("{tool} errors")).spawn(move || last_words(stderr))?;
        Ok(Self { child, stdin, records, stderr: Some(stderr), ended: None })
    }

    /// Collects the exit of a tool whose output has ended.
    fn reap(&mut self) -> Exit {
        if let Some(exit) = &self.ended {
            return exit.clone();
        }
        let code = self.child.wait().ok().and_then(|status| status.code());
        let stderr = self.stderr.take().and_then(|reader| reader.join().ok()).unwrap_or_default();
        self.ended.insert(Exit { code, stderr }).clone()
    }
}

impl Process for LocalProcess {
    fn say(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("its input is closed")?;
        stdin.write_all(format!("{line}\n").as_bytes()).context("it does not read its input")
    }

    fn close(&mut self) {
        self.stdin = None;
    }

    fn next(&mut self, deadline: Instant) -> Event {
        match self.records.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Ok(record)) => Event::Record(record),
            Ok(Err(line)) => {
                let record =
                    serde_json::json!({"record": "error", "message": format!("not a record: {line}")});
                Event::Record(record)
            }
            Err(RecvTimeoutError::Timeout) => Event::Silent,
            Err(RecvTimeoutError::Disconnected) => Event::Ended(self.reap()),
        }
    }
}

impl Drop for LocalProcess {
    fn drop(&mut self) {
        self.close();
        let deadline = Instant::now() + GRACE;
        while self.ended.is_none() && Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(5)),
                _ => return,
            }
        }
        if self.ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Reads records line by line until the tool's output ends.
fn read_records(stdout: impl Read, teller: &Sender<Result<serde_json::Value, String>>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        let record = serde_json::from_str(&line).map_err(|_| line);
        if teller.send(record).is_err() {
            return;
        }
    }
}

/// The end of what a tool writes to standard error.
fn last_words(mut stderr: impl Read) -> String {
    let mut kept = Vec::new();
    let mut chunk = [0; 1024];
    while let Ok(length @ 1..) = stderr.read(&mut chunk) {
        kept.extend_from_slice(&chunk[..length]);
        let excess = kept.len().saturating_sub(STDERR_KEPT);
        kept.drain(..excess);
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}

/// A new network namespace that lives as long as its descriptor: nothing of it stays behind, even
/// after a SIGKILL. IPv6 is off in it: its neighbour discovery would be traffic that nobody asked for.
pub fn new_network_namespace() -> Result<OwnedFd> {
    let maker = thread::Builder::new().name("namespace".into()).spawn(|| -> Result<OwnedFd> {
        // SAFETY: no memory is passed; only this thread, which ends right after, changes its namespace.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } < 0 {
            return Err(std::io::Error::last_os_error())
                .context("create a network namespace; run as root, or allow unprivileged user namespaces");
        }
        for scope in ["all", "default"] {
            let path = format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6");
            if Path::new(&path).exists() {
                std::fs::write(&path, "1").with_context(|| format!("write {path}"))?;
            }
        }
        Ok(File::open("/proc/thread-self/ns/net").context("open /proc/thread-self/ns/net")?.into())
    })?;
    maker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> LocalProcess {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        enter(&mut command, None, &[]);
        LocalProcess::watch(command.spawn().unwrap(), "sh").unwrap()
    }

    #[test]
    fn records_come_out_and_lines_go_in() {
        let mut process =
            shell("read line; echo \"{\\\"record\\\":\\\"$line\\\"}\"; echo last words >&2; exit 3");
        process.say("ready").unwrap();
        let deadline = super::super::after(5.0);
        assert_eq!(process.next(deadline), Event::Record(serde_json::json!({"record": "ready"})));
        let exit = Exit { code: Some(3), stderr: "last words".into() };
        assert_eq!(process.next(deadline), Event::Ended(exit));
    }

    #[test]
    fn a_dropped_process_does_not_live_on() {
        let process = shell("cat >/dev/null; exit 0");
        let id = process.child.id();
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn what_is_no_record_is_reported_as_an_error() {
        let mut process = shell("echo hello");
        let Event::Record(record) = process.next(super::super::after(5.0)) else { panic!("no record") };
        assert_eq!(super::super::kind(&record), "error");
    }
}
