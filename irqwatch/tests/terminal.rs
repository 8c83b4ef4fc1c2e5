//! A command under `irqwatch run` has the terminal, as under time(1): it reads it, and Ctrl-C and Ctrl-Z reach it.
//!
//! The terminal is script(1) of util-linux; where it is missing each test says so and passes.

mod support;

use std::{
    io::{BufReader, Read, Write},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use support::IRQWATCH;

/// After this long it hangs.
const HANGS: Duration = Duration::from_secs(30);

/// `irqwatch run` of a shell script on a terminal of its own.
struct Terminal {
    child: Child,
    output: Receiver<u8>,
    _script: tempfile::NamedTempFile,
}

impl Terminal {
    fn run(text: &str) -> Option<Self> {
        Self::start(text, |run| format!("exec {run}"))
    }

    /// A shell's line on the terminal, made from the command that runs `text`.
    fn start(text: &str, line: impl Fn(&str) -> String) -> Option<Self> {
        let mut script = tempfile::NamedTempFile::new().unwrap();
        script.write_all(text.as_bytes()).unwrap();
        let words = line(&format!("{IRQWATCH} run -- sh {}", script.path().display()));
        let child = Command::new("script")
            .args(["--quiet", "--return", "--command", &words, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        match child {
            Ok(mut child) => {
                let (tell, output) = channel();
                let bytes = BufReader::new(child.stdout.take().unwrap()).bytes();
                std::thread::spawn(move || bytes.map_while(Result::ok).try_for_each(|byte| tell.send(byte)));
                Some(Self { child, output, _script: script })
            }
            Err(error) => {
                eprintln!("skipped: script(1) of util-linux: {error}");
                None
            }
        }
    }

    fn write(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// What it prints until `text` has come.
    fn read_until(&mut self, text: &str) -> String {
        let (mut read, end) = (Vec::new(), Instant::now() + HANGS);
        while !read.ends_with(text.as_bytes()) {
            match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(byte) => read.push(byte),
                Err(error) => panic!("`{text}` never came: {error}: {}", String::from_utf8_lossy(&read)),
            }
        }
        String::from_utf8_lossy(&read).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_command_reads_the_terminal() {
    let Some(mut terminal) = Terminal::run("read -r line </dev/tty; echo got=$line;") else { return };
    terminal.write("words\n");
    terminal.read_until("got=words");
    terminal.read_until("the command exited with 0");
}

#[test]
fn ctrl_c_is_the_commands_own_business() {
    let Some(mut terminal) =
        Terminal::run("trap 'echo caught; exit 7' INT; echo ready; while :; do sleep 0.05; done")
    else {
        return;
    };
    terminal.read_until("ready");
    terminal.write("\x03");
    terminal.read_until("caught");
    terminal.read_until("the command exited with 7");
}

/// State of a process, such as `T` for stopped (proc_pid_stat(5)).
fn state(process: &str) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_whitespace().next()?.to_owned())
}

#[test]
fn ctrl_z_stops_the_command_too_and_fg_continues_both() {
    // `set -m`: the shell makes a job of it, as at a prompt.
    let job = |run: &str| format!("bash -c 'set -m; {run}; echo shell=$?; read -r word; fg; echo ended=$?'");
    let Some(mut terminal) = Terminal::start("echo pid=$$.; read -r line; echo got=$line.; exit 5", job)
    else {
        return;
    };
    terminal.read_until("pid=");
    let process = terminal.read_until(".").trim_end_matches('.').to_owned();
    terminal.write("\x1a");
    // 128 and SIGTSTP: the shell has the terminal again.
    terminal.read_until("shell=148");
    // The signal went to both at once; on a busy machine the command may get to it a little later.
    let end = Instant::now() + HANGS;
    while state(&process).as_deref() != Some("T") {
        assert!(Instant::now() < end, "the command is not stopped: {:?}", state(&process));
        std::thread::sleep(Duration::from_millis(10));
    }
    terminal.write("on\n");
    // It says which job it continues; then the command has the terminal.
    terminal.read_until("irqwatch");
    terminal.write("words\n");
    terminal.read_until("got=words.");
    terminal.read_until("the command exited with 5");
    terminal.read_until("ended=0");
}
