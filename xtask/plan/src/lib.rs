//! Plans: the axes of the matrix as data, and the cells that are their product.
//!
//! A new attachment, load, probe or domain is a few lines of TOML; nothing here knows their names.

mod cells;
mod check;
mod load;
mod names;
pub mod schedule;
mod source;
mod template;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::PathBuf};

pub use cells::{Cell, expand};
pub use check::known_words;
pub use load::{Overrides, load};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
pub use source::Sources;
pub use template::substitute;
use toml::Spanned;

/// A plan: everything that decides which trials run and how. As loaded it is checked; as stored with
/// the results it is complete, and needs no other file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Short name, part of the results folder's name.
    pub name: String,
    /// One line for the report's head.
    pub title: String,
    /// How often each cell is measured.
    pub repetitions: u32,
    /// Seed of the order of trials.
    pub seed: u64,
    /// Longest that one trial may take, in seconds, before it is ended as `timed-out`.
    pub trial_timeout_s: f64,
    /// How long the other domains' loads get to prove themselves, in seconds.
    #[serde(default = "default_proof_timeout_s")]
    pub proof_timeout_s: f64,
    /// File of published numbers to show beside, relative to the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_file: Option<String>,
    /// Words for `{name}` in arguments.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// Where domains live and what switches attachments.
    pub platform: PlatformSpec,
    /// Places where tools run.
    pub domains: BTreeMap<String, DomainSpec>,
    /// How the measured domain reaches its device.
    pub attachments: BTreeMap<String, AttachmentSpec>,
    /// What the neighbours do meanwhile.
    pub loads: BTreeMap<String, LoadSpec>,
    /// What is measured.
    pub probes: BTreeMap<String, ProbeSpec>,
    /// Products of the axes; the matrix is their union.
    pub matrix: Vec<MatrixSpec>,
    /// Which cells of the matrix take part.
    #[serde(default)]
    pub selection: Selection,
    /// The published numbers, once loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Published>,
}

fn default_proof_timeout_s() -> f64 {
    10.0
}

/// Which platform, and its settings. What it means, the platform alone knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlatformSpec {
    /// Its kind, such as `namespaces`.
    pub kind: Spanned<String>,
    /// The control domain, which holds bridges and the devices of others.
    pub control: Spanned<String>,
    /// The domain at the far end of every link: the machine outside.
    pub outside: Spanned<String>,
    /// The platform's own settings, in its terms.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub settings: toml::Table,
}

/// One place where tools run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainSpec {
    /// Its CPUs in the kernel's notation. A machine with fewer shares them, and the result says so.
    pub cpus: String,
    /// Where it is, in the platform's terms.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub at: toml::Table,
    /// What it stands for, for readers.
    #[serde(default)]
    pub about: String,
}

/// One way from the measured domain to its device.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachmentSpec {
    /// The domain whose I/O is measured.
    pub measured: Spanned<String>,
    /// How it gets its device, in the platform's terms.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub device: toml::Table,
    /// Whether other attachments are compared with this one.
    #[serde(default)]
    pub baseline: bool,
    /// Whether this is a second arm of the baseline: the same thing once more, which shows how far apart two equal
    /// things are.
    #[serde(default)]
    pub control: bool,
    /// Domains that are one with another here: without a hypervisor the load of guest A runs on the
    /// one machine there is.
    #[serde(default)]
    pub stands_in: BTreeMap<String, Spanned<String>>,
    /// What it is, for readers.
    #[serde(default)]
    pub about: String,
}

/// What neighbours do during a measurement.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadSpec {
    /// The tools that make it, started in this order.
    #[serde(default)]
    pub parts: Vec<PartSpec>,
    /// What it is, for readers.
    #[serde(default)]
    pub about: String,
}

/// One tool of a load, or a probe's other end.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartSpec {
    /// Where it runs.
    pub domain: Spanned<String>,
    /// Which tool.
    pub tool: Spanned<String>,
    /// Its arguments; `{name}` is replaced.
    pub args: Vec<Spanned<String>>,
    /// What its records must show, before the probe starts and over its whole run.
    #[serde(default)]
    pub proof: Vec<ProofSpec>,
}

/// A number that a load must reach to count as having run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofSpec {
    /// Key of the tool's samples and summary, dots between levels.
    pub key: String,
    /// The least that proves the load, in the key's unit.
    pub at_least: f64,
}

/// What is measured, with which tool.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeSpec {
    /// The tool.
    pub tool: Spanned<String>,
    /// Its arguments; `{name}` is replaced.
    pub args: Vec<Spanned<String>>,
    /// The device that it works on: `disk` or `network`.
    pub device: Device,
    /// Its other ends, started before it.
    #[serde(default)]
    pub with: Vec<PartSpec>,
    /// The numbers taken from its summary; the first is the one that tables and figures show.
    pub metrics: Vec<MetricSpec>,
    /// How the cost of one interrupt follows from the summary.
    #[serde(default)]
    pub cost: Option<CostSpec>,
    /// What it is, for readers.
    #[serde(default)]
    pub about: String,
}

/// A kind of device that an attachment gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// A block device or a file in its place.
    Disk,
    /// A network interface.
    Network,
}

/// One number of a probe's summary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricSpec {
    /// Its name in results.
    pub name: String,
    /// Its key in the summary, dots between levels.
    pub key: String,
    /// Its unit: `s`, `bits/s`, `bytes/s`, `ns`, `1` …
    pub unit: String,
    /// Which direction is good.
    pub better: Better,
    /// Relative difference that has no practical meaning, in percent. Verdicts are about it.
    #[serde(default = "default_margin_percent")]
    pub margin_percent: f64,
}

/// The margin of a metric whose plan names none, in percent.
fn default_margin_percent() -> f64 {
    1.0
}

/// Which direction of a metric is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Small numbers are good.
    Less,
    /// Large numbers are good.
    More,
    /// Neither: it explains rather than judges.
    Neither,
}

/// Names of the metrics from which the cost of one interrupt follows:
/// (elapsed − work × native elapsed per work) / interrupts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostSpec {
    /// The metric with the elapsed time, in seconds.
    pub elapsed: String,
    /// The metric with the work done, in any unit.
    pub work: String,
    /// The metric with the number of interrupts.
    pub interrupts: String,
}

/// One product of the axes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatrixSpec {
    /// Names of probes.
    pub probes: Vec<Spanned<String>>,
    /// Names of attachments.
    pub attachments: Vec<Spanned<String>>,
    /// Names of loads.
    pub loads: Vec<Spanned<String>>,
}

/// Globs over the names of cells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// Only cells that match one of these; all where empty.
    #[serde(default)]
    pub only: Vec<String>,
    /// Not the cells that match one of these.
    #[serde(default)]
    pub skip: Vec<String>,
}

/// Where the plans are that come with the program.
pub fn plans_folder() -> PathBuf {
    tools::workspace().join("plans")
}

/// Numbers published elsewhere, by the names of our cells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Where they come from.
    pub source: String,
    /// What their authors concluded.
    #[serde(default)]
    pub conclusions: Vec<String>,
    /// The cells.
    #[serde(default)]
    pub cell: Vec<PublishedCell>,
    /// Derived costs.
    #[serde(default)]
    pub cost_per_interrupt: Vec<PublishedCost>,
}

/// Published numbers of one cell. What is missing was not legible.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedCell {
    /// Its published id, such as `disk-3`.
    pub id: String,
    /// Its name here.
    pub name: String,
    /// How legible: `printed`, `derived`, `read`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certainty: Option<String>,
    /// Mean elapsed time, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_s: Option<f64>,
    /// Difference of the mean from native, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta_s: Option<f64>,
    /// Variance of the elapsed time, in square seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variance_s2: Option<f64>,
    /// Longest less shortest, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range_s: Option<f64>,
    /// Mean goodput, in bits/s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goodput_bps: Option<f64>,
    /// Interrupts, one number a run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interrupts: Vec<u64>,
}

/// A published cost of one interrupt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedCost {
    /// Name of the cell.
    pub name: String,
    /// Cost of one interrupt, in microseconds.
    pub cost_us: f64,
}

/// A platform's part of a plan as a `T`, where the plan was checked before; [`Sources::section`] is for the check.
///
/// # Errors
/// When a key is unknown or missing, or a value is no such thing.
pub fn section<T: DeserializeOwned>(table: &toml::Table) -> Result<T, toml::de::Error> {
    T::deserialize(table.clone())
}

impl Plan {
    /// The published numbers of a cell.
    pub fn published_cell(&self, cell: &Cell) -> Option<&PublishedCell> {
        let name = cell.name();
        self.published.as_ref()?.cell.iter().find(|cell| cell.name == name)
    }
}
