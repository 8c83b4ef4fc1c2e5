//! Reading a journal, byte by byte: a machine can go down anywhere in a line.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    io::ErrorKind,
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use plan::Cell;
use serde_json::Value;

use crate::journal::{FILE_NAME, Facts, Header, Line, Resumed, SCHEMA_VERSION, Trial};

/// How a journal begins.
const BEGINNING: &[u8] = b"{\"line\":\"header\"";

/// A journal as read.
#[derive(Clone, Debug)]
pub struct Contents {
    /// Its first line.
    pub header: Header,
    /// The trials, in the order of execution, each once.
    pub trials: Vec<Trial>,
    /// Where later sessions went on.
    pub resumed: Vec<Resumed>,
    /// Facts of the domains, in the order in which they were seen. A domain whose facts changed has several.
    pub facts: Vec<Facts>,
    /// What a reader must know of the journal itself.
    pub notes: Vec<String>,
    /// Bytes of its whole lines.
    pub(crate) whole: usize,
}

/// Reads the journal of a results folder. A torn last line — the machine went down while it was
/// written — is dropped; a line that lacks nothing but its end counts.
///
/// # Errors
/// When there is none or it has no whole header. With file and line: a broken line that is not the last, a trial of
/// a cell that the header lacks, and two trials where there can be one.
pub fn read(folder: &Path) -> Result<Contents> {
    let path = folder.join(FILE_NAME);
    let bytes = fs::read(&path).with_context(|| {
        format!("read {}; is this a results folder of `cargo xtask matrix`?", path.display())
    })?;
    let contents = parse(&path, &bytes)?;
    contents.with_context(|| {
        format!(
            "{} has no whole header: nothing was measured; to begin again: cargo xtask matrix --resume {}",
            path.display(),
            folder.display()
        )
    })
}

/// The same, and `None` where the program was ended before a header was written.
///
/// # Errors
/// As those of [`read`].
pub fn read_if_begun(folder: &Path) -> Result<Option<Contents>> {
    let path = folder.join(FILE_NAME);
    match fs::read(&path) {
        Ok(bytes) => parse(&path, &bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

/// How much of a journal is whole lines.
pub(crate) struct Whole {
    /// Bytes of the whole lines; the last may lack its end.
    pub(crate) bytes: usize,
    /// Whether the last lacks its end.
    pub(crate) unended: bool,
}

/// Finds the whole lines in `bytes`. No part of a JSON object is one, so that the last line is whole exactly if
/// it can be parsed.
pub(crate) fn whole_lines(bytes: &[u8]) -> Whole {
    let ended = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
    let unended = ended < bytes.len() && serde_json::from_slice::<Line>(&bytes[ended..]).is_ok();
    Whole { bytes: if unended { bytes.len() } else { ended }, unended }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Option<Contents>> {
    let whole = whole_lines(bytes);
    if whole.bytes == 0 {
        let begins = bytes.len().min(BEGINNING.len());
        let torn = bytes[..begins] == BEGINNING[..begins] || bytes.iter().all(|&byte| byte == 0);
        ensure!(torn, "{} is not a journal of `cargo xtask matrix`", path.display());
        return Ok(None);
    }
    let mut lines = bytes[..whole.bytes].split_inclusive(|&byte| byte == b'\n');
    let first = lines.next().unwrap_or_default();
    check_version(path, first)?;
    let at = |number: usize| format!("{}:{number}", path.display());
    let mut contents = match serde_json::from_slice(first).with_context(|| at(1))? {
        Line::Header(header) => Contents {
            header: *header,
            trials: Vec::new(),
            resumed: Vec::new(),
            facts: Vec::new(),
            notes: Vec::new(),
            whole: whole.bytes + usize::from(whole.unended),
        },
        _ => bail!("{}: the first line is no header", at(1)),
    };
    let mut trials = Trials::of(&contents.header);
    let mut doubled = Vec::new();
    for (number, line) in (2..).zip(lines) {
        let added = match serde_json::from_slice(line).with_context(|| at(number))? {
            Line::Header(header) if *header == contents.header => false,
            Line::Header(_) => bail!("{}: a second header: two journals can't be one", at(number)),
            Line::Trial(trial) => {
                let new = trials.check(number, &trial, &contents.trials).with_context(|| at(number))?;
                if new {
                    contents.trials.push(*trial);
                }
                new
            }
            Line::Resumed(later) => add(&mut contents.resumed, later),
            Line::Facts(facts) => add(&mut contents.facts, facts),
        };
        if !added {
            doubled.push(number.to_string());
        }
    }
    if !doubled.is_empty() {
        contents.notes.push(format!(
            "The journal has lines twice, which count once: number {} of {FILE_NAME}.",
            doubled.join(", ")
        ));
    }
    Ok(Some(contents))
}

/// Adds `one` unless it is there; whether it was added.
fn add<T: PartialEq>(all: &mut Vec<T>, one: T) -> bool {
    let new = !all.contains(&one);
    if new {
        all.push(one);
    }
    new
}

/// What trials there can be, and which there were.
struct Trials {
    cells: HashSet<Cell>,
    /// Line and place in the journal's trials of each by its cell, repetition and attempt.
    seen: BTreeMap<(Cell, u32, u32), (usize, usize)>,
}

impl Trials {
    fn of(header: &Header) -> Self {
        Self { cells: header.cells.iter().cloned().collect(), seen: BTreeMap::new() }
    }

    /// Whether `trial` is new; it is not where its line is there twice.
    fn check(&mut self, number: usize, trial: &Trial, before: &[Trial]) -> Result<bool> {
        ensure!(
            self.cells.contains(&trial.cell),
            "a trial of {}, which is none of the header's cells: this line is of another journal",
            trial.cell
        );
        let key = (trial.cell.clone(), trial.repetition, trial.attempt);
        if let Some(&(line, place)) = self.seen.get(&key) {
            ensure!(
                before[place] == *trial,
                "attempt {} at repetition {} of {} has another result in line {line}: one of them is of another journal",
                trial.attempt,
                trial.repetition,
                trial.cell
            );
            return Ok(false);
        }
        if let Some(last) = before.last() {
            ensure!(
                last.sequence < trial.sequence,
                "trial number {} comes after number {}: lines were moved, or are of another journal",
                trial.sequence,
                last.sequence
            );
        }
        self.seen.insert(key, (number, before.len()));
        Ok(true)
    }
}

/// Refuses the journal of another version before its lines are read: their keys may mean something else.
fn check_version(path: &Path, first: &[u8]) -> Result<()> {
    let version = serde_json::from_slice(first).ok().and_then(|first: Value| first.get("schema")?.as_u64());
    match version {
        Some(version) if version != u64::from(SCHEMA_VERSION) => bail!(
            "{} has journal version {version}, this program reads {SCHEMA_VERSION}; make its report with the \
             version of iomatrix that wrote it (the header says which), or measure again",
            path.display()
        ),
        _ => Ok(()),
    }
}
