//! The journal: every finished trial is one line, synced before the next begins. Nothing is ever
//! changed in it; summary and report are made from it alone.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use plan::Cell;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::outcome::Outcome;

/// Version of the journal's lines.
pub const SCHEMA_VERSION: u32 = 2;
/// Name of the file in a results folder.
pub const FILE_NAME: &str = "journal.jsonl";

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    /// The first line.
    Header(Box<Header>),
    /// One trial.
    Trial(Box<Trial>),
    /// A later session goes on here.
    Resumed(Resumed),
}

/// Where a later session took up an interrupted matrix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Resumed {
    /// When, in nanoseconds since 1970-01-01 UTC.
    pub started_wall_ns: u64,
    /// Number of the first trial that follows.
    pub sequence: u64,
    /// Boot of the measured machine's kernel, as it names it; null where it is not known.
    #[serde(default)]
    pub boot_id: Option<String>,
}

/// What holds for all trials of a results folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Header {
    /// Version of the journal's lines.
    pub schema: u32,
    /// Version of this program.
    pub version: String,
    /// SHA-256 of `plan.toml` as stored, in hexadecimal.
    pub plan_sha256: String,
    /// Seed of the order.
    pub seed: u64,
    /// When it began, in nanoseconds since 1970-01-01 UTC.
    pub started_wall_ns: u64,
    /// Boot of the measured machine's kernel, as it names it; null where it is not known. A later session can have
    /// another.
    #[serde(default)]
    pub boot_id: Option<String>,
    /// What kind of place this was, in words that belong on every page of a report, such as "network
    /// namespaces on one kernel, no hypervisor".
    pub platform: String,
    /// Facts of the machine (see `meter::host::HostFacts`).
    pub host: Value,
    /// For each domain, the CPUs that it really got, such as `0-1`.
    pub domain_cpus: BTreeMap<String, String>,
    /// Things that a reader must know: shared CPUs, missing rights.
    pub notes: Vec<String>,
    /// SHA-256 of each tool's binary, in hexadecimal.
    pub tools_sha256: BTreeMap<String, String>,
    /// The cells, in the plan's order.
    pub cells: Vec<Cell>,
    /// Trials planned.
    pub trials: u64,
}

/// One execution of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trial {
    /// Its number in the order of execution, from 0.
    pub sequence: u64,
    /// The cell.
    pub cell: Cell,
    /// Which repetition of the cell, from 0.
    pub repetition: u32,
    /// 0, or 1 for the one repetition of an invalid trial.
    pub attempt: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// Where it broke: `attach`, `load`, `proof`, `probe`, `stop` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Why it is not `completed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it began, in nanoseconds since 1970-01-01 UTC.
    pub started_wall_ns: u64,
    /// How long all of it took, in seconds: attaching, starting the load, proving it, measuring, stopping.
    pub wall_s: f64,
    /// How long the probe ran, in seconds, precondition included.
    pub probe_s: f64,
    /// Where `wall_s` went, in seconds by stage: `attach` (the domains checked, the device switched), `load`
    /// (started), `proof` (proved and fallen silent), `start` (the probe, until it is ready), `probe` (from
    /// `go` to its end), `stop` (the loads, until their summaries are here). A name with a dot is a part of
    /// the stage before the dot, such as `attach.switch`. A broken trial has the stages that it reached; the
    /// one that broke it has what came after too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stages_s: BTreeMap<String, f64>,
    /// When the platform was asked whether the measured domain still runs, in seconds since `go`: a probe
    /// took several times longer than others before it. Questions to the host, none to the measured domain,
    /// but within the measurement. Missing in nearly every trial.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looked_at_s: Vec<f64>,
    /// The probe's numbers by the names of the plan's metrics. What the probe could not tell is missing.
    pub metrics: BTreeMap<String, f64>,
    /// What was counted as interrupts.
    pub interrupt_sources: Vec<String>,
    /// What the loads proved.
    pub proofs: Vec<Proof>,
    /// What the platform counted of the domains from outside while the probe ran, such as `a.vcpu_s`,
    /// the CPU time that the hypervisor gave to a guest, in seconds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub observed: BTreeMap<String, f64>,
    /// The probe's summary record as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Value>,
}

/// What one part of a load showed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Proof {
    /// Where it ran.
    pub domain: String,
    /// Which tool.
    pub tool: String,
    /// Which number.
    pub key: String,
    /// What it was over the load's run; missing when the tool gave none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<f64>,
    /// What it had to be at least.
    pub required: f64,
}

impl Proof {
    /// Whether the load ran as the plan asks.
    pub fn holds(&self) -> bool {
        self.measured.is_some_and(|measured| measured >= self.required)
    }
}

/// A journal being written; nobody else can write to it meanwhile.
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Starts a journal in `folder` with its header.
    pub fn create(folder: &Path, header: Header) -> Result<Self> {
        let path = folder.join(FILE_NAME);
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(&path)
            .with_context(|| format!("create {}", path.display()))?;
        let mut journal = Self { path, file };
        journal.lock()?;
        journal.append(&Line::Header(Box::new(header)))?;
        Ok(journal)
    }

    /// Opens the journal of an interrupted matrix, and cuts a torn last line off.
    ///
    /// # Errors
    /// When it can't be opened, and while another process writes to it.
    pub fn reopen(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE_NAME);
        let failed = || format!("open {} to go on in it", path.display());
        let file = OpenOptions::new().append(true).open(&path).with_context(failed)?;
        let journal = Self { path: path.clone(), file };
        journal.lock()?;
        let bytes = fs::read(&path).with_context(failed)?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        if whole < bytes.len() {
            journal.file.set_len(whole as u64).with_context(failed)?;
        }
        Ok(journal)
    }

    fn lock(&self) -> Result<()> {
        match self.file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "{} is being written by another `cargo xtask matrix`: let it end first",
                    self.path.display()
                )
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("lock {}", self.path.display()))
            }
        }
    }

    /// Notes that a later session goes on from here.
    pub fn resumed(&mut self, resumed: Resumed) -> Result<()> {
        self.append(&Line::Resumed(resumed))
    }

    /// Appends one trial; it is on the disk when this returns.
    pub fn trial(&mut self, trial: Trial) -> Result<()> {
        self.append(&Line::Trial(Box::new(trial)))
    }

    fn append(&mut self, line: &Line) -> Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        let failed =
            || format!("write {}: free some space; what was finished before is kept", self.path.display());
        let length = self.file.seek(SeekFrom::End(0)).with_context(failed)?;
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        if written.is_err() {
            // A full disk can take half a line; without it the journal stays readable and appendable.
            let _ = self.file.set_len(length);
        }
        written.with_context(failed)
    }
}

/// A journal as read.
#[derive(Clone, Debug)]
pub struct Contents {
    /// Its first line.
    pub header: Header,
    /// The trials, in the order of execution.
    pub trials: Vec<Trial>,
    /// Where later sessions went on.
    pub resumed: Vec<Resumed>,
}

/// Reads the journal of a results folder. A torn last line — the machine went down while it was
/// written — is dropped; a broken line elsewhere is an error with its number.
pub fn read(folder: &Path) -> Result<Contents> {
    let path = folder.join(FILE_NAME);
    let text = fs::read_to_string(&path).with_context(|| {
        format!("read {}; is this a results folder of `cargo xtask matrix`?", path.display())
    })?;
    let mut header = None;
    let (mut trials, mut resumed) = (Vec::new(), Vec::new());
    check_version(&path, text.lines().next().unwrap_or_default())?;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let parsed: Line = match serde_json::from_str(line) {
            Ok(parsed) => parsed,
            Err(_) if !line.ends_with('\n') => break,
            Err(error) => bail!("{}:{}: {error}", path.display(), number + 1),
        };
        match parsed {
            Line::Header(first) if number == 0 => header = Some(*first),
            Line::Trial(trial) => trials.push(*trial),
            Line::Resumed(later) => resumed.push(later),
            Line::Header(_) => bail!("{}:{}: a second header", path.display(), number + 1),
        }
    }
    let Some(header) = header else { bail!("{} has no header line", path.display()) };
    Ok(Contents { header, trials, resumed })
}

/// Refuses the journal of another version before its lines are read: their keys may mean something else.
fn check_version(path: &Path, first: &str) -> Result<()> {
    let version = serde_json::from_str(first).ok().and_then(|first: Value| first.get("schema")?.as_u64());
    match version {
        Some(version) if version != u64::from(SCHEMA_VERSION) => bail!(
            "{} has journal version {version}, this program reads {SCHEMA_VERSION}; make its report with the \
             version of iomatrix that wrote it (the header says which), or measure again",
            path.display()
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{header, trial};

    #[test]
    fn a_torn_last_line_is_dropped_and_a_broken_one_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(folder.path(), header()).unwrap();
        journal.trial(trial(0)).unwrap();
        journal.trial(trial(1)).unwrap();
        let path = folder.path().join(FILE_NAME);
        let whole = fs::read_to_string(&path).unwrap();
        assert!(whole.contains("\"timed-out\""));
        assert_eq!(read(folder.path()).unwrap().trials, [trial(0), trial(1)]);

        fs::write(&path, &whole[..whole.len() - 20]).unwrap();
        assert_eq!(read(folder.path()).unwrap().trials, [trial(0)]);

        fs::write(&path, whole.replacen("\"line\":\"trial\"", "\"line\":\"tiral\"", 1)).unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("journal.jsonl:2"), "{error}");
    }

    #[test]
    fn a_later_session_goes_on_behind_the_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(folder.path(), header()).unwrap();
        journal.trial(trial(0)).unwrap();
        let error = Journal::reopen(folder.path()).err().unwrap().to_string();
        assert!(error.contains("another `cargo xtask matrix`"), "{error}");
        drop(journal);

        let path = folder.path().join(FILE_NAME);
        let torn = fs::read_to_string(&path).unwrap() + "{\"line\":\"tri";
        fs::write(&path, torn).unwrap();
        let mut journal = Journal::reopen(folder.path()).unwrap();
        let resumed = Resumed { started_wall_ns: 9, sequence: 1, boot_id: Some("b".into()) };
        journal.resumed(resumed.clone()).unwrap();
        journal.trial(trial(1)).unwrap();
        let contents = read(folder.path()).unwrap();
        assert_eq!((contents.trials, contents.resumed), (vec![trial(0), trial(1)], vec![resumed]));
    }

    #[test]
    fn a_second_journal_never_replaces_the_first() {
        let folder = tempfile::tempdir().unwrap();
        Journal::create(folder.path(), header()).unwrap();
        assert!(Journal::create(folder.path(), header()).is_err());
    }

    #[test]
    fn a_journal_of_another_version_is_refused_before_its_lines_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        fs::write(&path, "{\"line\":\"header\",\"schema\":1,\"cells\":[\"disk/native/none\"]}\n").unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("journal version 1, this program reads 2"), "{error}");
    }
}
