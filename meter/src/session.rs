//! One measurement from its `start` record to its `summary`: the order that every tool keeps.

use std::{fmt, io};

use serde::Serialize;

use crate::{
    Error, Result, clock,
    control::{Control, Stop},
    host::HostFacts,
    record::{Body, Kind, SCHEMA_VERSION, Sink, Stamp},
    stderr::print_status,
};

/// Name and version of a tool.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// The program's name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// The body of the `start` record.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Start<C> {
    /// The tool's name.
    pub tool: &'static str,
    /// The tool's version.
    pub version: &'static str,
    /// Version of the records' schema.
    pub schema: u32,
    /// What was resolved from the command line: defaults filled in, choices made.
    pub config: C,
    /// When the tool begins after `ready` (`--start-at`), in nanoseconds since 1970-01-01 UTC; `null` for at once.
    pub start_wall_ns: Option<u64>,
    /// The machine.
    pub host: HostFacts,
}

impl<C: fmt::Display> fmt::Display for Start<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.config)
    }
}

/// The body of the `ready` record: nothing but the envelope.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Ready {}

impl fmt::Display for Ready {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

/// The body of the `quiet` record: nothing but the envelope.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Quiet {}

impl fmt::Display for Quiet {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

/// The body of the `error` record.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Failure {
    /// The class of the error.
    pub kind: crate::ErrorKind,
    /// What failed, on what, and what to try.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The body of the `summary` record: the tool's own keys, what was chosen or noticed, and why the
/// result can't be trusted, if so.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Summary<B> {
    /// The tool's own keys.
    #[serde(flatten)]
    pub result: B,
    /// Choices that were left to the tool and things worth knowing; they do not harm the result.
    pub notes: Vec<String>,
    /// Why the result can't be trusted; empty for a valid result, else the exit code is 4.
    pub warnings: Vec<String>,
}

impl<B: fmt::Display> fmt::Display for Summary<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.result)?;
        self.notes.iter().try_for_each(|note| write!(f, "\nnote: {note}"))
    }
}

/// What became of a measurement whose summary was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A valid result. Exit code 0.
    Valid,
    /// Finished, but the result can't be trusted. Exit code 4.
    Untrusted,
}

/// A tool's way to tell what it does, in the order that controllers rely on: [`Session::start`],
/// [`Session::ready`], samples, [`Session::summary`].
pub struct Session<'a> {
    tool: Tool,
    sink: &'a mut dyn Sink,
    control: &'a Control,
    dry_run: bool,
    /// Whether samples are held back, and the controller knows it.
    quiet: bool,
    verdict: Verdict,
    start_wall_ns: Option<u64>,
}

/// Longest sleep before the stop flag and the wall clock are read again, in nanoseconds.
const START_CHECK_NS: u64 = 50_000_000;

impl<'a> Session<'a> {
    /// A session that tells `sink` and listens to `control`; with `dry_run` it ends after `start`.
    pub fn new(tool: Tool, sink: &'a mut dyn Sink, control: &'a Control, dry_run: bool) -> Self {
        Self { tool, sink, control, dry_run, quiet: false, verdict: Verdict::Valid, start_wall_ns: None }
    }

    /// The stop flag, to hand to workers.
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.control.stop()
    }

    /// Sets the time of day, in nanoseconds since 1970-01-01 UTC, that [`Session::ready`] waits for.
    pub fn start_at(&mut self, wall_ns: Option<u64>) {
        self.start_wall_ns = wall_ns;
    }

    /// Gives the `start` record; the result says whether to go on (not after `--dry-run`).
    ///
    /// # Errors
    /// When the record can't be written.
    pub fn start(&mut self, config: &(impl Serialize + fmt::Display)) -> Result<bool> {
        let Tool { name, version } = self.tool;
        let host = HostFacts::collect();
        let start_wall_ns = self.start_wall_ns;
        let start = Start { tool: name, version, schema: SCHEMA_VERSION, config, start_wall_ns, host };
        self.tell(Kind::Start, &start)?;
        Ok(!self.dry_run)
    }

    /// Gives the `ready` record, waits for `go` under `--controlled`, and then, asleep, for the time of
    /// `--start-at`. When the result is `false` the controller is gone or a signal came: the stop flag is
    /// raised, and the tool does no work but still gives its summary.
    ///
    /// # Errors
    /// When the record can't be written.
    pub fn ready(&mut self) -> Result<bool> {
        Ok(self.ready_ahead(0)?.is_some())
    }

    /// As [`Session::ready`], but returns `lead_ns` nanoseconds before the start and gives its time
    /// (CLOCK_MONOTONIC), so that threads can be awake by then. A start time that has passed is now: a
    /// controller that says `go` after it wants the work all the same. `None` when there is to be no work.
    ///
    /// # Errors
    /// When the record can't be written.
    pub fn ready_ahead(&mut self, lead_ns: u64) -> Result<Option<u64>> {
        self.tell(Kind::Ready, &Ready {})?;
        let go = self.control.wait_for_go();
        // Told before `go`, the order needs no answer: the controller knows what came first.
        self.quiet = self.control.wants_quiet();
        Ok(if go { self.wait_for_start(lead_ns) } else { None })
    }

    fn wait_for_start(&self, lead_ns: u64) -> Option<u64> {
        let stop = self.stop();
        while !stop.is_raised() {
            let now_ns = clock::now_ns();
            // Read each time: the wall clock may be set while this waits.
            let ahead_ns = self.start_wall_ns.map_or(0, |wall_ns| wall_ns.saturating_sub(clock::wall_ns()));
            match ahead_ns.checked_sub(lead_ns) {
                None | Some(0) if ahead_ns > 0 => return Some(now_ns + ahead_ns),
                None | Some(0) => return Some(now_ns + lead_ns),
                Some(left_ns) => {
                    // A signal ends the sleep early, and the loop sees its flag.
                    let _: io::Result<()> = clock::sleep_until_ns(now_ns + left_ns.min(START_CHECK_NS));
                }
            }
        }
        None
    }

    /// Gives one sample. After the controller's line `quiet` it is dropped, and what it told is in the
    /// summary only; the first one that is dropped leaves the `quiet` record in its place.
    ///
    /// # Errors
    /// When the record can't be written.
    pub fn sample(&mut self, sample: &impl Body) -> Result<()> {
        match (self.quiet, self.control.wants_quiet()) {
            (true, _) => Ok(()),
            (false, true) => {
                self.quiet = true;
                self.tell(Kind::Quiet, &Quiet {})
            }
            (false, false) => self.tell(Kind::Sample, sample),
        }
    }

    /// Gives the summary. `warnings` say why the result can't be trusted and make the exit code 4;
    /// people read them on standard error.
    ///
    /// # Errors
    /// When the record can't be written.
    pub fn summary(
        &mut self,
        result: &(impl Serialize + fmt::Display),
        notes: Vec<String>,
        warnings: Vec<String>,
    ) -> Result<()> {
        for warning in &warnings {
            print_status(format_args!("{}: warning: {warning}", self.tool.name));
        }
        if !warnings.is_empty() {
            self.verdict = Verdict::Untrusted;
        }
        self.tell(Kind::Summary, &Summary { result, notes, warnings })
    }

    /// Gives the `error` record; text for people goes to standard error instead.
    ///
    /// # Errors
    /// When the record can't be written.
    pub fn failure(&mut self, error: &Error) -> Result<()> {
        self.tell(Kind::Error, &Failure { kind: error.kind(), message: error.full_text() })
    }

    /// What became of the measurement so far.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    fn tell(&mut self, kind: Kind, body: &dyn Body) -> Result<()> {
        self.sink.record(kind, Stamp::now(), body).map_err(|error| {
            // Workers that nobody could hear of would else run on to the end of their time.
            self.control.stop().raise();
            Error::system("write a record to standard output", error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct FullDisk;

    impl Sink for FullDisk {
        fn record(&mut self, _: Kind, _: Stamp, _: &dyn Body) -> io::Result<()> {
            Err(io::Error::from_raw_os_error(libc::ENOSPC))
        }
    }

    #[test]
    fn a_record_that_can_not_be_written_ends_everybody() {
        let (control, mut sink) = (Control::detached(), FullDisk);
        let mut session = Session::new(Tool { name: "t", version: "0" }, &mut sink, &control, false);
        assert!(!session.stop().is_raised());
        let error = session.ready().unwrap_err();
        assert!(error.full_text().contains("No space left"), "{error}");
        assert!(session.stop().is_raised());
    }

    #[test]
    fn a_session_waits_for_the_time_of_day_it_was_given() {
        let (control, mut sink) = (Control::detached(), crate::record::MemorySink::default());
        let mut session = Session::new(Tool { name: "t", version: "0" }, &mut sink, &control, false);
        let wall_ns = clock::wall_ns() + 30_000_000;
        session.start_at(Some(wall_ns));
        assert!(session.ready().unwrap());
        assert!(clock::wall_ns() >= wall_ns);

        let wall_ns = clock::wall_ns() + 40_000_000;
        session.start_at(Some(wall_ns));
        let start_ns = session.ready_ahead(20_000_000).unwrap().unwrap();
        let wall_ahead_ns = clock::wall_ns() - clock::now_ns();
        assert!(start_ns.abs_diff(wall_ns - wall_ahead_ns) < 1_000_000, "the start is that time of day");

        let early = clock::now_ns();
        session.start_at(Some(1));
        assert!(session.ready_ahead(5_000_000).unwrap().unwrap() >= early + 5_000_000, "passed: now");

        session.start_at(Some(clock::wall_ns() + 3_600 * clock::SECOND_NS));
        session.stop().raise();
        assert!(!session.ready().unwrap());
    }
}
