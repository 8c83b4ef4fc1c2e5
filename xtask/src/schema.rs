//! `cargo xtask schema`: the JSON schemas of all records, generated from the types that write them.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use meter::{
    record::Envelope,
    session::{Failure, Quiet, Ready},
};
use schemars::{Schema, schema_for};

use crate::args::SchemaArgs;
use results::journal;

/// Every schema with the stem of its file: `TOOL-RECORD`, or `TOOL-SUBCOMMAND-RECORD`.
fn all() -> Vec<(&'static str, Schema)> {
    let common = vec![
        ("record-ready", schema_for!(Envelope<Ready>)),
        ("record-quiet", schema_for!(Envelope<Quiet>)),
        ("record-error", schema_for!(Envelope<Failure>)),
        ("matrix-journal", schema_for!(journal::Line)),
    ];
    let tools = [
        cpuload::schemas(),
        diskprobe::schemas(),
        irqwatch::schemas(),
        netprobe::schemas(),
        udpsend::schemas(),
        report::schemas(),
    ];
    common.into_iter().chain(tools.into_iter().flatten()).collect()
}

/// Writes the schemas, or compares them with what is there.
pub fn run(args: &SchemaArgs) -> Result<u8> {
    let folder: PathBuf = tools::workspace().join("docs/schema");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    for (stem, schema) in all() {
        let path = folder.join(format!("{stem}.json"));
        let text = serde_json::to_string_pretty(&schema)? + "\n";
        if !args.check {
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        } else if fs::read_to_string(&path).ok().as_deref() != Some(&text) {
            bail!("{} is not what the code says; run `cargo xtask schema` and commit", path.display());
        }
    }
    Ok(0)
}
