//! Files that are whole or not there: written aside, synced, then renamed.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use anyhow::{Context, Result};

/// Puts `text` into `folder/name`, in place of what was there.
///
/// # Errors
/// When the folder can't be made or written; what was there before is then still there.
pub fn put(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    let failed = || format!("write {}", path.display());
    let parent = path.parent().unwrap_or(folder);
    fs::create_dir_all(parent).with_context(failed)?;
    let aside = folder.join(format!("{name}.new"));
    let written = File::create(&aside)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&aside, &path))
        .and_then(|()| File::open(parent)?.sync_all());
    if written.is_err() {
        // Half a file beside the old one helps nobody; the error that counts is the one below.
        let _ = fs::remove_file(&aside);
    }
    written.with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), "report/a.txt", "one").unwrap();
        put(folder.path(), "report/a.txt", "two").unwrap();
        let report = folder.path().join("report");
        assert_eq!(fs::read_to_string(report.join("a.txt")).unwrap(), "two");
        assert_eq!(fs::read_dir(report).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_a_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("report"), "").unwrap();
        let error = put(folder.path(), "report/a.txt", "one").unwrap_err();
        assert!(format!("{error:#}").contains("report/a.txt"));
    }
}
