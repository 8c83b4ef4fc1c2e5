//! `cargo xtask matrix`: from the plan to the report.

use std::{
    io::{self, Write},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result};
use domain::{RunContext, Stopped};
use meter::{clock, control::Control, host::HostFacts, stderr::print_status};

use crate::args::MatrixArgs;
use crate::progress::Progress;
use crate::resume;
use crate::trial::{Expected, Lab, Place};
use plan::schedule::{self, Slot};
use plan::{Cell, Overrides, Plan};
use platform::{Kind, Platform, Registry};
use results::{
    Retry,
    facts::Seen,
    journal::{self, Contents, Header, Journal, Resumed, Trial},
    outcome::{Counts, Effect, Outcome},
};
use tools::Binaries;

/// A plan, and what of it is to be done.
struct Work {
    plan: Plan,
    cells: Vec<Cell>,
    order: Vec<Slot>,
    /// What an earlier session left, where this one goes on with it.
    earlier: Option<Contents>,
    /// What is tried again of that.
    retry: Retry,
}

impl Work {
    fn new(plan: Plan, earlier: Option<Contents>, retry: Retry) -> Result<Self> {
        let cells = plan::expand(&plan)?;
        let mut order = schedule::order(cells.len(), plan.repetitions, plan.seed);
        if let Some(earlier) = &earlier {
            order = results::remaining(&order, &cells, &earlier.trials, retry);
        }
        Ok(Self { plan, cells, order, earlier, retry })
    }

    /// From the command line: the plan with what overrides it, or an interrupted matrix.
    fn from_args(args: &MatrixArgs, registry: &Registry, lab: Option<&dyn platform::Lab>) -> Result<Self> {
        if let Some(folder) = &args.resume {
            let (plan, earlier) = resume::pick_up(folder, registry)?;
            let retry = if args.retry_failed { Retry::Failed } else { Retry::Nothing };
            return Self::new(plan, earlier, retry);
        }
        let overrides = Overrides {
            only: args.only.clone(),
            skip: args.skip.clone(),
            repetitions: args.repetitions,
            seed: args.seed,
        };
        let plan = registry
            .load(&args.plan_path(lab), &overrides)
            .map_err(|error| meter::Error::bad_arguments(format!("{error:#}")))?;
        Self::new(plan, None, Retry::Nothing)
    }

    /// How long the probes of earlier sessions took.
    fn expected(&self) -> Expected {
        let mut expected = Expected::default();
        let trials = self.earlier.iter().flat_map(|earlier| &earlier.trials);
        for trial in trials.filter(|trial| trial.outcome.counts()) {
            expected.learn(&trial.cell, trial.probe_s);
        }
        expected
    }

    /// The trials that earlier sessions brought to an end.
    fn finished(&self) -> Counts {
        let earlier = self.earlier.as_ref();
        earlier.map(|earlier| results::finished(&earlier.trials, self.retry)).unwrap_or_default()
    }

    /// The facts of domains that the journal has.
    fn seen(&self) -> Seen {
        self.earlier.as_ref().map(Seen::of).unwrap_or_default()
    }
}

/// Runs the command; gives the exit code.
pub fn run(args: &MatrixArgs, registry: &Registry) -> Result<u8> {
    let lab = args.lab.as_deref().map(|name| registry.lab(name)).transpose()?;
    let mut work = Work::from_args(args, registry, lab)?;
    if args.dry_run {
        print!("{}", crate::dry_run::describe(&work.plan, &work.cells, &work.order));
        return Ok(0);
    }
    if let (Some(folder), []) = (&args.resume, &*work.order) {
        let finished = work.finished();
        let failed = finished.of(Outcome::Failed);
        let again = if failed > 0 { "; to try what failed again: --retry-failed" } else { "" };
        print_status(format_args!("note: every trial of {} is finished{again}", folder.display()));
        report_again(folder)?;
        return Ok(exit_code(finished, false));
    }
    let binaries = args.binaries.as_deref().map_or_else(tools::build, Binaries::find)?;
    let kind = registry.of(&work.plan)?;
    kind.before_threads();
    // Dropped last: the platform puts everything back before its machines end.
    let session = lab.map(|lab| lab.open(&mut work.plan)).transpose()?;
    let control = Control::install(false)?;
    let folder = match &args.resume {
        Some(folder) => folder.canonicalize().with_context(|| format!("find {}", folder.display()))?,
        None => results::folder::create(&args.results, &work.plan.name)?,
    };
    let is_new = args.resume.is_none();
    let context = RunContext { binaries: Arc::new(binaries), stop: control.stop() };
    let executed = execute_in(&folder, &work, kind, &context);
    if is_new && executed.is_err() {
        results::folder::remove_if_unused(&folder);
    }
    if executed.as_ref().is_err_and(anyhow::Error::is::<Stopped>) {
        print_status(format_args!("stopped before the first trial"));
        return Ok(EXIT_STOPPED);
    }
    let (tally, lost) = executed?;
    let stopped = control.stop().is_raised();
    let measured = tally != Counts::default() || work.earlier.is_some();
    if measured {
        let reported = report_again(&folder);
        // Without the link the result is whole, and this is how to find it.
        if let Err(error) = results::folder::point_latest(&folder) {
            print_status(format_args!("note: {error:#}; the result is in {}", folder.display()));
        }
        reported?;
    } else if is_new {
        results::folder::remove_unmeasured(&folder);
    }
    let in_lab = lab.map(|lab| format!(" --lab {}", lab.name())).unwrap_or_default();
    let go_on = if measured {
        format!("; to go on: cargo xtask matrix{in_lab} --resume {}", folder.display())
    } else {
        String::new()
    };
    if let (Some(why), false) = (lost, stopped) {
        let lab = session.as_ref().and_then(|session| session.ended()).map(|lab| format!(" ({lab})"));
        let message = format!("stopped: {why}{}{go_on}", lab.unwrap_or_default());
        return Err(meter::Error::unavailable(message).into());
    }
    if stopped && measured {
        print_status(format_args!("stopped{go_on}"));
    }
    Ok(if measured { exit_code(tally, stopped) } else { EXIT_STOPPED })
}

/// Columns of the terminal's tables: every column is shown, also where a narrow terminal wraps lines.
const WHOLE_TABLE: usize = 400;

/// Makes summary and report from the journal of `folder`, and shows the tables.
pub fn report_again(folder: &Path) -> Result<u8> {
    let made = report::make(folder)?;
    let page = folder.join("report/index.html");
    let told = writeln!(io::stdout(), "{}\nreport: {}", report::terminal(&made, WHOLE_TABLE), page.display());
    match told {
        // A pager that was left or a terminal that was closed is no failure: the report is on the disk.
        Err(error)
            if error.kind() == io::ErrorKind::BrokenPipe || error.raw_os_error() == Some(libc::EIO) =>
        {
            Ok(0)
        }
        told => told.map(|()| 0).context("write to standard output"),
    }
}

/// What a shell expects of a command that Ctrl-C ended.
const EXIT_STOPPED: u8 = 130;

/// The exit code of a matrix whose trials ended so.
fn exit_code(tally: Counts, stopped: bool) -> u8 {
    match tally {
        _ if stopped => EXIT_STOPPED,
        tally if tally.with(Effect::Spoils) > 0 => meter::error::EXIT_UNTRUSTED,
        tally if tally.with(Effect::Succeeds) == 0 => meter::ErrorKind::Unavailable.exit_code(),
        _ => 0,
    }
}

/// Prepares the platform, executes, and puts everything back. Counts what earlier sessions finished too;
/// tells why the platform was lost, if it was.
fn execute_in(
    folder: &Path,
    work: &Work,
    kind: &dyn Kind,
    context: &RunContext,
) -> Result<(Counts, Option<String>)> {
    // Before anything in the folder is touched: nobody else may be at work in it.
    let reopened = work.earlier.as_ref().map(|earlier| Journal::reopen(folder, earlier)).transpose()?;
    let text = toml::to_string(&work.plan).context("write the resolved plan")?;
    if reopened.is_none() {
        // Before the platform makes anything: whatever ends this, the matrix can begin again from it.
        results::folder::store_plan(folder, &text)?;
    }
    let mut platform = kind.prepare(&work.plan, context, folder)?;
    let mut header = header(work, &*platform, &context.binaries)?;
    for note in &header.notes {
        print_status(format_args!("note: {note}"));
    }
    let (mut journal, sequence) = match (reopened, &work.earlier) {
        (Some(journal), Some(earlier)) => go_on(journal, earlier, &header)?,
        _ => {
            header.plan_sha256 = tools::sha256(text.as_bytes());
            (Journal::begin(folder, header)?, 0)
        }
    };
    let mut progress = Progress::new(work.order.len() as u64);
    let expected = work.expected();
    let stop = context.stop.clone();
    let lab = Lab { plan: &work.plan, platform: &mut *platform, stop, expected, seen: work.seen().into() };
    let start = Start { sequence, tally: work.finished() };
    let tally = execute(lab, &work.cells, &work.order, start, &mut journal, &mut progress)?;
    progress.finish();
    Ok((tally, platform.lost().map(str::to_owned)))
}

/// Goes on in the journal of an earlier session, with the trial of the number given.
fn go_on(mut journal: Journal, earlier: &Contents, now: &Header) -> Result<(Journal, u64)> {
    resume::check_same(&earlier.header, now)?;
    let sequence = earlier.trials.last().map_or(0, |trial| trial.sequence + 1);
    let boot_id = now.boot_id.clone();
    journal.resumed(Resumed { started_wall_ns: now.started_wall_ns, sequence, boot_id })?;
    Ok((journal, sequence))
}

/// Describes what is about to happen, and where.
fn header(work: &Work, platform: &dyn Platform, binaries: &Binaries) -> Result<Header> {
    Ok(Header {
        schema: journal::SCHEMA_VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        plan_sha256: String::new(),
        seed: work.plan.seed,
        started_wall_ns: clock::wall_ns(),
        boot_id: platform.boot_id(),
        platform: platform.label(),
        host: serde_json::to_value(HostFacts::collect())?,
        domain_cpus: platform.domain_cpus(),
        notes: platform.notes(),
        tools_sha256: binaries.sha256(),
        cells: work.cells.clone(),
        trials: work.order.len() as u64,
    })
}

/// Where an execution begins to count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start {
    /// Number of its first trial.
    pub sequence: u64,
    /// What earlier sessions brought to an end.
    pub tally: Counts,
}

/// Executes the trials in order, each into the journal before the next. One whose outcome is not
/// final is repeated; all are kept. Ends early, without an error, when the user stops it or the platform is lost.
pub fn execute(
    mut lab: Lab<'_>,
    cells: &[Cell],
    order: &[Slot],
    start: Start,
    journal: &mut Journal,
    progress: &mut Progress,
) -> Result<Counts> {
    let Start { mut sequence, mut tally } = start;
    for slot in order {
        let cell = &cells[slot.cell];
        progress.begin(&cell.name(), slot.repetition);
        for attempt in slot.attempt.. {
            if lab.stop.is_raised() {
                return Ok(tally);
            }
            let place = Place { sequence, repetition: slot.repetition, attempt };
            let Some(trial) = lab.execute(cell, place) else { return Ok(tally) };
            sequence += 1;
            let again = !trial.outcome.is_final(attempt);
            report_trouble(&trial, progress);
            let outcome = trial.outcome;
            for facts in lab.seen.get_mut().take_new() {
                journal.facts(facts)?;
            }
            journal.trial(trial)?;
            if !again {
                tally.add(outcome);
                break;
            }
        }
        progress.advance();
    }
    Ok(tally)
}

/// Tells at once what went wrong; skipped cells are in the report.
fn report_trouble(trial: &Trial, progress: &Progress) {
    if let (Effect::Spoils, Some(reason)) = (trial.outcome.rule().effect, &trial.reason) {
        let stage = trial.stage.as_deref().unwrap_or("trial");
        progress.say(&format!("{} {} at {stage}: {reason}", trial.cell, trial.outcome));
    }
}
