//! A command under `irqwatch run` has the terminal, as under time(1): it reads it, and Ctrl-C and Ctrl-Z reach it.
//!
//! The terminal is script(1) of util-linux; where it is missing each test says so and passes.

mod support;

use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use support::IRQWATCH;

/// `irqwatch run` of a shell script on a terminal of its own.
struct Terminal {
    child: Child,
    _script: tempfile::NamedTempFile,
}

impl Terminal {
    fn run(text: &str) -> Option<Self> {
        let mut script = tempfile::NamedTempFile::new().unwrap();
        script.write_all(text.as_bytes()).unwrap();
        let words = format!("exec {IRQWATCH} run -- sh {}", script.path().display());
        let child = Command::new("script")
            .args(["--quiet", "--return", "--command", &words, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        match child {
            Ok(child) => Some(Self { child, _script: script }),
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
        let (mut read, mut byte) = (Vec::new(), [0]);
        while !String::from_utf8_lossy(&read).contains(text) {
            let count = self.child.stdout.as_mut().unwrap().read(&mut byte).unwrap();
            assert!(count > 0, "`{text}` never came: {}", String::from_utf8_lossy(&read));
            read.push(byte[0]);
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
