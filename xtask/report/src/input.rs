//! What a results folder holds: the plan and the journal, and views of them.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};

use super::number::utc;
use plan::{Cell, MetricSpec, Plan, ProbeSpec};
use results::{
    facts,
    journal::{self, Contents, Facts, Header, Resumed, Trial},
};
use serde_json::Value;
use stats::series::Run;

/// A results folder as read.
pub struct Input {
    /// The plan as stored.
    pub plan: Plan,
    /// The journal's first line.
    pub header: Header,
    /// The trials, in the order of execution.
    pub trials: Vec<Trial>,
    /// Sequence numbers with which sessions begin, each with the number of its boot, from 0.
    boots: Vec<(u64, u32)>,
    /// Places in `trials` of each cell's.
    by_cell: BTreeMap<Cell, Vec<usize>>,
    /// The header's notes, and what reading the folder adds to them.
    pub notes: Vec<String>,
    /// Facts of each domain that tools ran in, as they were first.
    pub facts: BTreeMap<String, Value>,
}

impl Input {
    /// Reads `plan.toml` and the journal of `folder`.
    ///
    /// # Errors
    /// When one is missing or can't be read, and when the journal has cells whose probe is not in the plan.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("plan.toml");
        let text = fs::read_to_string(&path).with_context(|| {
            format!("read {}; is this a results folder of `cargo xtask matrix`?", path.display())
        })?;
        // First: a journal of another version says so, and its plan may be of another form too.
        let contents = journal::read(folder)?;
        let plan: Plan =
            toml::from_str(&text).with_context(|| format!("read the plan {}", path.display()))?;
        let mut notes = contents.header.notes.clone();
        if tools::sha256(text.as_bytes()) != contents.header.plan_sha256 {
            notes.push(
                "plan.toml was changed after the matrix ran: names, units and costs may not fit.".into(),
            );
        }
        notes.extend(contents.notes.iter().cloned());
        notes.extend(contents.resumed.iter().map(later_session));
        let mut facts = BTreeMap::new();
        for Facts { domain, host } in &contents.facts {
            notes.extend(facts.get(domain).and_then(|first| changed_facts(domain, first, host)));
            facts.entry(domain.clone()).or_insert_with(|| host.clone());
        }
        let boots = boots(&contents.header, &contents.resumed);
        let mut by_cell: BTreeMap<Cell, Vec<usize>> = BTreeMap::new();
        for (place, trial) in contents.trials.iter().enumerate() {
            by_cell.entry(trial.cell.clone()).or_default().push(place);
        }
        let Contents { header, trials, .. } = contents;
        let input = Self { plan, header, trials, boots, by_cell, notes, facts };
        for cell in input.cells() {
            let probe = input.plan.probes.get(&cell.probe);
            let spec = probe.with_context(|| {
                format!("{}: no probe {:?}, which the journal has", path.display(), cell.probe)
            })?;
            spec.metrics
                .first()
                .with_context(|| format!("{}: probe {:?} has no metric", path.display(), cell.probe))?;
        }
        Ok(input)
    }

    /// The cells, in the plan's order.
    pub fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.header.cells.iter()
    }

    /// The trials of one cell.
    pub fn trials_of(&self, cell: &Cell) -> impl Iterator<Item = &Trial> {
        self.by_cell.get(cell).into_iter().flatten().map(|&place| &self.trials[place])
    }

    /// One number per completed trial of a cell, where the probe gave it.
    pub fn runs(&self, cell: &Cell, metric: &str) -> Vec<f64> {
        self.completed(cell).filter_map(|trial| trial.metrics.get(metric).copied()).collect()
    }

    /// The completed trials of one cell that have this number, with their boot and block.
    pub fn series(&self, cell: &Cell, metric: &str) -> Vec<Run> {
        self.completed(cell)
            .filter_map(|trial| {
                let value = *trial.metrics.get(metric)?;
                Some(Run { boot: self.boot(trial), block: trial.repetition, value })
            })
            .collect()
    }

    /// The boot that a trial ran in, from 0.
    pub fn boot(&self, trial: &Trial) -> u32 {
        let session = self.boots.partition_point(|(sequence, _)| *sequence <= trial.sequence);
        session.checked_sub(1).map_or(0, |session| self.boots[session].1)
    }

    /// How many boots the trials ran in.
    pub fn boot_count(&self) -> usize {
        self.boots.iter().map(|(_, boot)| boot + 1).max().unwrap_or(1) as usize
    }

    /// The completed trials of one cell.
    pub fn completed(&self, cell: &Cell) -> impl Iterator<Item = &Trial> {
        self.trials_of(cell).filter(|trial| trial.outcome.counts())
    }

    /// The attachment that others are compared with.
    pub fn baseline(&self) -> Option<&str> {
        self.plan.attachments.iter().find(|(_, spec)| spec.baseline).map(|(name, _)| name.as_str())
    }

    /// The load that has no parts.
    pub fn idle(&self) -> Option<&str> {
        self.plan.loads.iter().find(|(_, spec)| spec.parts.is_empty()).map(|(name, _)| name.as_str())
    }

    /// The same cell without load; `None` for one that has none.
    pub fn unloaded(&self, cell: &Cell) -> Option<Cell> {
        let idle = self.idle().filter(|idle| *idle != cell.load)?;
        Some(Cell::new(&cell.probe, &cell.attachment, idle))
    }

    /// Of the cells for which `exists` holds, the one to compare `cell` with: the baseline attachment
    /// under the same load, else without load.
    pub fn compared_with(&self, cell: &Cell, exists: impl Fn(&Cell) -> bool) -> Option<Cell> {
        if cell.arm.is_some() {
            // Another arm is compared with the cell that it is an arm of.
            return Some(Cell { arm: None, ..cell.clone() }).filter(|own| exists(own));
        }
        let baseline = self.baseline()?;
        if cell.attachment == baseline {
            return None;
        }
        [Some(cell.load.as_str()), self.idle()]
            .into_iter()
            .flatten()
            .map(|load| Cell::new(&cell.probe, baseline, load))
            .find(|other| exists(other))
    }
}

/// The metric that counts a probe's interrupts.
pub fn interrupts_metric(probe: &ProbeSpec) -> Option<&str> {
    match &probe.cost {
        Some(cost) => Some(&cost.interrupts),
        None => probe.metrics.iter().map(|metric| metric.name.as_str()).find(|name| *name == "interrupts"),
    }
}

/// The metric of a probe that a published elapsed time or goodput is about.
pub fn published_metric(probe: &ProbeSpec) -> Option<&MetricSpec> {
    let named = |name: &str| probe.metrics.iter().find(|metric| metric.name == name);
    let main = probe.metrics.first()?;
    match main.unit.as_str() {
        "s" | "bits/s" => Some(main),
        _ => probe
            .metrics
            .iter()
            .find(|metric| metric.unit == "bits/s")
            .or_else(|| named(&probe.cost.as_ref()?.elapsed)),
    }
}

/// Where sessions begin, and in which boot: a boot is another where its id is, and one that is not known is the
/// one before.
fn boots(header: &Header, resumed: &[Resumed]) -> Vec<(u64, u32)> {
    let mut known: Vec<&String> = Vec::new();
    let mut now = 0;
    let sessions = [(0, &header.boot_id)].into_iter().chain(resumed.iter().map(|r| (r.sequence, &r.boot_id)));
    sessions
        .map(|(sequence, id)| {
            if let Some(id) = id {
                now = known.iter().position(|other| *other == id).unwrap_or(known.len());
                if now == known.len() {
                    known.push(id);
                }
            }
            (sequence, now as u32)
        })
        .collect()
}

/// What a reader must know of a domain that was not the same machine all the time, if so.
fn changed_facts(domain: &str, first: &Value, later: &Value) -> Option<String> {
    let changes = facts::differences(first, later);
    let changes: Vec<_> =
        changes.iter().map(|(name, before, after)| format!("{name}: {before} -> {after}")).collect();
    let changes = changes.join("; ");
    (!changes.is_empty()).then(|| format!("The machine of {domain} changed during the matrix: {changes}."))
}

/// What a reader must know of a session that went on with an interrupted matrix.
fn later_session(resumed: &Resumed) -> String {
    format!(
        "The matrix was interrupted: its trials from number {} on were measured in a session that began at {}.",
        resumed.sequence + 1,
        utc(resumed.started_wall_ns),
    )
}
