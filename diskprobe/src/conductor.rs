//! The conductor: one run after the other, each with its preparation, its meters and its records.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use meter::{Error, Result, clock, control::Stop, crew::Gate, session::Session, wait::Waiter};

use crate::{
    config::{Config, Mode},
    doubts::Doubts,
    filling,
    inspect::data_folder,
    intervals::Intervals,
    latencies::Latencies,
    outcome::{Sample, Summary, Verification},
    recording::{Collector, Recorder},
    setup::Granted,
    stage::Stage,
    tally::{Amount, Tally},
    target::Target,
    totals::Totals,
    work::Work,
    workload::Workload,
};

/// Orders, one per worker, and their reports.
pub type Rhythm = Stage<Arc<Vec<Work>>, Result<Tally>>;

/// What conducting needs.
pub struct Conductor<'a> {
    /// What is measured.
    pub config: &'a Config,
    /// On which bytes.
    pub workload: Workload,
    /// Of what.
    pub target: &'a Target,
    /// The workers' rhythm.
    pub stage: &'a Rhythm,
    /// Their recorders; locked by them during a phase.
    pub recorders: &'a [Mutex<Recorder>],
    /// The other end of the recorders, with the log of histograms.
    pub collector: Collector,
    /// What the kernel granted of the ring.
    pub granted: Option<Granted>,
    /// What is known about the target from the beginning.
    pub doubts: Doubts,
}

/// Sends the workers home when the conductor leaves, whichever way.
struct Home<'a>(&'a Rhythm);

impl Drop for Home<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Below this part of the intended load a result is not what was asked for.
const LOAD_REACHED: f64 = 0.95;
/// Fewer operations say little about a rate.
const FEWEST_FOR_RATE: u64 = 100;

impl Conductor<'_> {
    /// Conducts all runs.
    ///
    /// # Errors
    /// What prevented a valid result; a failing operation is told after the summary.
    pub fn conduct(mut self, session: &mut Session<'_>, gate: &Gate) -> Result<()> {
        let go = session.ready()?;
        let start_ns = clock::now_ns();
        self.collector.begin(start_ns);
        gate.open(start_ns);
        let _home = Home(self.stage);
        let stop = session.stop();
        let mut totals = Totals::new(self.config);
        let mut notes = self.notes();
        notes.append(&mut self.doubts.notes);
        let mut warnings = std::mem::take(&mut self.doubts.warnings);
        let mut failure = None;
        for run in 0..self.config.runs {
            if !go || stop.is_raised() || failure.is_some() {
                break;
            }
            let tally = match self.prepare_and_run(run, session, &mut totals, &mut notes) {
                Ok(Some(tally)) => tally,
                Ok(None) => break,
                // What was measured before is told before what went wrong.
                Err(error) if totals.runs() > 0 => {
                    failure = Some(error);
                    break;
                }
                Err(error) => return Err(error),
            };
            warnings.extend(self.doubts(run, &tally, &stop));
            failure = tally.failure.map(|failure| failure.describe(&self.config.path, totals.bytes()));
            if self.config.steady_state && totals.steady_state().reached {
                break;
            }
        }
        let wrong = totals.verification().and_then(wrong_data);
        if self.target.has_lost_its_name() {
            notes.push(format!(
                "{} was removed or replaced meanwhile; what was measured is the file that it was",
                self.config.path.display()
            ));
        }
        self.conclude(session, totals, notes, warnings, &stop)?;
        failure.or(wrong).map_or(Ok(()), Err)
    }

    /// One run with its preparation; `None` when it was not begun because everything shall end.
    fn prepare_and_run(
        &mut self,
        run: u32,
        session: &mut Session<'_>,
        totals: &mut Totals,
        notes: &mut Vec<String>,
    ) -> Result<Option<Tally>> {
        let stop = session.stop();
        self.prepare(run, &stop, notes)?;
        if stop.is_raised() {
            return Ok(None);
        }
        self.run(run, session, totals).map(Some)
    }

    /// Rests, writes the unrelated data, gives the target its first state, and warms up.
    fn prepare(&self, run: u32, stop: &Stop, notes: &mut Vec<String>) -> Result<()> {
        if run > 0 && self.config.settle_ns > 0 {
            Waiter { margin_ns: 0 }.until(clock::now_ns() + self.config.settle_ns, stop);
        }
        self.precondition(run, stop, notes)?;
        self.target.prepare_run(self.config, self.workload.region, run == 0, stop)?;
        if self.config.warmup_ns > 0 && !stop.is_raised() {
            let warmup = self.workload.unbounded();
            self.perform(warmup.orders(self.config, run, Some(self.config.warmup_ns)))?;
            self.target.prepare_run(self.config, self.workload.region, false, stop)?;
        }
        Ok(())
    }

    fn precondition(&self, run: u32, stop: &Stop, notes: &mut Vec<String>) -> Result<()> {
        let Some(precondition) = &self.config.precondition else { return Ok(()) };
        let engine = self.config.engine;
        match &precondition.folder {
            None if self.target.found().is_device() => {
                self.target
                    .filling(engine, stop)
                    .fill_with_unrelated(self.workload.region, precondition.bytes)?;
            }
            folder => {
                let folder = folder.clone().unwrap_or_else(|| data_folder(&self.config.path));
                filling::precondition_folder(&folder, engine, precondition.bytes, stop)?;
            }
        }
        if !filling::drop_page_cache() && run == 0 {
            notes.push("the page cache could not be dropped: that needs root".into());
        }
        Ok(())
    }

    /// One phase of all workers, without a look at it meanwhile.
    fn perform(&self, orders: Arc<Vec<Work>>) -> Result<Tally> {
        self.stage.give(orders);
        loop {
            if let Some(tallies) = self.stage.collect(self.recorders.len(), Duration::from_secs(3600)) {
                return sum(tallies);
            }
        }
    }

    /// One run between the meters, with its records.
    fn run(&mut self, run: u32, session: &mut Session<'_>, totals: &mut Totals) -> Result<Tally> {
        let sources = self.target.interrupt_sources();
        let mut intervals = Intervals::begin(self.config, run, sources, &mut self.collector)?;
        let orders = self.workload.orders(self.config, run, self.config.duration_ns);
        let begin = orders[0].begin.clone();
        self.stage.give(orders);
        let tally = loop {
            let left_ns = intervals.time_left_ns(begin.get());
            match self.stage.collect(self.recorders.len(), Duration::from_nanos(left_ns)) {
                Some(tallies) => break sum(tallies)?,
                None => intervals.look()?.map_or(Ok(()), |sample| session.sample(&sample))?,
            }
        };
        let mut recorders: Vec<_> = self.recorders.iter().map(lock).collect();
        let rests: Vec<_> = recorders.iter().map(|recorder| &*recorder.active).collect();
        let (last, measured) = intervals.finish(&tally, &rests)?;
        last.map_or(Ok(()), |sample| session.sample(&sample))?;
        let latencies = if self.config.is_collected() {
            &self.collector.total().latencies
        } else {
            merged(&mut recorders)
        };
        let figures = measured.figures(latencies);
        totals.add(measured, latencies);
        drop(recorders);
        let aftermath = self.aftermath(run, &tally, &session.stop());
        let (sync_s, verification) = aftermath.as_ref().map_or((None, None), Clone::clone);
        totals.add_aftermath(sync_s, verification.clone());
        session.sample(&Sample { run, interval: None, figures, sync_s, verification })?;
        aftermath.map(|_| tally)
    }

    /// After a run: makes its data durable and reads it back, as far as that is asked for.
    fn aftermath(&self, run: u32, tally: &Tally, stop: &Stop) -> Result<(Option<f64>, Option<Verification>)> {
        let checked = |tally: &Tally| Verification {
            bytes: tally.bytes,
            wrong_sectors: tally.wrong_sectors,
            mismatch: tally.mismatch.clone(),
        };
        let write = match &self.config.mode {
            Mode::Read(read) => return Ok((None, read.verify.then(|| checked(tally)))),
            Mode::Write(write) => write,
        };
        if tally.failure.is_some() {
            return Ok((None, None));
        }
        let sync_s = self.target.sync(write.sync)?;
        // A run that was cut short did not write every block.
        if !write.verify || stop.is_raised() {
            return Ok((sync_s, None));
        }
        if !self.config.direct {
            self.target.forget_cache()?;
        }
        let read_back = self.perform(self.workload.verification(self.config, run))?;
        match read_back.failure {
            Some(failure) => Err(failure.describe(&self.config.path, read_back.bytes)),
            None => Ok((sync_s, Some(checked(&read_back)))),
        }
    }

    fn notes(&self) -> Vec<String> {
        let refused = self.granted.as_ref().map(|granted| granted.refused.join(", ")).unwrap_or_default();
        if refused.is_empty() {
            return Vec::new();
        }
        vec![format!("this kernel's io_uring lacks {refused}")]
    }

    /// Why a run's result can't be trusted.
    fn doubts(&self, run: u32, tally: &Tally, stop: &Stop) -> Vec<String> {
        let mut doubts = Vec::new();
        if tally.pin_lost {
            doubts.push(format!("run {run}: something moved a worker from its CPU"));
        }
        if let Some(rate) =
            self.config.rate.filter(|_| tally.operations >= FEWEST_FOR_RATE && !stop.is_raised())
        {
            let intended = rate.rate.per_second();
            let reached = Amount::of(tally).per_second(tally.operations as f64).unwrap_or(0.0);
            if reached < intended * LOAD_REACHED {
                doubts.push(format!(
                    "run {run}: the intended load was not reached: {reached:.1} of {intended:.1} operations/s"
                ));
            }
        }
        doubts
    }

    /// Gives the summary, with the bounds that it misses among its warnings.
    fn conclude(
        &mut self,
        session: &mut Session<'_>,
        totals: Totals,
        mut notes: Vec<String>,
        mut warnings: Vec<String>,
        stop: &Stop,
    ) -> Result<()> {
        if stop.is_raised() {
            notes.push("stopped before its end".into());
        }
        if self.config.steady_state && !totals.steady_state().reached {
            warnings.push(format!("no steady state within {} rounds", totals.steady_state().rounds));
        }
        let summary = Summary {
            holes_bytes: self.doubts.holes_bytes,
            ..totals.summary(self.config, self.granted.take())
        };
        if !self.config.require.is_empty() {
            let value = serde_json::to_value(&summary)
                .map_err(|error| Error::failed(format!("look up --require: {error}")))?;
            warnings.extend(self.config.require.iter().filter_map(|bound| bound.missed(&value)));
        }
        session.summary(&summary, notes, warnings)
    }
}

/// What all workers did together; the first engine that failed ends it.
fn sum(tallies: Vec<Result<Tally>>) -> Result<Tally> {
    let mut sum = Tally { begin_ns: u64::MAX, ..Tally::default() };
    for tally in tallies {
        sum.add(&tally?);
    }
    Ok(sum)
}

fn lock(recorder: &Mutex<Recorder>) -> MutexGuard<'_, Recorder> {
    recorder.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The latencies of all workers, in the first one's recorder.
fn merged<'a>(recorders: &'a mut [MutexGuard<'_, Recorder>]) -> &'a Latencies {
    if let Some((first, others)) = recorders.split_first_mut() {
        for other in others {
            first.active.latencies.merge(&other.active.latencies);
        }
    }
    &recorders[0].active.latencies
}

/// Data that is not what was written is a failure, whatever the figures say.
fn wrong_data(verification: &Verification) -> Option<Error> {
    let wrong = verification.mismatch.is_some();
    wrong.then(|| Error::failed(format!("the data is wrong: {verification}")))
}
