//! Cells: the points of probe × attachment × load that a plan asks for.

use anyhow::{Result, bail};
use globset::GlobBuilder;

use super::Plan;

/// One point of the matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Name of the probe.
    pub probe: String,
    /// Name of the attachment.
    pub attachment: String,
    /// Name of the load.
    pub load: String,
}

impl Cell {
    /// `probe/attachment/load`, which globs match and results are named by.
    pub fn name(&self) -> String {
        format!("{}/{}/{}", self.probe, self.attachment, self.load)
    }
}

/// The cells of a plan in its own order, each once, after its selection.
///
/// # Errors
/// A glob that can't be read, and a selection that leaves nothing.
pub fn expand(plan: &Plan) -> Result<Vec<Cell>> {
    let mut cells: Vec<Cell> = Vec::new();
    for product in &plan.matrix {
        for probe in &product.probes {
            for attachment in &product.attachments {
                for load in &product.loads {
                    let [probe, attachment, load] =
                        [probe, attachment, load].map(|name| name.get_ref().clone());
                    let cell = Cell { probe, attachment, load };
                    if !cells.contains(&cell) {
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
