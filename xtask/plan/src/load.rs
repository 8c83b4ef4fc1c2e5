//! A plan from its file: with what it extends, what the command line overrides, and checked.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{DomainSpec, Plan, PlatformSpec, check};

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
    variables: BTreeMap<String, toml::Spanned<String>>,
    /// Another platform: the same domains elsewhere.
    platform: Option<PlatformSpec>,
    /// Where its domains are; their names are the extended plan's.
    #[serde(default)]
    domains: BTreeMap<String, toml::Spanned<DomainSpec>>,
}

/// A file of a plan, kept to say where in it something is wrong.
pub(super) struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read the plan {}", path.display()))?;
        Ok(Self { path: path.to_owned(), text })
    }

    /// The text as a value; an error names file and line and shows the line.
    fn parse<T: for<'de> Deserialize<'de>>(&self) -> Result<T> {
        toml::from_str(&self.text).map_err(|error| {
            let line = error.span().map_or(1, |span| self.line(span.start));
            anyhow::anyhow!("{}:{line}: {}", self.path.display(), error.to_string().trim_end())
        })
    }

    fn line(&self, offset: usize) -> usize {
        1 + self.text.as_bytes().iter().take(offset).filter(|&&byte| byte == b'\n').count()
    }

    /// An error about the place at `offset`.
    pub(super) fn error(&self, offset: usize, message: &str) -> anyhow::Error {
        anyhow::anyhow!("{}:{}: {message}", self.path.display(), self.line(offset))
    }

    /// The file's own path, for messages about all of it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Loads the plan at `path`, applies `overrides`, inlines the published numbers and checks that every
/// name in it is known: nothing of that can fail later.
///
/// # Errors
/// With file and line, for a plan that can't be read or contradicts itself.
pub fn load(path: &Path, overrides: &Overrides) -> Result<Plan> {
    let source = Source::read(path)?;
    let table: toml::Table = source.parse()?;
    let (mut plan, source) =
        if table.contains_key("extends") { extend(&source)? } else { (source.parse::<Plan>()?, source) };
    if let Some(repetitions) = overrides.repetitions {
        plan.repetitions = repetitions;
    }
    if let Some(seed) = overrides.seed {
        plan.seed = seed;
    }
    plan.selection.only.extend(overrides.only.iter().cloned());
    plan.selection.skip.extend(overrides.skip.iter().cloned());
    inline_published(&mut plan, &source)?;
    let checked = check::check(&plan, &source);
    // Its own part may be what is wrong, and the error names what it extends.
    let own = |error: anyhow::Error| {
        if source.path == path { error } else { error.context(path.display().to_string()) }
    };
    checked.map_err(own)?;
    Ok(plan)
}

/// The extended plan with the extension's own values, and the source that its places refer to.
fn extend(source: &Source) -> Result<(Plan, Source)> {
    let extension: Extension = source.parse()?;
    let base = Source::read(&sibling(source, &extension.extends))
        .with_context(|| format!("{} extends another plan", source.path.display()))?;
    if base.parse::<toml::Table>()?.contains_key("extends") {
        bail!("{}: a plan that extends another can't be extended itself", base.path.display());
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
    for (name, domain) in extension.domains {
        let Some(place) = plan.domains.get_mut(&name) else {
            let known: Vec<&str> = plan.domains.keys().map(String::as_str).collect();
            let message =
                format!("{} has no domain `{name}`; it has {}", extension.extends, known.join(", "));
            return Err(source.error(domain.span().start, &message));
        };
        *place = domain.into_inner();
    }
    for (name, value) in extension.variables {
        let Some(variable) = plan.variables.get_mut(&name) else {
            let known: Vec<&str> = plan.variables.keys().map(String::as_str).collect();
            let message =
                format!("{} has no variable `{name}`; it has {}", extension.extends, known.join(", "));
            return Err(source.error(value.span().start, &message));
        };
        *variable = value.into_inner();
    }
    Ok((plan, base))
}

fn sibling(source: &Source, name: &str) -> PathBuf {
    source.path.parent().unwrap_or(Path::new(".")).join(name)
}

fn inline_published(plan: &mut Plan, source: &Source) -> Result<()> {
    if let Some(name) = plan.published_file.take() {
        plan.published = Some(Source::read(&sibling(source, &name))?.parse()?);
    }
    Ok(())
}
