//! One trial: attach, start the load, prove and silence it, measure, stop the load and prove it again.
//!
//! The only part that touches both domains and results. Whatever happens ends as a [`Trial`] with its
//! stage and cause; a load never outlives the function, because dropping a process ends it.

mod clock;
mod load;
mod probe;
#[cfg(test)]
mod tests;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::Result;
pub use clock::Expected;
use clock::Laps;
use meter::control::Stop;

use domain::ToolCommand;
use plan::{AttachmentSpec, Cell, PartSpec, Plan, substitute};
use platform::{Observed, Platform};
use results::{
    facts::Seen,
    journal::{Proof, Trial},
    outcome::Outcome,
};

/// How long a tool has to tell that it is ready, and to end when told to, in seconds; longer where the plan
/// gives loads longer to prove themselves, because its places are slow.
const HANDSHAKE_S: f64 = 10.0;
/// How often a wait looks at the stop flag.
const PATIENCE: Duration = Duration::from_millis(50);

/// What broke, and where.
#[derive(Debug)]
pub struct Broken {
    outcome: Outcome,
    stage: &'static str,
    reason: String,
}

impl Broken {
    fn failed(stage: &'static str, reason: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, stage, reason: reason.into() }
    }

    fn error(stage: &'static str) -> impl Fn(anyhow::Error) -> Self {
        move |error| Self::failed(stage, format!("{error:#}"))
    }
}

/// Why a trial has no result.
#[derive(Debug)]
pub enum Unfinished {
    /// It ended without a measurement.
    Broken(Broken),
    /// The user stopped everything: the trial never happened.
    Stopped,
}

impl From<Broken> for Unfinished {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// Everything a trial needs besides its cell.
pub struct Lab<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Where it happens.
    pub platform: &'a mut dyn Platform,
    /// The user's wish to end.
    pub stop: Stop,
    /// How long probes have taken so far.
    pub expected: Expected,
    /// What the tools have told of the places where they ran.
    pub seen: RefCell<Seen>,
}

/// Where a trial stands in the order.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its number in the order of execution.
    pub sequence: u64,
    /// Which repetition of the cell.
    pub repetition: u32,
    /// Which attempt at it.
    pub attempt: u32,
}

impl Lab<'_> {
    /// Executes one trial of `cell`; `None` when the user stopped it, and when its place is lost.
    pub fn execute(&mut self, cell: &Cell, place: Place) -> Option<Trial> {
        let mut laps = Laps::begin();
        let mut trial = Trial {
            sequence: place.sequence,
            cell: cell.clone(),
            repetition: place.repetition,
            attempt: place.attempt,
            outcome: Outcome::Completed,
            stage: None,
            reason: None,
            started_wall_ns: meter::clock::wall_ns(),
            wall_s: 0.0,
            probe_s: 0.0,
            stages_s: BTreeMap::new(),
            looked_at_s: Vec::new(),
            metrics: BTreeMap::new(),
            interrupt_sources: Vec::new(),
            proofs: Vec::new(),
            observed: BTreeMap::new(),
            summary: None,
        };
        match self.measure(cell, &mut trial, &mut laps) {
            Ok(()) => self.expected.learn(cell, trial.probe_s),
            Err(Unfinished::Stopped) => return None,
            // Nothing was tried yet: another session may find the place as it should be.
            Err(Unfinished::Broken(_)) if self.platform.lost().is_some() => return None,
            Err(Unfinished::Broken(broken)) => {
                trial.outcome = broken.outcome;
                trial.stage = Some(broken.stage.to_owned());
                // What a tool's silence means, only the platform can tell.
                let causes =
                    if broken.outcome == Outcome::Skipped { Vec::new() } else { self.platform.troubles() };
                let told = |reason: String, cause: String| {
                    if reason.contains(&cause) { reason } else { format!("{reason}; {cause}") }
                };
                trial.reason = Some(causes.into_iter().fold(broken.reason, told));
                laps.end(broken.stage, &mut trial);
            }
        }
        trial.wall_s = laps.all_s();
        Some(trial)
    }

    fn measure(&mut self, cell: &Cell, trial: &mut Trial, laps: &mut Laps) -> Result<(), Unfinished> {
        let plan = self.plan;
        let attachment = &plan.attachments[&cell.attachment];
        let probe = &plan.probes[&cell.probe];
        if let Some(reason) = self.platform.lacks(attachment, probe.device) {
            return Err(Broken { outcome: Outcome::Skipped, stage: "attach", reason }.into());
        }
        let attached = self.platform.attach(attachment, probe.device);
        for (part, seconds) in self.platform.attach_parts() {
            trial.stages_s.insert(format!("attach.{part}"), seconds);
        }
        let words = attached.map_err(Broken::error("attach"))?;
        laps.end("attach", trial);
        // From here: a guest that had to be made again first has not used up the trial's time.
        let deadline = domain::after(plan.trial_timeout_s);
        let (platform, stop, seen) = (&*self.platform, &self.stop, &self.seen);
        let site = Site { plan, attachment, words, platform, stop, deadline, seen };
        let loads = load::start(&site, &plan.loads[&cell.load].parts, "load")?;
        let others = load::start(&site, &probe.with, "probe")?;
        laps.end("load", trial);
        let mut loads = load::prove(&site, loads)?;
        load::hush(&site, &mut loads)?;
        let before = site.platform.observe().map_err(Broken::error("load"))?;
        laps.end("proof", trial);
        let overdue = self.expected.overdue(cell, plan.trial_timeout_s);
        let probed = probe::run(&site, probe, overdue, trial, laps);
        let after = site.platform.observe().map_err(Broken::error("stop"));
        drop(others);
        // What broke the probe matters more than what its loads say after it.
        probed?;
        trial.proofs = load::finish(&site, &mut loads, trial.probe_s)?;
        trial.observed = gained(&before, &after?);
        laps.end("stop", trial);
        trial.proofs.extend(seen_from_beside(&site, cell, &trial.observed));
        check_proofs(&trial.proofs)
    }
}

/// A measurement whose load did not run as the plan asks is not one.
fn check_proofs(proofs: &[Proof]) -> Result<(), Unfinished> {
    let Some(proof) = proofs.iter().find(|proof| !proof.holds()) else { return Ok(()) };
    let measured = proof.measured.map_or("nothing".into(), |measured| format!("{measured:.1}"));
    let Proof { domain, tool, key, required, .. } = proof;
    let reason =
        format!("{tool} in `{domain}` shows {key} of {measured}, the plan asks for at least {required}");
    Err(Broken { outcome: Outcome::Invalid, stage: "load", reason }.into())
}

/// How much each total has grown. What came or went in between is no difference.
fn gained(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let gain = |(key, after): (&String, &f64)| Some((key.clone(), after - before.get(key)?));
    after.iter().filter_map(gain).collect()
}

/// The host's own proof that the domains with a load have worked.
fn seen_from_beside(site: &Site<'_>, cell: &Cell, observed: &BTreeMap<String, f64>) -> Vec<Proof> {
    let parts = &site.plan.loads[&cell.load].parts;
    let domains: BTreeSet<&str> = parts.iter().map(|part| site.stand_in(part.domain.get_ref())).collect();
    let proof = |domain: &str| {
        let Observed { key, measured, required } = site.platform.proof_of_work(domain, observed)?;
        Some(Proof {
            domain: domain.to_owned(),
            tool: "host".into(),
            key: key.into(),
            measured: Some(measured),
            required,
        })
    };
    domains.into_iter().filter_map(proof).collect()
}

/// One trial's surroundings.
struct Site<'a> {
    plan: &'a Plan,
    attachment: &'a AttachmentSpec,
    words: BTreeMap<String, String>,
    platform: &'a dyn Platform,
    stop: &'a Stop,
    deadline: Instant,
    seen: &'a RefCell<Seen>,
}

impl Site<'_> {
    /// How long a tool has to answer, in seconds.
    fn handshake_s(&self) -> f64 {
        HANDSHAKE_S.max(self.plan.proof_timeout_s)
    }

    /// The domain that stands for `name` under this attachment.
    fn stand_in<'b>(&'b self, name: &'b str) -> &'b str {
        self.attachment.stands_in.get(name).map_or(name, |domain| domain.get_ref())
    }

    /// The command of a part in `domain`, its words replaced.
    fn command(
        &self,
        domain: &str,
        tool: &str,
        args: &[toml::Spanned<String>],
    ) -> Result<ToolCommand, Broken> {
        let mut words = self.plan.variables.clone();
        words.extend(self.words.clone());
        for name in self.attachment.stands_in.keys() {
            if let Some(address) = self.words.get(&format!("address.{}", self.stand_in(name))) {
                words.insert(format!("address.{name}"), address.clone());
            }
        }
        let cpus = self.platform.domain_cpus().remove(domain).unwrap_or_default();
        let first: String = cpus.chars().take_while(char::is_ascii_digit).collect();
        words.insert("cpu".into(), first);
        words.insert("cpus".into(), cpus);
        let args = args.iter().map(|arg| substitute(arg.get_ref(), &words));
        let args = args.collect::<Result<_, _>>().map_err(|message| Broken::failed("attach", message))?;
        Ok(ToolCommand { tool: tool.to_owned(), args })
    }

    /// The command of a part, and the domain it runs in here.
    fn part_command<'b>(&'b self, part: &'b PartSpec) -> Result<(&'b str, ToolCommand), Broken> {
        let domain = self.stand_in(part.domain.get_ref());
        Ok((domain, self.command(domain, part.tool.get_ref(), &part.args)?))
    }
}
