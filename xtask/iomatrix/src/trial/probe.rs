//! The measurement itself.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{
    Broken, Site, Unfinished,
    clock::Laps,
    load::{next, wait_until_ready},
};
use domain::Event;
use plan::ProbeSpec;
use results::{journal::Trial, outcome::Outcome};

const STAGE: &str = "probe";

/// Runs the probe in the measured domain and puts its numbers into `trial`. While it is not `overdue`
/// nothing at all is asked of anybody; then the platform is, now and again, whether the domain still runs.
pub(super) fn run(
    site: &Site<'_>,
    probe: &ProbeSpec,
    overdue: Duration,
    trial: &mut Trial,
    laps: &mut Laps,
) -> Result<(), Unfinished> {
    let domain = site.attachment.measured.get_ref();
    let command = site.command(domain, probe.tool.get_ref(), &probe.args)?;
    let failed = Broken::error(STAGE);
    let mut process =
        site.platform.domain(domain).and_then(|place| place.start(&command)).map_err(&failed)?;
    let describe = format!("`{command}` in `{domain}`");
    wait_until_ready(site, &mut *process, domain, STAGE, &describe)?;
    // Between `go` and the summary nothing comes from it: a sample over SSH would be part of the load.
    process.say("quiet").map_err(&failed)?;
    laps.end("start", trial);
    let began = Instant::now();
    process.say("go").map_err(&failed)?;
    let mut summary = None;
    let mut patience = overdue;
    let exit = loop {
        match next(site, &mut *process, site.deadline.min(began + patience))? {
            Event::Record(record) if domain::kind(&record) == "summary" => {
                // The probe's own time: its process may take a moment more to go.
                trial.probe_s = began.elapsed().as_secs_f64();
                summary = Some(record);
            }
            Event::Record(_) => {}
            Event::Ended(exit) => break exit,
            Event::Silent if Instant::now() < site.deadline => {
                trial.looked_at_s.push(began.elapsed().as_secs_f64());
                // Who can't be asked proves nothing: a loaded host is slow to answer.
                if let Ok(Some(halted)) = site.platform.halted(domain) {
                    let waited = began.elapsed().as_secs_f64();
                    let reason = format!("{describe} gave nothing for {waited:.0} s and can't: {halted}");
                    return Err(Broken::failed(STAGE, reason).into());
                }
                patience = 2 * began.elapsed();
            }
            Event::Silent => {
                let reason = format!("{describe} took longer than {} s", site.plan.trial_timeout_s);
                return Err(Broken { outcome: Outcome::TimedOut, stage: STAGE, reason }.into());
            }
        }
    };
    laps.end("probe", trial);
    match (summary, exit.code) {
        (Some(summary), Some(0)) => keep(probe, summary, trial),
        (Some(summary), Some(4)) => {
            let warnings = summary["warnings"].to_string();
            keep(probe, summary, trial)?;
            let reason = format!("{describe} does not trust its result: {warnings}");
            Err(Broken { outcome: Outcome::Invalid, stage: STAGE, reason }.into())
        }
        (summary, _) => {
            trial.summary = summary;
            Err(Broken::failed(STAGE, format!("{describe}: {exit}")).into())
        }
    }
}

/// Takes the plan's metrics from the summary. The first must be there; of the others what is missing
/// stays missing.
fn keep(probe: &ProbeSpec, summary: Value, trial: &mut Trial) -> Result<(), Unfinished> {
    for metric in &probe.metrics {
        if let Some(value) = domain::number(&summary, &metric.key) {
            trial.metrics.insert(metric.name.clone(), value);
        }
    }
    if let Some(sources) = summary["interrupts"]["sources"].as_array() {
        trial.interrupt_sources = sources.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    }
    trial.summary = Some(summary);
    let first = &probe.metrics[0];
    if trial.metrics.contains_key(&first.name) {
        return Ok(());
    }
    Err(Broken::failed(STAGE, format!("the summary of {} has no `{}`", probe.tool.get_ref(), first.key))
        .into())
}
