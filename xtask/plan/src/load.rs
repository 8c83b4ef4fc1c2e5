//! A plan from its file: with what it extends, what the command line overrides, and checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde::Deserialize;

use super::{
    DomainSpec, Plan, PlatformSpec, Published, check,
    source::{Source, Sources},
};

/// What the command line changes in a plan.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Globs of cells to keep.
    pub only: Vec<String>,
    /// Globs of cells to leave out.
    pub skip: Vec<String>,
    /// Trials per cell.
    pub repetitions: Option<u32>,
    /// Seed of the order.
    pub seed: Option<u64>,
}

/// A plan that takes its axes from another one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Extension {
    extends: String,
    name: String,
    title: String,
    repetitions: Option<u32>,
    seed: Option<u64>,
    trial_timeout_s: Option<f64>,
    proof_timeout_s: Option<f64>,
    #[serde(default)]
    variables: BTreeMap<String, String>,
    /// Another platform: the same domains elsewhere.
    platform: Option<PlatformSpec>,
    /// Where its domains are; their names are the extended plan's.
    #[serde(default)]
    domains: BTreeMap<String, DomainSpec>,
    /// How its attachments give their devices; their names are the extended plan's.
    #[serde(default)]
    attachments: BTreeMap<String, Devices>,
}

/// What an extension says of an attachment.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Devices {
    device: toml::Table,
}

/// Loads the plan at `path`, applies `overrides`, inlines the published numbers and checks that every
/// name in it is known: nothing of that can fail later. What is the platform's in it is not looked at; the
/// files come along for who does.
///
/// # Errors
/// With file and line, for a plan that can't be read or contradicts itself.
pub fn load(path: &Path, overrides: &Overrides) -> Result<(Plan, Sources)> {
    let own = Source::read(path)?;
    let table: toml::Table = own.parse()?;
    let (mut plan, sources) = if table.contains_key("extends") {
        extend(own)?
    } else {
        (own.parse::<Plan>()?, Sources { own, base: None })
    };
    if let Some(repetitions) = overrides.repetitions {
        plan.repetitions = repetitions;
    }
    if let Some(seed) = overrides.seed {
        plan.seed = seed;
    }
    plan.selection.only.extend(overrides.only.iter().cloned());
    plan.selection.skip.extend(overrides.skip.iter().cloned());
    inline_published(&mut plan, sources.base.as_ref().unwrap_or(&sources.own))?;
    check::check(&plan, &sources)?;
    // Of what was inherited, a plan as resolved has only what it uses: so it passes its own checks again.
    for name in check::unused_variables(&plan) {
        plan.variables.remove(&name);
    }
    Ok((plan, sources))
}

/// The extended plan with the extension's own values, and the files of both.
fn extend(own: Source) -> Result<(Plan, Sources)> {
    let extension: Extension = own.parse()?;
    let refused = |message: String| own.error(own.locate(&["extends"]).1, message);
    let base =
        Source::read(&sibling(&own, &extension.extends)).map_err(|error| refused(format!("{error:#}")))?;
    if base.parse::<toml::Table>()?.contains_key("extends") {
        let base = base.path.display();
        return Err(refused(format!("{base} extends another plan, and can't be extended itself")));
    }
    let mut plan: Plan = base.parse()?;
    plan.name = extension.name;
    plan.title = extension.title;
    plan.repetitions = extension.repetitions.unwrap_or(plan.repetitions);
    plan.seed = extension.seed.unwrap_or(plan.seed);
    plan.trial_timeout_s = extension.trial_timeout_s.unwrap_or(plan.trial_timeout_s);
    plan.proof_timeout_s = extension.proof_timeout_s.unwrap_or(plan.proof_timeout_s);
    if let Some(platform) = extension.platform {
        plan.platform = platform;
    }
    let sources = Sources { own, base: Some(base) };
    replace("domain", &["domains"], extension.domains, &mut plan.domains, &sources, |old, new| *old = new)?;
    replace("variable", &["variables"], extension.variables, &mut plan.variables, &sources, |old, new| {
        *old = new;
    })?;
    let attachments = &mut plan.attachments;
    replace("attachment", &["attachments"], extension.attachments, attachments, &sources, |old, new| {
        old.device = new.device;
    })?;
    Ok((plan, sources))
}

/// Puts the extension's values in the place of those of the plan that it extends, which must have them.
fn replace<New, Old>(
    what: &str,
    path: &[&str],
    new: BTreeMap<String, New>,
    old: &mut BTreeMap<String, Old>,
    sources: &Sources,
    put: impl Fn(&mut Old, New),
) -> Result<()> {
    for (name, value) in new {
        if let Some(place) = old.get_mut(&name) {
            put(place, value);
            continue;
        }
        let known: Vec<&str> = old.keys().map(String::as_str).collect();
        let message =
            format!("the plan that this one extends has no {what} `{name}`; it has {}", known.join(", "));
        return Err(sources.own_error(&[path, &[&name]].concat(), message));
    }
    Ok(())
}

fn sibling(source: &Source, name: &str) -> PathBuf {
    source.path.parent().unwrap_or(Path::new(".")).join(name)
}

fn inline_published(plan: &mut Plan, source: &Source) -> Result<()> {
    let Some(name) = plan.published_file.take() else { return Ok(()) };
    let file = Source::read(&sibling(source, &name))
        .map_err(|error| source.error(source.locate(&["published_file"]).1, format!("{error:#}")))?;
    let published: Published = file.parse()?;
    let mut seen = BTreeSet::new();
    for (index, cell) in published.cell.iter().enumerate() {
        let refuse = |message| Err(file.error(file.locate(&["cell", &index.to_string()]).1, message));
        let numbers = [cell.elapsed_s, cell.delta_s, cell.variance_s2, cell.range_s, cell.goodput_bps];
        if numbers.iter().flatten().any(|number| !number.is_finite()) {
            return refuse(format!("a number of `{}` is not finite", cell.id));
        }
        if !seen.insert(&cell.name) {
            return refuse(format!("two published cells have the name `{}`", cell.name));
        }
    }
    for (index, cost) in published.cost_per_interrupt.iter().enumerate() {
        if !cost.cost_us.is_finite() {
            let at = file.locate(&["cost_per_interrupt", &index.to_string()]).1;
            return Err(file.error(at, format!("the cost of `{}` is not finite", cost.name)));
        }
    }
    plan.published = Some(published);
    Ok(())
}
