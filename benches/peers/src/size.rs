//! How large each static binary is: a bound of its own, no peer.

use std::fs;

use anyhow::{Context, Result};

use super::{
    comparison::{Comparison, Contender},
    figures::{Figure, Measurement},
    workbench::Workbench,
};

const LIMIT_BYTES: f64 = 1.5e6;

/// All comparisons of this group.
pub fn comparisons() -> Vec<Comparison> {
    tools::NAMES.into_iter().map(tool).collect()
}

fn tool(name: &'static str) -> Comparison {
    let size = move |workbench: &Workbench| -> Result<Measurement> {
        let path = workbench.binary(name);
        let file = fs::metadata(&path).with_context(|| format!("look at {}", path.display()))?;
        Ok(Measurement::default().with(Figure::SIZE_BYTES, file.len() as f64))
    };
    let what = "the static binary for guests, stripped";
    Comparison::new(format!("size/{name}"), what, Contender::ours(name, size))
        .at_most(Figure::SIZE_BYTES, LIMIT_BYTES)
}
