//! Cells: the points of probe × attachment × load that a plan asks for.

use std::{collections::BTreeSet, fmt};

use anyhow::{Result, bail};
use globset::GlobBuilder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Plan;

/// One point of the matrix. Wherever cells are told apart it is by these parts, never by their joined name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Name of the probe.
    pub probe: String,
    /// Name of the attachment.
    pub attachment: String,
    /// Name of the load.
    pub load: String,
    /// Which arm of a cell that is measured more than once in each block, such as an A/A control; missing
    /// for the cell itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<String>,
}

impl Cell {
    /// The cell at these names, without an arm.
    pub fn new(probe: &str, attachment: &str, load: &str) -> Self {
        let [probe, attachment, load] = [probe, attachment, load].map(str::to_owned);
        Self { probe, attachment, load, arm: None }
    }

    /// `probe/attachment/load`, with `/arm` where there is one: for readers and globs. Names have no slash, so
    /// no two cells share it.
    pub fn name(&self) -> String {
        let Self { probe, attachment, load, arm } = self;
        let arm = arm.as_ref().map(|arm| format!("/{arm}")).unwrap_or_default();
        format!("{probe}/{attachment}/{load}{arm}")
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// The cells of a plan in its own order, each once, after its selection.
///
/// # Errors
/// A glob that can't be read, and a selection that leaves nothing.
pub fn expand(plan: &Plan) -> Result<Vec<Cell>> {
    let mut cells: Vec<Cell> = Vec::new();
    let mut known = BTreeSet::new();
    for product in &plan.matrix {
        for probe in &product.probes {
            for attachment in &product.attachments {
                for load in &product.loads {
                    let cell = Cell::new(probe.get_ref(), attachment.get_ref(), load.get_ref());
                    if known.insert(cell.clone()) {
                        cells.push(cell);
                    }
                }
            }
        }
    }
    let all: Vec<String> = cells.iter().map(Cell::name).collect();
    let only = matcher(&plan.selection.only)?;
    let skip = matcher(&plan.selection.skip)?;
    cells.retain(|cell| {
        let name = cell.name();
        (plan.selection.only.is_empty() || only(&name)) && !skip(&name)
    });
    if cells.is_empty() {
        bail!("no cell is left; --only and --skip match against these names:\n  {}", all.join("\n  "));
    }
    Ok(cells)
}

/// Whether a name matches one of the globs; `*` crosses the slashes, so `disk/*` is every disk cell.
fn matcher(globs: &[String]) -> Result<impl Fn(&str) -> bool> {
    let globs = globs
        .iter()
        .map(|glob| Ok(GlobBuilder::new(glob).literal_separator(false).build()?.compile_matcher()))
        .collect::<Result<Vec<_>>>()?;
    Ok(move |name: &str| globs.iter().any(|glob| glob.is_match(name)))
}
