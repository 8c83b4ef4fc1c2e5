//! Processes that are measured: bounded in time, on given CPUs, and what they cost by wait4(2).
#![allow(unsafe_code)] // pidfd_open(2), poll(2), wait4(2) and kill(2) have no safe form in the standard library.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use meter::{clock, control::Stop};

use super::{
    figures::{Figure, Measurement},
    workbench::Lacking,
};
use domain::local::enter;

/// No process runs longer: it is killed.
const LIMIT: Duration = Duration::from_secs(60);
/// How often a wait looks at the stop flag.
const STOP_CHECK: Duration = Duration::from_millis(50);
/// How long a process that was told to end gets before it is killed.
const GRACE: Duration = Duration::from_secs(3);
/// How much of what a failed process wrote is shown.
const WORDS_SHOWN: usize = 400;

/// A process to be.
pub struct Job {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
    cpus: Vec<usize>,
    network: Option<Arc<OwnedFd>>,
    output: PathBuf,
    stop: Stop,
}

impl Job {
    /// A process of `program` whose output goes to files that begin with `output`; it is killed when
    /// `stop` is raised.
    pub fn new(program: impl Into<PathBuf>, output: PathBuf, stop: Stop) -> Self {
        let program = program.into();
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self {
            name,
            program,
            args: Vec::new(),
            environment: Vec::new(),
            cpus: Vec::new(),
            network: None,
            output,
            stop,
        }
    }

    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds arguments, separated by blanks.
    pub fn words(self, words: &str) -> Self {
        self.args(words.split_whitespace())
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Lets it and its children run on these CPUs only.
    pub fn on_cpus(mut self, cpus: &[usize]) -> Self {
        self.cpus = cpus.to_vec();
        self
    }

    /// Lets it run in a network namespace.
    pub fn inside(mut self, network: &Arc<OwnedFd>) -> Self {
        self.network = Some(Arc::clone(network));
        self
    }

    /// Starts it.
    pub fn start(self) -> Result<Running> {
        let [stdout, stderr] = ["out", "err"].map(|kind| self.output.with_extension(kind));
        let create =
            |path: &PathBuf| File::create(path).with_context(|| format!("create {}", path.display()));
        let mut command = Command::new(&self.program);
        command
            .envs(self.environment)
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(create(&stdout)?)
            .stderr(create(&stderr)?);
        enter(&mut command, self.network.as_ref(), &self.cpus);
        let (mut reader, mut writer) = io::pipe().context("open a pipe")?;
        // SAFETY: between fork and exec the closure reads the clock and writes to a descriptor it owns.
        unsafe { command.pre_exec(move || writer.write_all(&clock::now_ns().to_ne_bytes())) };
        let child = command.spawn().with_context(|| format!("start {}", self.program.display()))?;
        let id = child.id() as libc::pid_t;
        // From here on whatever fails drops `running`, which ends the process.
        let mut running = Running {
            name: self.name,
            id,
            descriptor: None,
            started_ns: 0,
            deadline: Instant::now() + LIMIT,
            stop: self.stop,
            stdout,
            stderr,
            ended: false,
        };
        running.descriptor = Some(pidfd_open(id).context("pidfd_open")?);
        let mut exec_ns = [0; 8];
        reader.read_exact(&mut exec_ns).context("learn when it was started")?;
        running.started_ns = u64::from_ne_bytes(exec_ns);
        Ok(running)
    }

    /// Starts it, waits for its end, and demands that it succeeded.
    pub fn run(self) -> Result<Finished> {
        self.start()?.wait()?.succeeded()
    }
}

/// A process that runs. It is killed, with all of its process group, when this is dropped.
pub struct Running {
    name: String,
    id: libc::pid_t,
    descriptor: Option<OwnedFd>,
    started_ns: u64,
    deadline: Instant,
    stop: Stop,
    stdout: PathBuf,
    stderr: PathBuf,
    ended: bool,
}

impl Running {
    /// Fails where it has ended already.
    pub fn check_alive(&self) -> Result<()> {
        if self.has_ended(Duration::ZERO)? {
            let words = last_words(&fs::read_to_string(&self.stderr).unwrap_or_default());
            bail!("{} ended too early: {words}", self.name);
        }
        Ok(())
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Result<Finished> {
        self.wait_until(self.deadline)?;
        self.collect()
    }

    /// Asks it with a signal to end, and waits for that; a process that does not is killed.
    pub fn finish(mut self, signal: libc::c_int) -> Result<Finished> {
        // SAFETY: no memory is passed; the process has not been reaped, so the number is still its own.
        unsafe { libc::kill(self.id, signal) };
        self.wait_until(Instant::now() + GRACE)?;
        self.collect()
    }

    fn wait_until(&self, deadline: Instant) -> Result<()> {
        while !self.has_ended(STOP_CHECK)? {
            if self.stop.is_raised() {
                bail!("interrupted");
            }
            if Instant::now() >= deadline {
                bail!("{} did not end in time and was killed", self.name);
            }
        }
        Ok(())
    }

    /// Whether it has ended, waiting for that no longer than `patience`.
    fn has_ended(&self, patience: Duration) -> Result<bool> {
        let descriptor = self.descriptor.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        let mut entry = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid entry, which lives through the call.
        let ready = unsafe { libc::poll(&raw mut entry, 1, patience.as_millis() as libc::c_int) };
        match ready {
            0.. => Ok(ready > 0),
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(false),
                error => Err(error).context("poll a process"),
            },
        }
    }

    /// Ends what is left of its group, reaps it, and reads what it wrote.
    fn collect(&mut self) -> Result<Finished> {
        let elapsed_ns = clock::now_ns() - self.started_ns;
        let (status, usage) = self.reap()?;
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        let read = |path: &PathBuf| {
            fs::read(path)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .with_context(|| format!("read {}", path.display()))
        };
        Ok(Finished {
            name: std::mem::take(&mut self.name),
            started_ns: self.started_ns,
            code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
            elapsed_s: elapsed_ns as f64 / 1e9,
            cpu_s: seconds(usage.ru_utime) + seconds(usage.ru_stime),
            resident_peak_bytes: usage.ru_maxrss as u64 * 1024,
            stdout_path: self.stdout.clone(),
            stdout: read(&self.stdout)?,
            stderr: read(&self.stderr)?,
        })
    }

    fn reap(&mut self) -> io::Result<(libc::c_int, libc::rusage)> {
        self.ended = true;
        // SAFETY: no memory is passed; the leader has not been reaped, so the group is still its own.
        unsafe { libc::kill(-self.id, libc::SIGKILL) };
        let mut status = 0;
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        loop {
            // SAFETY: both are there for the kernel to fill, and live through the call.
            let reaped = unsafe { libc::wait4(self.id, &raw mut status, 0, usage.as_mut_ptr()) };
            if reaped >= 0 {
                // SAFETY: the kernel filled it; all-zero bytes were valid before.
                return Ok((status, unsafe { usage.assume_init() }));
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.reap();
        }
    }
}

/// A descriptor of a child that becomes readable when it ends (pidfd_open(2), Linux 5.3).
fn pidfd_open(id: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: two integers, no memory.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, id, 0) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as libc::c_int) })
}

/// A process that has ended, what it said and what it cost.
pub struct Finished {
    name: String,
    code: Option<i32>,
    /// When it was executed, by [`clock::now_ns`].
    pub started_ns: u64,
    /// From exec to exit, in seconds.
    pub elapsed_s: f64,
    /// CPU time of it and of all descendants that were waited for, in seconds.
    pub cpu_s: f64,
    /// Peak resident memory of the largest of them, in bytes. It counts what the process had between
    /// fork and exec, when it was still a copy of this one: small programs show this program's size.
    pub resident_peak_bytes: u64,
    /// Where its standard output is.
    pub stdout_path: PathBuf,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Finished {
    /// Demands exit code 0, or 4 of our tools: a result with a warning, which is told with the figures.
    /// Code 3 of our tools says that the machine lacks something.
    pub fn succeeded(self) -> Result<Self> {
        match self.code {
            Some(0) => Ok(self),
            Some(code) if i32::from(meter::error::EXIT_UNTRUSTED) == code && self.is_ours() => Ok(self),
            Some(code) if i32::from(meter::ErrorKind::Unavailable.exit_code()) == code && self.is_ours() => {
                Err(Lacking(self.words()).into())
            }
            Some(code) => bail!("{} gave exit code {code}: {}", self.name, self.words()),
            None => bail!("{} was ended by a signal: {}", self.name, self.words()),
        }
    }

    fn is_ours(&self) -> bool {
        tools::NAMES.contains(&self.name.as_str())
    }

    /// The end of what it said, errors rather than output.
    fn words(&self) -> String {
        last_words(if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr })
    }

    /// Time, CPU time and memory.
    pub fn cost(&self) -> Measurement {
        Measurement::default()
            .with(Figure::ELAPSED_S, self.elapsed_s)
            .with(Figure::CPU_S, self.cpu_s)
            .with(Figure::RESIDENT_PEAK_BYTES, self.resident_peak_bytes as f64)
    }

    /// Time of this end, CPU time of both, memory of the larger.
    pub fn cost_with(&self, other: &Self) -> Measurement {
        self.cost()
            .with(Figure::CPU_S, self.cpu_s + other.cpu_s)
            .with(Figure::RESIDENT_PEAK_BYTES, self.resident_peak_bytes.max(other.resident_peak_bytes) as f64)
    }
}

/// The end of a text, in one line.
fn last_words(text: &str) -> String {
    let line = text.trim().replace('\n', " · ");
    let start = line.char_indices().rev().nth(WORDS_SHOWN).map_or(0, |(index, _)| index);
    line[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, stop: &Stop) -> (tempfile::TempDir, Job) {
        let folder = tempfile::tempdir().unwrap();
        let job = Job::new("sh", folder.path().join("sh"), stop.clone()).args(["-c", script]);
        (folder, job)
    }

    #[test]
    fn output_code_and_cpu_time_of_grandchildren_are_collected() {
        let (_folder, job) = shell(
            "echo out; echo err >&2; sh -c 'i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done'",
            &Stop::new(),
        );
        let finished = job.run().unwrap();
        assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("out\n", "err\n"));
        assert!(finished.cpu_s > 0.0 && finished.elapsed_s > 0.0 && finished.resident_peak_bytes > 0);
    }

    #[test]
    fn a_failure_is_told_in_the_processs_own_words() {
        let (_folder, job) = shell("echo no such thing >&2; exit 7", &Stop::new());
        let error = job.run().err().unwrap().to_string();
        assert_eq!(error, "sh gave exit code 7: no such thing");
    }

    #[test]
    fn nothing_outlives_its_limit_or_the_stop() {
        let (_folder, job) = shell("sleep 60 & echo $!; sleep 60", &Stop::new());
        let mut running = job.start().unwrap();
        running.deadline = Instant::now() + Duration::from_millis(200);
        let output = running.stdout.clone();
        assert!(running.wait().err().unwrap().to_string().contains("did not end"));
        let grandchild = fs::read_to_string(output).unwrap();
        // A process that was killed goes when it is scheduled again, which a busy machine may delay.
        let gone = || {
            let state = fs::read_to_string(format!("/proc/{}/stat", grandchild.trim())).unwrap_or_default();
            state.is_empty() || state.contains(") Z")
        };
        let patience = Instant::now() + Duration::from_secs(10);
        while !gone() && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(gone(), "the grandchild {grandchild} lives on");

        let stop = Stop::new();
        let (_folder, job) = shell("sleep 60", &stop);
        stop.raise();
        assert_eq!(job.run().err().unwrap().to_string(), "interrupted");
    }

    #[test]
    fn a_server_ends_at_a_signal() {
        let (_folder, job) =
            shell("trap 'echo bye; exit 0' TERM; while :; do sleep 0.01; done", &Stop::new());
        let running = job.start().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        running.check_alive().unwrap();
        assert_eq!(running.finish(libc::SIGTERM).unwrap().succeeded().unwrap().stdout, "bye\n");
    }
}
