//! The journal: every finished trial is one line, synced before the next begins. Nothing is ever
//! changed in it; summary and report are made from it alone.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use plan::Cell;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::reading::{Contents, read, read_if_begun};
use crate::{outcome::Outcome, reading::whole_lines, replace::sync_folder};

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
    /// The first tool in a domain has told where it runs, or a later one that this has changed.
    Facts(Facts),
}

/// Facts of a domain, before the first trial in which they were seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Facts {
    /// Which domain.
    pub domain: String,
    /// Facts of its machine, from the `start` record of a tool that ran in it (see `meter::host::HostFacts`).
    pub host: Value,
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
    /// Facts of the coordinator's machine (see `meter::host::HostFacts`); those of the domains are in lines `facts`.
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
    /// 0; one more for the one repetition of an invalid trial, and for each time a failed one was tried again.
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
    /// Opens the journal that was read as `contents`. What is torn at its end is cut off, and a last line
    /// without its end gets it.
    ///
    /// # Errors
    /// When it can't be opened, while another process writes to it, and when one has since it was read.
    pub fn reopen(folder: &Path, contents: &Contents) -> Result<Self> {
        let path = folder.join(FILE_NAME);
        let failed = || format!("open {} to go on in it", path.display());
        let file = OpenOptions::new().append(true).open(&path).with_context(failed)?;
        let mut journal = Self { path: path.clone(), file };
        journal.lock()?;
        let bytes = fs::read(&path).with_context(failed)?;
        let whole = whole_lines(&bytes);
        ensure!(
            whole.bytes + usize::from(whole.unended) == contents.whole,
            "another `cargo xtask matrix` went on in {} meanwhile: start this again",
            path.display()
        );
        if whole.bytes < bytes.len() {
            journal.file.set_len(whole.bytes as u64).with_context(failed)?;
        }
        if whole.unended {
            journal.write(b"\n")?;
        }
        Ok(journal)
    }

    /// Begins the journal of `folder` with its header. What is there of an earlier one has no whole header.
    ///
    /// # Errors
    /// When it can't be written, while another process writes to it, and when it has a whole header.
    pub fn begin(folder: &Path, header: Header) -> Result<Self> {
        let path = folder.join(FILE_NAME);
        let failed = || format!("begin {}", path.display());
        let file = OpenOptions::new().append(true).create(true).open(&path).with_context(failed)?;
        let mut journal = Self { path: path.clone(), file };
        journal.lock()?;
        ensure!(
            read_if_begun(folder)?.is_none(),
            "{} is of a matrix that began meanwhile or before: go on with it by --resume",
            path.display()
        );
        journal.file.set_len(0).with_context(failed)?;
        journal.append(&Line::Header(Box::new(header)))?;
        sync_folder(folder).with_context(failed)?;
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

    /// Notes where tools run, before the first trial that saw it.
    pub fn facts(&mut self, facts: Facts) -> Result<()> {
        self.append(&Line::Facts(facts))
    }

    /// Appends one trial; it is on the disk when this returns.
    pub fn trial(&mut self, trial: Trial) -> Result<()> {
        self.append(&Line::Trial(Box::new(trial)))
    }

    fn append(&mut self, line: &Line) -> Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        // A number that JSON does not have would make the whole journal unreadable.
        serde_json::from_slice::<Line>(&bytes).with_context(|| {
            format!("{} would not be readable with {}", self.path.display(), String::from_utf8_lossy(&bytes))
        })?;
        bytes.push(b'\n');
        self.write(&bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let failed =
            || format!("write {}: free some space; what was finished before is kept", self.path.display());
        let length = self.file.seek(SeekFrom::End(0)).with_context(failed)?;
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_data());
        if written.is_err() {
            // A full disk can take half a line; without it the journal stays readable and appendable.
            let _ = self.file.set_len(length);
        }
        written.with_context(failed)
    }
}

#[cfg(test)]
mod tests;
