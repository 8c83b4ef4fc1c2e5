//! Results folders: `results/<utc>-<plan>/`, and `results/latest` that points at the newest.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result, bail};

use crate::{journal, replace};

/// A new folder under `base` for a run of `plan` that begins now.
pub fn create(base: &Path, plan: &str) -> Result<PathBuf> {
    fs::create_dir_all(base)
        .with_context(|| format!("create {}; choose another place with --results", base.display()))?;
    let base = base.canonicalize().with_context(|| format!("find {}", base.display()))?;
    let utc = humantime::format_rfc3339_seconds(SystemTime::now()).to_string().replace([':', '-'], "");
    for suffix in 0..100 {
        let suffix = if suffix == 0 { String::new() } else { format!("-{suffix}") };
        let folder = base.join(format!("{utc}-{plan}{suffix}"));
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(error).with_context(|| {
                    format!("create {}; choose another place with --results", folder.display())
                });
            }
        }
    }
    bail!("{} has a hundred results of this second already", base.display())
}

/// Name of the plan in a results folder.
pub const PLAN: &str = "plan.toml";

/// Stores the resolved plan, from which a matrix can begin again until there is a journal.
///
/// # Errors
/// When it can't be written.
pub fn store_plan(folder: &Path, text: &str) -> Result<()> {
    replace::file(folder, PLAN, text)
}

/// Removes a folder in which nothing was measured.
pub fn remove_if_unused(folder: &Path) {
    if !folder.join(journal::FILE_NAME).exists() {
        let _ = fs::remove_file(folder.join(PLAN));
        let _ = fs::remove_dir(folder);
    }
}

/// Removes a folder whose journal has no trial.
pub fn remove_unmeasured(folder: &Path) {
    let _ = fs::remove_file(folder.join(journal::FILE_NAME));
    remove_if_unused(folder);
}

/// Points the `latest` beside `folder` at it, in one step.
///
/// # Errors
/// When it can't be made, and when something that is no link has that name.
pub fn point_latest(folder: &Path) -> Result<()> {
    let base = folder.parent().context("a results folder is in another")?;
    let name = folder.file_name().context("a results folder has a name")?;
    replace::link(&base.join("latest"), Path::new(name))
}
