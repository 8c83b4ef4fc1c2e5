//! A measurement from its configuration to its summary: target, workers, conductor.

use std::{
    fs,
    sync::{Mutex, OnceLock, PoisonError},
};

use meter::{
    Error, Result,
    crew::{self, Worker as Place},
    session::Session,
    wait::Waiter,
};

use crate::{
    conductor::{Conductor, Rhythm},
    config::{Config, EngineKind, Mode},
    data::{Data, Filler},
    doubts::Doubts,
    engine::Engine,
    filling,
    inspect::{self, FileIdentity, Found},
    latencies,
    outcome::Resolved,
    recording::{self, Recorder},
    ring::{ReadWrite, Ring},
    setup::Granted,
    sync::Sync,
    tally::Tally,
    target::Target,
    work::Work,
    worker::Worker,
    workload::Workload,
};

/// Measures, and tells the session.
///
/// # Errors
/// What prevented a valid result. A failing operation is told after the summary of what was done.
pub fn run(config: &Config, session: &mut Session<'_>) -> Result<()> {
    let seen = inspect::look(config)?;
    let workload = Workload::new(config, &seen.found, seen.facts.alignment_bytes)?;
    check_precondition(config, &seen.found)?;
    check_log(config, seen.identity)?;
    if !session.start(&Resolved { config: config.clone(), target: seen.facts.clone() })? {
        return Ok(());
    }
    let workers = config.placements.len();
    let (recorders, collector) = recording::recorders(workers, config.is_paced(), config.interval_ns);
    let collector = collector.logging(config.hlog.as_deref(), &latencies::NAMES)?;
    let recorders: Vec<_> = recorders.into_iter().map(Mutex::new).collect();
    let target = Target::open(config, &seen)?;
    workload.check_alignment(config, target.alignment())?;
    let doubts = Doubts::about(config, &workload, &target, seen.facts.file_system.as_deref());
    let stage = Rhythm::default();
    let granted = OnceLock::new();
    let stop = session.stop();
    let setup = |place: Place| {
        let engine = engine(config, &target)?;
        granted.get_or_init(|| engine.granted());
        // Only a pace makes the worker wait for times, and calibrating takes some milliseconds.
        let waiter = if config.is_paced() { Waiter::calibrate() } else { Waiter { margin_ns: 0 } };
        Ok((place, engine.worker(config, waiter, stop.clone())))
    };
    let work = |(place, mut worker): (Place, Box<dyn Perform + '_>), _| {
        let mut seen = 0;
        let _told = ToldOnPanic(&stage);
        while let Some(orders) = stage.next(&mut seen) {
            let mut recorder = recorders[place.index].lock().unwrap_or_else(PoisonError::into_inner);
            let mut work = orders[place.index].clone();
            let tally = worker.perform(&mut work, &mut recorder);
            drop(recorder);
            stage.report(tally.map(|tally| Tally { pin_lost: !place.placement.holds(), ..tally }));
        }
    };
    crew::run(&config.placements, setup, work, |gate| {
        let granted = granted.get().cloned().flatten();
        let conductor = Conductor {
            config,
            workload,
            target: &target,
            stage: &stage,
            recorders: &recorders,
            collector,
            granted,
            doubts,
        };
        conductor.conduct(session, gate)
    })
    .map(drop)
}

/// Tells the conductor of a worker that panics, which it would wait for without end.
struct ToldOnPanic<'a>(&'a Rhythm);

impl Drop for ToldOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.report(Err(Error::failed("a worker panicked; its message is on standard error")));
        }
    }
}

/// Unrelated data needs a place where it destroys nothing.
fn check_precondition(config: &Config, found: &Found) -> Result<()> {
    let Some(precondition) = &config.precondition else { return Ok(()) };
    let on_device = matches!(found, Found::BlockDevice { .. }) && matches!(config.mode, Mode::Write(_));
    let folder = match (&precondition.folder, found.is_device()) {
        (Some(folder), _) if !folder.is_dir() => {
            return Err(Error::bad_arguments(format!(
                "--precondition-in {} is not a folder",
                folder.display()
            )));
        }
        (None, true) if !on_device => {
            return Err(Error::bad_arguments(
                "--precondition would write over the device that is read; name a folder with --precondition-in",
            ));
        }
        (None, true) => return Ok(()),
        (Some(folder), _) => folder.clone(),
        (None, false) => inspect::data_folder(&config.path),
    };
    filling::check_space(&folder, precondition.bytes)
}

/// The log would destroy what is measured, or the measurement the log.
fn check_log(config: &Config, identity: Option<FileIdentity>) -> Result<()> {
    let Some(log) = &config.hlog else { return Ok(()) };
    let existing = fs::metadata(log).ok().map(|metadata| FileIdentity::of(&metadata));
    if *log == config.path || (existing.is_some() && existing == identity) {
        return Err(Error::bad_arguments(format!(
            "--hlog {} is what is measured; pass another file",
            log.display()
        )));
    }
    Ok(())
}

fn filler(config: &Config) -> Filler {
    match &config.mode {
        Mode::Write(write) => write.data,
        Mode::Read(_) => Filler { data: Data::Zeros, seed: 0, verifiable: false },
    }
}

/// A worker, whatever its engine: one indirect call a phase.
trait Perform {
    fn perform(&mut self, work: &mut Work, recorder: &mut Recorder) -> Result<Tally>;
}

impl<E: Engine> Perform for Worker<E> {
    fn perform(&mut self, work: &mut Work, recorder: &mut Recorder) -> Result<Tally> {
        Worker::perform(self, work, recorder)
    }
}

/// The engines that a configuration can ask for.
enum AnyEngine<'a> {
    Files(Ring<ReadWrite>),
    Commands(Ring<crate::nvme::Namespace>),
    Sync(Sync<'a>),
}

fn engine<'a>(config: &Config, target: &'a Target) -> Result<AnyEngine<'a>> {
    let (file, depth, size) = (target.file(), config.slots(), config.block_size_bytes);
    match (config.engine, target.found()) {
        (EngineKind::Sync, _) => Sync::new(file, size).map(AnyEngine::Sync),
        (EngineKind::Nvme(options), Found::Namespace(namespace)) => {
            Ring::new(file, *namespace, depth, size, &options).map(AnyEngine::Commands)
        }
        (EngineKind::IoUring(options) | EngineKind::Nvme(options), _) => {
            Ring::new(file, ReadWrite, depth, size, &options).map(AnyEngine::Files)
        }
    }
}

impl<'a> AnyEngine<'a> {
    fn granted(&self) -> Option<Granted> {
        match self {
            Self::Files(ring) => Some(ring.granted().clone()),
            Self::Commands(ring) => Some(ring.granted().clone()),
            Self::Sync(_) => None,
        }
    }

    fn worker(self, config: &Config, waiter: Waiter, stop: meter::control::Stop) -> Box<dyn Perform + 'a> {
        let (filler, depth) = (filler(config), config.queue_depth);
        match self {
            Self::Files(ring) => Box::new(Worker::new(ring, filler, waiter, stop).at_depth(depth)),
            Self::Commands(ring) => Box::new(Worker::new(ring, filler, waiter, stop).at_depth(depth)),
            Self::Sync(sync) => Box::new(Worker::new(sync, filler, waiter, stop)),
        }
    }
}
