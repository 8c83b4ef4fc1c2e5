//! `cargo xtask schema`: the JSON schemas of all records, generated from the types that write them.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use schemars::Schema;

use crate::{args::SchemaArgs, tools};

/// Every schema with the stem of its file.
fn all() -> Vec<(&'static str, Schema)> {
    Vec::new()
}

/// Writes the schemas, or compares them with what is there.
pub fn run(args: &SchemaArgs) -> Result<u8> {
    let folder: PathBuf = tools::workspace().join("docs/schema");
    fs::create_dir_all(&folder)?;
    for (stem, schema) in all() {
        let path = folder.join(format!("{stem}.json"));
        let text = serde_json::to_string_pretty(&schema)? + "\n";
        if args.check {
            if fs::read_to_string(&path).ok().as_deref() != Some(&text) {
                bail!("{} is not what the code says; run `cargo xtask schema` and commit", path.display());
            }
        } else {
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        }
    }
    Ok(0)
}
