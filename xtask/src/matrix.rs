//! `cargo xtask matrix`: from the plan to the report.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use meter::{clock, control::Control, control::Stop, host::HostFacts};

use crate::{
    args::{LabKind, MatrixArgs},
    journal::{self, Header, Journal, Outcome, Trial},
    lab,
    plan::{self, Cell, Overrides, Plan},
    platform::{self, Platform},
    progress::Progress,
    report, results,
    schedule::{self, Slot},
    tools::{self, Binaries},
    trial::{Lab, Place},
};

/// Runs the command; gives the exit code.
pub fn run(args: &MatrixArgs) -> Result<u8> {
    let overrides = Overrides {
        only: args.only.clone(),
        skip: args.skip.clone(),
        repetitions: args.repetitions,
        seed: args.seed,
    };
    let mut plan = plan::load(&args.plan_path(), &overrides)
        .map_err(|error| meter::Error::bad_arguments(format!("{error:#}")))?;
    let cells = plan::expand(&plan)?;
    let order = schedule::order(cells.len(), plan.repetitions, plan.seed);
    if args.dry_run {
        print!("{}", crate::dry_run::describe(&plan, &cells, &order));
        return Ok(0);
    }
    let binaries = args.binaries.as_deref().map_or_else(tools::build, Binaries::find)?;
    platform::namespaces::become_root_if_possible();
    // Dropped last: the platform puts everything back before its machines end.
    let _lab = args.lab.map(|LabKind::Xen| lab::Session::open(&mut plan)).transpose()?;
    let control = Control::install(false)?;
    let folder = results::create(&args.results, &plan.name)?;
    let executed = execute_in(&folder, &plan, &cells, &order, &binaries, &control.stop());
    let Some(tally) = executed.inspect_err(|_| results::remove_if_unused(&folder))? else {
        results::remove_unmeasured(&folder);
        return Ok(EXIT_STOPPED);
    };
    results::point_latest(&args.results, &folder)?;
    report_again(&folder)?;
    Ok(tally.exit_code(control.stop().is_raised()))
}

/// Columns of the terminal's tables: every column is shown, also where a narrow terminal wraps lines.
const WHOLE_TABLE: usize = 400;

/// Makes summary and report from the journal of `folder`, and shows the tables.
pub fn report_again(folder: &Path) -> Result<u8> {
    let made = report::make(folder)?;
    let page = folder.join("report/index.html");
    let told = writeln!(io::stdout(), "{}\nreport: {}", report::terminal(&made, WHOLE_TABLE), page.display());
    match told {
        // A pager that was left is no failure: the report is on the disk.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        told => told.map(|()| 0).context("write to standard output"),
    }
}

/// What a shell expects of a command that Ctrl-C ended.
const EXIT_STOPPED: u8 = 130;

/// How the trials ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Trials whose outcome is final and good.
    pub completed: u64,
    /// Cells' trials that can't run here.
    pub skipped: u64,
    /// Final trials of any other outcome.
    pub spoiled: u64,
}

impl Tally {
    fn exit_code(self, stopped: bool) -> u8 {
        match self {
            _ if stopped => EXIT_STOPPED,
            Self { spoiled: 1.., .. } => meter::error::EXIT_UNTRUSTED,
            Self { completed: 0, .. } => meter::ErrorKind::Unavailable.exit_code(),
            _ => 0,
        }
    }

    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Completed => self.completed += 1,
            Outcome::Skipped => self.skipped += 1,
            Outcome::Invalid | Outcome::Failed | Outcome::TimedOut => self.spoiled += 1,
        }
    }
}

/// Prepares the platform, executes, and puts everything back. `None` when the user stopped it before
/// the first trial was finished.
fn execute_in(
    folder: &Path,
    plan: &Plan,
    cells: &[Cell],
    order: &[Slot],
    binaries: &Binaries,
    stop: &Stop,
) -> Result<Option<Tally>> {
    let mut platform = platform::prepare(plan, &binaries.folder, folder)?;
    let header = header(plan, cells, order, &*platform, binaries, folder)?;
    for note in &header.notes {
        eprintln!("note: {note}");
    }
    let mut journal = Journal::create(folder, header)?;
    let mut progress = Progress::new(order.len() as u64);
    let lab = Lab { plan, platform: &mut *platform, stop: stop.clone() };
    let tally = execute(lab, cells, order, &mut journal, &mut progress)?;
    progress.finish();
    Ok((tally != Tally::default()).then_some(tally))
}

/// Stores the resolved plan and describes what is about to happen.
fn header(
    plan: &Plan,
    cells: &[Cell],
    order: &[Slot],
    platform: &dyn Platform,
    binaries: &Binaries,
    folder: &Path,
) -> Result<Header> {
    let text = toml::to_string(plan).context("write the resolved plan")?;
    fs::write(folder.join("plan.toml"), &text)
        .with_context(|| format!("write {}/plan.toml", folder.display()))?;
    Ok(Header {
        schema: journal::SCHEMA_VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        plan_sha256: tools::sha256(text.as_bytes()),
        seed: plan.seed,
        started_wall_ns: clock::wall_ns(),
        platform: platform.label(),
        host: serde_json::to_value(HostFacts::collect())?,
        domain_cpus: platform.domain_cpus(),
        notes: platform.notes(),
        tools_sha256: binaries.sha256.clone(),
        cells: cells.iter().map(Cell::name).collect(),
        trials: order.len() as u64,
    })
}

/// Executes the trials in order, each into the journal before the next. An invalid one is repeated
/// once; both are kept. Ends early, without an error, when the user stops it.
pub fn execute(
    mut lab: Lab<'_>,
    cells: &[Cell],
    order: &[Slot],
    journal: &mut Journal,
    progress: &mut Progress,
) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut sequence = 0;
    for slot in order {
        let cell = &cells[slot.cell];
        progress.begin(&cell.name(), slot.repetition);
        for attempt in 0..2 {
            if lab.stop.is_raised() {
                return Ok(tally);
            }
            let place = Place { sequence, repetition: slot.repetition, attempt };
            let Some(trial) = lab.execute(cell, place) else { return Ok(tally) };
            sequence += 1;
            let again = trial.outcome == Outcome::Invalid && attempt == 0;
            report_trouble(&trial, progress);
            let outcome = trial.outcome;
            journal.trial(trial)?;
            if !again {
                tally.count(outcome);
                break;
            }
        }
        progress.advance();
    }
    Ok(tally)
}

/// Tells at once what went wrong; skipped cells are in the report.
fn report_trouble(trial: &Trial, progress: &Progress) {
    if let (Outcome::Invalid | Outcome::Failed | Outcome::TimedOut, Some(reason)) =
        (trial.outcome, &trial.reason)
    {
        let stage = trial.stage.as_deref().unwrap_or("trial");
        progress.say(&format!("{} {} at {stage}: {reason}", trial.cell, trial.outcome.name()));
    }
}

/// Where plans are.
pub fn plans_folder() -> PathBuf {
    tools::workspace().join("plans")
}
