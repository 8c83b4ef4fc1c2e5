//! The load of a trial: started, proved before the measurement, stopped, proved over all of it.

use std::time::{Duration, Instant};

use super::{Broken, PATIENCE, Site, Unfinished};
use domain::{Event, Process};
use plan::PartSpec;
use results::{journal::Proof, outcome::Outcome};

/// How long after a deadline what a tool had told before it is still taken.
const OVERTIME: Duration = Duration::from_secs(2);
/// A load that has not stopped by then may have lost its domain: the platform is asked.
const SOON: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 5 });

/// One part of a load that runs.
pub(super) struct Running<'a> {
    part: &'a PartSpec,
    domain: String,
    process: Box<dyn Process>,
}

/// Starts `parts` one after the other; each has said that it is ready, and goes, before the next.
pub(super) fn start<'a>(
    site: &Site<'_>,
    parts: &'a [PartSpec],
    stage: &'static str,
) -> Result<Vec<Running<'a>>, Unfinished> {
    let mut running = Vec::with_capacity(parts.len());
    for part in parts {
        let (domain, command) = site.part_command(part)?;
        let domain = domain.to_owned();
        let failed = Broken::error(stage);
        let place = site.platform.domain(&domain).map_err(&failed)?;
        let mut process = place.start(&command).map_err(&failed)?;
        let describe = format!("`{command}` in `{domain}`");
        wait_until_ready(site, &mut *process, &domain, stage, &describe)?;
        if part.proof.is_empty() {
            // Nobody needs its samples.
            process.say("quiet").map_err(&failed)?;
        }
        process.say("go").map_err(&failed)?;
        running.push(Running { part, domain, process });
    }
    Ok(running)
}

/// Waits for the `ready` of a tool in `domain`; before it comes what it tells of the place.
pub(super) fn wait_until_ready(
    site: &Site<'_>,
    process: &mut dyn Process,
    domain: &str,
    stage: &'static str,
    describe: &str,
) -> Result<(), Unfinished> {
    let deadline = domain::after(site.handshake_s()).min(site.deadline);
    loop {
        match next(site, process, deadline)? {
            Event::Record(record) if domain::kind(&record) == "ready" => return Ok(()),
            Event::Record(record) if domain::kind(&record) == "start" => {
                site.seen.borrow_mut().see(domain, &record["host"]);
            }
            Event::Record(_) => {}
            Event::Ended(exit) => return Err(Broken::failed(stage, format!("{describe}: {exit}")).into()),
            Event::Silent => {
                let reason = format!("{describe} was not ready after {} s", site.handshake_s());
                return Err(Broken { outcome: Outcome::TimedOut, stage, reason }.into());
            }
        }
    }
}

/// The next event before `deadline`, in steps short enough to notice the user's stop. What a tool had told by
/// then is taken a little longer; one that tells without end does not keep anybody beyond that.
pub(super) fn next(
    site: &Site<'_>,
    process: &mut dyn Process,
    deadline: Instant,
) -> Result<Event, Unfinished> {
    loop {
        if site.stop.is_raised() {
            return Err(Unfinished::Stopped);
        }
        if Instant::now() > deadline + OVERTIME {
            return Ok(Event::Silent);
        }
        match process.next(deadline.min(Instant::now() + PATIENCE)) {
            Event::Silent if Instant::now() < deadline => {}
            event => return Ok(event),
        }
    }
}

/// Waits until every part has shown in one of its samples what the plan asks of it.
pub(super) fn prove<'a>(
    site: &Site<'_>,
    mut loads: Vec<Running<'a>>,
) -> Result<Vec<Running<'a>>, Unfinished> {
    let deadline = domain::after(site.plan.proof_timeout_s).min(site.deadline);
    for load in loads.iter_mut().filter(|load| !load.part.proof.is_empty()) {
        let mut last = "no sample".to_owned();
        loop {
            match next(site, &mut *load.process, deadline)? {
                Event::Record(record) if domain::kind(&record) == "sample" => {
                    let shown = |key: &str| domain::number(&record, key);
                    let missing = load
                        .part
                        .proof
                        .iter()
                        .find(|proof| shown(&proof.key).is_none_or(|measured| measured < proof.at_least));
                    let Some(proof) = missing else { break };
                    last = format!(
                        "{} {:?}, at least {} is asked for",
                        proof.key,
                        shown(&proof.key),
                        proof.at_least
                    );
                }
                Event::Record(_) => {}
                Event::Ended(exit) => {
                    let reason = format!("{} in `{}` ended: {exit}", load.part.tool.get_ref(), load.domain);
                    return Err(Broken::failed("proof", reason).into());
                }
                Event::Silent => {
                    let reason = format!(
                        "{} in `{}` did not prove itself: {last}",
                        load.part.tool.get_ref(),
                        load.domain
                    );
                    return Err(Broken { outcome: Outcome::Invalid, stage: "proof", reason }.into());
                }
            }
        }
    }
    Ok(loads)
}

/// Lets the loads that send samples fall silent, and waits until each has said that it has: what comes
/// over the network from now on is the probe's.
pub(super) fn hush(site: &Site<'_>, loads: &mut [Running<'_>]) -> Result<(), Unfinished> {
    const STAGE: &str = "load";
    let deadline = domain::after(site.handshake_s()).min(site.deadline);
    for load in loads.iter_mut().filter(|load| !load.part.proof.is_empty()) {
        let describe = format!("{} in `{}`", load.part.tool.get_ref(), load.domain);
        let told = load.process.say("quiet").map_err(Broken::error(STAGE));
        loop {
            match next(site, &mut *load.process, deadline)? {
                Event::Record(record) if domain::kind(&record) == "quiet" => break,
                Event::Record(_) => {}
                // Why it ended says more than that it could not be told anything.
                Event::Ended(exit) => {
                    return Err(Broken::failed(STAGE, format!("{describe} ended: {exit}")).into());
                }
                Event::Silent => {
                    told?;
                    let reason = format!("{describe} did not heed `quiet` within {} s", site.handshake_s());
                    return Err(Broken { outcome: Outcome::TimedOut, stage: STAGE, reason }.into());
                }
            }
        }
    }
    Ok(())
}

/// Stops the load, last started first, and takes its proofs from the summaries. Each part must have run
/// until it was told to stop, and by its own account at least the `probe_s` seconds of the measurement.
pub(super) fn finish(
    site: &Site<'_>,
    loads: &mut [Running<'_>],
    probe_s: f64,
) -> Result<Vec<Proof>, Unfinished> {
    let mut proofs = Vec::new();
    for load in loads.iter_mut() {
        check_still_running(site, load)?;
    }
    for load in loads.iter_mut().rev() {
        load.process.close();
    }
    for load in loads {
        let summary = collect_summary(site, load)?;
        if let Some(ran_s) = domain::number(&summary, "elapsed_s").filter(|ran_s| *ran_s < probe_s) {
            let reason = format!(
                "{} in `{}` ran for {ran_s:.3} s, the measurement took {probe_s:.3} s",
                load.part.tool.get_ref(),
                load.domain
            );
            return Err(Broken { outcome: Outcome::Invalid, stage: "load", reason }.into());
        }
        proofs.extend(load.part.proof.iter().map(|proof| Proof {
            domain: load.domain.clone(),
            tool: load.part.tool.get_ref().clone(),
            key: proof.key.clone(),
            measured: domain::number(&summary, &proof.key),
            required: proof.at_least,
        }));
    }
    Ok(proofs)
}

/// Refuses a part that ended by itself before the measurement did: some of it was without load.
fn check_still_running(site: &Site<'_>, load: &mut Running<'_>) -> Result<(), Unfinished> {
    let how = loop {
        match next(site, &mut *load.process, Instant::now())? {
            Event::Silent => return Ok(()),
            Event::Record(record) if domain::kind(&record) == "summary" => {
                let ran = domain::number(&record, "elapsed_s");
                break ran.map_or("it gave its summary".to_owned(), |ran_s| format!("after {ran_s:.3} s"));
            }
            Event::Record(_) => {}
            Event::Ended(exit) => break exit.to_string(),
        }
    };
    let reason =
        format!("{} in `{}` ended before the measurement did: {how}", load.part.tool.get_ref(), load.domain);
    Err(Broken { outcome: Outcome::Invalid, stage: "load", reason }.into())
}

/// The summary of a part that was told to stop. Without one nobody knows that it ran all the while: then
/// the measurement is invalid.
fn collect_summary(site: &Site<'_>, load: &mut Running<'_>) -> Result<serde_json::Value, Unfinished> {
    let deadline = domain::after(site.handshake_s());
    let mut patience = Instant::now() + SOON;
    let describe = format!("{} in `{}`", load.part.tool.get_ref(), load.domain);
    let mut summary = None;
    loop {
        match next(site, &mut *load.process, deadline.min(patience))? {
            Event::Record(record) if domain::kind(&record) == "summary" => summary = Some(record),
            Event::Record(_) => {}
            Event::Ended(exit) => {
                // 4: the tool itself says that its load was not what was asked; the proof decides.
                return match summary {
                    Some(summary) if matches!(exit.code, Some(0 | 4)) => Ok(summary),
                    _ => Err(Broken {
                        outcome: Outcome::Invalid,
                        stage: "stop",
                        reason: format!("{describe}: {exit}"),
                    }
                    .into()),
                };
            }
            Event::Silent if Instant::now() < deadline => {
                patience = deadline;
                if let Ok(Some(halted)) = site.platform.halted(&load.domain) {
                    let reason = format!("{describe} can't stop: {halted}");
                    return Err(Broken { outcome: Outcome::Invalid, stage: "stop", reason }.into());
                }
            }
            Event::Silent => {
                let reason = format!("{describe} did not stop after {} s and was killed", site.handshake_s());
                return Err(Broken { outcome: Outcome::TimedOut, stage: "stop", reason }.into());
            }
        }
    }
}
