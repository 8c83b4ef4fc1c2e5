//! A child of this program that speaks records.
//!
//! Whatever the child does — closes its output and lives, writes without end, ignores its input — every wait
//! here has a deadline, what is kept of its output is bounded, and it is ended when it is dropped.
#![allow(unsafe_code)] // kill(2) of a process group has no safe wrapper.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ExitStatus},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use meter::control::Stop;

use super::{
    Event, Exit, Process,
    queue::{Line, Queue, Taken},
};

/// How long a tool that was told to stop, or whose output has ended, gets to exit before it is killed.
const GRACE: Duration = Duration::from_secs(3);
/// The same once the user wants everything to end.
const GRACE_WHEN_STOPPED: Duration = Duration::from_millis(300);
/// How long a killed process may take to go; one that waits for a dead device is left to the kernel.
const REAP: Duration = Duration::from_secs(2);
/// How long standard error is waited for once the tool has exited: something that it started may hold it open.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How often a wait looks.
const LOOK: Duration = Duration::from_millis(5);
/// How much of the end of standard error is kept.
const STDERR_KEPT: usize = 4096;
/// How much a tool may write to standard error.
const STDERR_MAX: u64 = 16 << 20;
/// Longest line of standard output; a record of thousands of interrupts and CPUs is shorter.
const LINE_MAX: usize = 8 << 20;

/// A child of this program that speaks records.
pub struct LocalProcess {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Queue,
    stderr: Arc<Mutex<Stderr>>,
    stderr_reader: JoinHandle<()>,
    stop: Stop,
    /// When its output was found to have ended.
    closed: Option<Instant>,
    ended: Option<Exit>,
}

/// What came over standard error.
#[derive(Default)]
struct Stderr {
    /// Its end.
    kept: VecDeque<u8>,
    /// How many bytes there were.
    bytes: u64,
}

impl LocalProcess {
    /// Listens to a child whose three streams are pipes and that leads a process group. Once `stop` is raised
    /// it gets less time to end.
    ///
    /// # Errors
    /// When a stream is no pipe, or a reading thread can't be started.
    pub fn watch(mut child: Child, tool: &str, stop: Stop) -> Result<Self> {
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("the tool has no standard output")?;
        let error_stream = child.stderr.take().context("the tool has no standard error")?;
        let (lines, stderr) = (Queue::default(), Arc::<Mutex<Stderr>>::default());
        let (queue, kept) = (lines.clone(), Arc::clone(&stderr));
        thread::Builder::new().name(format!("{tool} records")).spawn(move || read_records(stdout, &queue))?;
        let stderr_reader = thread::Builder::new()
            .name(format!("{tool} errors"))
            .spawn(move || read_stderr(error_stream, &kept))?;
        Ok(Self { child, stdin, lines, stderr, stderr_reader, stop, closed: None, ended: None })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn grace(&self) -> Duration {
        if self.stop.is_raised() { GRACE_WHEN_STOPPED } else { GRACE }
    }

    fn stderr(&self) -> std::sync::MutexGuard<'_, Stderr> {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrote_too_much(&self) -> Option<String> {
        let most = meter::units::Bytes(STDERR_MAX);
        (self.stderr().bytes > STDERR_MAX).then(|| format!("it wrote more than {most} to standard error"))
    }

    /// Waits for the exit of a tool whose output has ended, until `deadline` at most.
    fn exit(&mut self, deadline: Instant) -> Event {
        let closed = *self.closed.get_or_insert_with(Instant::now);
        loop {
            if let Some(exit) = &self.ended {
                return Event::Ended(exit.clone());
            }
            match self.child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => {
                    self.ended(Some(status), None);
                    continue;
                }
                Err(error) => {
                    self.ended(None, Some(format!("it can't be waited for: {error}")));
                    continue;
                }
            }
            let now = Instant::now();
            if now >= closed + self.grace() {
                let waited = (now - closed).as_secs_f64();
                self.kill(&format!("it closed its standard output and still ran {waited:.1} s later"));
            } else if now >= deadline {
                return Event::Silent;
            } else {
                thread::sleep(LOOK);
            }
        }
    }

    /// Takes down how it ended.
    fn ended(&mut self, status: Option<ExitStatus>, killed_because: Option<String>) {
        let deadline = Instant::now() + LAST_WORDS;
        while !self.stderr_reader.is_finished() && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
        // It may have ended of that by itself before it was killed: nobody reads any more.
        let killed_because = killed_because.or_else(|| self.wrote_too_much());
        let kept: Vec<u8> = self.stderr().kept.iter().copied().collect();
        let stderr = String::from_utf8_lossy(&kept).trim().to_owned();
        self.ended = Some(Exit { code: status.and_then(|status| status.code()), killed_because, stderr });
    }

    /// Kills it and everything in its process group.
    fn kill(&mut self, why: &str) {
        // SAFETY: no memory is passed. The child was not waited for yet, so its number, which is that of the
        // group it leads, belongs to nobody else.
        unsafe { libc::kill(-(self.child.id() as libc::pid_t), libc::SIGKILL) };
        // Where it has left its group.
        let _ = self.child.kill();
        let deadline = Instant::now() + REAP;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
        self.ended(None, Some(why.to_owned()));
    }
}

impl Process for LocalProcess {
    fn say(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("its input is closed")?;
        // A few words in all: they fit into the pipe even where nobody reads it.
        stdin.write_all(format!("{line}\n").as_bytes()).context("it does not read its input")
    }

    fn close(&mut self) {
        self.stdin = None;
    }

    fn next(&mut self, deadline: Instant) -> Event {
        if let Some(exit) = &self.ended {
            return Event::Ended(exit.clone());
        }
        if let Some(why) = self.wrote_too_much() {
            self.kill(&why);
            return self.exit(deadline);
        }
        match self.lines.take(deadline) {
            Taken::Line(Line::Record(record)) => Event::Record(record),
            Taken::Line(Line::Other(line)) => {
                let record =
                    serde_json::json!({"record": "error", "message": format!("not a record: {line}")});
                Event::Record(record)
            }
            Taken::Line(Line::TooLong) => {
                let most = meter::units::Bytes(LINE_MAX as u64);
                self.kill(&format!("it wrote a line longer than {most}"));
                self.exit(deadline)
            }
            Taken::Nothing => Event::Silent,
            Taken::Closed => self.exit(deadline),
        }
    }
}

impl Drop for LocalProcess {
    fn drop(&mut self) {
        self.close();
        // A reader that waits for room in the queue ends.
        self.lines.close();
        let began = Instant::now();
        while self.ended.is_none() && began.elapsed() < self.grace() {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(LOOK),
                _ => return,
            }
        }
        if self.ended.is_none() {
            self.kill("nobody listens to it any more");
        }
    }
}

/// Reads records line by line until the tool's output ends, or a line does not.
fn read_records(stdout: impl Read, queue: &Queue) {
    let mut stdout = BufReader::with_capacity(64 << 10, stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        match stdout.by_ref().take(LINE_MAX as u64 + 1).read_until(b'\n', &mut line) {
            Ok(1..) => {}
            _ => break,
        }
        let bytes = line.len();
        if bytes > LINE_MAX {
            queue.push(Line::TooLong, 0);
            break;
        }
        let parsed = serde_json::from_slice(&line);
        let line = parsed.map_or_else(|_| Line::Other(excerpt(&line)), Line::Record);
        if !queue.push(line, bytes) {
            break;
        }
    }
    queue.close();
}

/// The beginning of a line that is no record.
fn excerpt(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(200)]).trim().to_owned()
}

/// Keeps the end of what a tool writes to standard error, and stops reading what has none.
fn read_stderr(mut stderr: impl Read, kept: &Mutex<Stderr>) {
    let mut chunk = [0; 16 << 10];
    while let Ok(length @ 1..) = stderr.read(&mut chunk) {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += length as u64;
        kept.kept.extend(&chunk[..length]);
        let excess = kept.kept.len().saturating_sub(STDERR_KEPT);
        kept.kept.drain(..excess);
        if kept.bytes > STDERR_MAX {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        process::{Command, Stdio},
    };

    use super::{
        super::{after, kind, local::enter},
        *,
    };

    fn shell(script: &str) -> LocalProcess {
        shell_until(script, Stop::new())
    }

    fn shell_until(script: &str, stop: Stop) -> LocalProcess {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        enter(&mut command, None, &[]);
        LocalProcess::watch(command.spawn().unwrap(), "sh", stop).unwrap()
    }

    /// How it ends, whatever it tells before.
    fn end(process: &mut LocalProcess) -> Exit {
        let deadline = after(60.0);
        loop {
            match process.next(deadline) {
                Event::Ended(exit) => return exit,
                Event::Record(_) => {}
                Event::Silent => panic!("it did not end"),
            }
        }
    }

    fn is_gone(id: u32) -> bool {
        !Path::new(&format!("/proc/{id}")).exists()
    }

    #[test]
    fn records_come_out_and_lines_go_in() {
        let mut process =
            shell("read line; echo \"{\\\"record\\\":\\\"$line\\\"}\"; echo last words >&2; exit 3");
        process.say("ready").unwrap();
        let deadline = after(60.0);
        assert_eq!(process.next(deadline), Event::Record(serde_json::json!({"record": "ready"})));
        let exit = Exit { code: Some(3), killed_because: None, stderr: "last words".into() };
        assert_eq!(process.next(deadline), Event::Ended(exit));
    }

    #[test]
    fn a_dropped_process_does_not_live_on() {
        let process = shell("cat >/dev/null; exit 0");
        let id = process.id();
        drop(process);
        assert!(is_gone(id));
    }

    #[test]
    fn one_that_ignores_its_input_is_killed_with_what_it_started() {
        let mut process = shell("sleep 1000 & echo \"{\\\"pid\\\":$!}\"; wait");
        let Event::Record(record) = process.next(after(60.0)) else { panic!("no record") };
        let ids = [process.id(), record["pid"].as_u64().unwrap() as u32];
        drop(process);
        let deadline = after(60.0);
        // What it started is reaped by somebody else.
        while !ids.iter().all(|id| is_gone(*id)) {
            assert!(Instant::now() < deadline, "something lives on");
            thread::sleep(LOOK);
        }
    }

    #[test]
    fn what_is_no_record_is_reported_as_an_error() {
        let mut process = shell("echo hello");
        let Event::Record(record) = process.next(after(60.0)) else { panic!("no record") };
        assert_eq!(kind(&record), "error");
    }

    #[test]
    fn a_tool_that_closes_its_output_and_lives_blocks_nobody() {
        let mut process = shell("exec >&-; exec sleep 1000");
        let id = process.id();
        assert_eq!(process.next(Instant::now()), Event::Silent, "a deadline is one");
        let why = end(&mut process).killed_because.unwrap();
        assert!(why.contains("closed its standard output"), "{why}");
        assert!(is_gone(id));
    }

    #[test]
    fn a_descendant_that_holds_standard_error_blocks_nobody() {
        let mut process = shell("sleep 1000 >/dev/null & echo words >&2; exit 4");
        let exit = end(&mut process);
        assert_eq!((exit.code, exit.stderr.as_str()), (Some(4), "words"));
        // SAFETY: no memory is passed; the group is the test's own, and its `sleep` is still in it.
        unsafe { libc::kill(-(process.child.id() as libc::pid_t), libc::SIGKILL) };
    }

    #[test]
    fn an_endless_line_and_endless_words_are_cut_off_and_named() {
        let mut process = shell("exec cat /dev/zero");
        let why = end(&mut process).killed_because.unwrap();
        assert!(why.contains("a line longer than 8 MiB"), "{why}");
        let mut process = shell("exec cat /dev/zero >&2");
        let deadline = after(60.0);
        let exit = loop {
            match process.next(deadline.min(after(0.05))) {
                Event::Ended(exit) => break exit,
                _ => assert!(Instant::now() < deadline, "it did not end"),
            }
        };
        let why = exit.killed_because.unwrap();
        assert!(why.contains("16 MiB to standard error"), "{why}");
        assert!(exit.stderr.len() <= STDERR_KEPT);
    }

    #[test]
    fn a_stopped_run_does_not_wait_for_a_stubborn_tool_as_long() {
        let stop = Stop::new();
        let process = shell_until("exec sleep 1000", stop.clone());
        stop.raise();
        assert_eq!(process.grace(), GRACE_WHEN_STOPPED);
        let id = process.id();
        drop(process);
        assert!(is_gone(id));
    }
}
