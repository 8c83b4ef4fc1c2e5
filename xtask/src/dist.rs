//! `cargo xtask dist`: the tools for guests, with checksums.

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::{Context, Result};

use crate::args::DistArgs;

/// Builds, copies and lists the binaries.
pub fn run(args: &DistArgs) -> Result<u8> {
    let binaries = tools::build()?;
    fs::create_dir_all(&args.out).with_context(|| format!("create {}", args.out.display()))?;
    let mut sums = String::new();
    for (name, binary) in binaries.iter() {
        let target = args.out.join(name);
        let bytes = binary.bytes().with_context(|| format!("read {name}"))?;
        write_executable(&target, &bytes).with_context(|| format!("write {}", target.display()))?;
        println!("{:<10} {:>9} bytes  {}", name, bytes.len(), target.display());
        let _ = writeln!(sums, "{}  {name}", binary.sha256());
    }
    fs::write(args.out.join("SHA256SUMS"), sums).context("write SHA256SUMS")?;
    Ok(0)
}

/// A new file in the place of what is there, which may be running.
fn write_executable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o755).open(path)?.write_all(bytes)
}
