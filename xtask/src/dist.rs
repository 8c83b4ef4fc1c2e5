//! `cargo xtask dist`: the tools for guests, with checksums.

use std::{fmt::Write, fs};

use anyhow::{Context, Result};

use crate::args::DistArgs;

/// Builds, copies and lists the binaries.
pub fn run(args: &DistArgs) -> Result<u8> {
    let binaries = tools::build()?;
    fs::create_dir_all(&args.out).with_context(|| format!("create {}", args.out.display()))?;
    let mut sums = String::new();
    for (name, sha256) in &binaries.sha256 {
        let target = args.out.join(name);
        let bytes = fs::copy(binaries.folder.join(name), &target)
            .with_context(|| format!("copy to {}", target.display()))?;
        println!("{:<10} {:>9} bytes  {}", name, bytes, target.display());
        let _ = writeln!(sums, "{sha256}  {name}");
    }
    fs::write(args.out.join("SHA256SUMS"), sums).context("write SHA256SUMS")?;
    Ok(0)
}
