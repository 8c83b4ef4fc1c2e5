//! Files and links that are whole or not there: made aside under a name of their own, then renamed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context, Result};

/// Puts `text` into `folder/name`, in place of what was there. Several processes may do so at once: one of the
/// texts stays, whole.
///
/// # Errors
/// When the folder can't be made or written; what was there before is then still there.
pub fn file(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    let failed = || format!("write {}", path.display());
    let parent = path.parent().unwrap_or(folder);
    fs::create_dir_all(parent).with_context(failed)?;
    let write = |aside: &Path| {
        let mut file = OpenOptions::new().write(true).create_new(true).open(aside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    put(&path, write).and_then(|()| sync_folder(parent)).with_context(failed)
}

/// Makes `path` a symbolic link to `target`, in place of the link that was there.
///
/// # Errors
/// When the folder can't be written, and when `path` is a folder.
pub fn link(path: &Path, target: &Path) -> Result<()> {
    let linked = put(path, |aside| symlink(target, aside));
    linked.with_context(|| format!("make {} a link to {}", path.display(), target.display()))
}

/// Makes the names in `folder` last through a power cut.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Has `make` make something aside, and renames it to `path`. Nothing stays aside when that fails.
fn put(path: &Path, make: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    loop {
        let aside = aside(path);
        let made = make(&aside);
        // A process of another machine or container may have this one's number and share the folder.
        if made.as_ref().is_err_and(|error| error.kind() == ErrorKind::AlreadyExists) {
            continue;
        }
        let made = made.and_then(|()| fs::rename(&aside, path));
        if made.is_err() {
            let _ = fs::remove_file(&aside);
        }
        return made;
    }
}

/// A name beside `path` that this process gives to nothing else.
fn aside(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".{name}.{}-{count}.new", process::id()))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        file(folder.path(), "report/a.txt", "one").unwrap();
        file(folder.path(), "report/a.txt", "two").unwrap();
        let report = folder.path().join("report");
        assert_eq!(fs::read_to_string(report.join("a.txt")).unwrap(), "two");
        assert_eq!(fs::read_dir(report).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_a_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("report"), "").unwrap();
        let error = file(folder.path(), "report/a.txt", "one").unwrap_err();
        assert!(format!("{error:#}").contains("report/a.txt"));
    }

    #[test]
    fn many_writers_at_once_leave_one_whole_text() {
        let folder = tempfile::tempdir().unwrap();
        let texts: Vec<String> = (0..8).map(|writer| format!("{writer}").repeat(100_000)).collect();
        thread::scope(|scope| {
            for text in &texts {
                scope.spawn(|| (0..5).for_each(|_| file(folder.path(), "a.txt", text).unwrap()));
            }
        });
        assert!(texts.contains(&fs::read_to_string(folder.path().join("a.txt")).unwrap()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_replaces_a_link_and_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        let latest = folder.path().join("latest");
        link(&latest, Path::new("first")).unwrap();
        link(&latest, Path::new("second")).unwrap();
        assert_eq!(fs::read_link(&latest).unwrap(), Path::new("second"));
        fs::remove_file(&latest).unwrap();
        fs::create_dir(&latest).unwrap();
        let error = link(&latest, Path::new("third")).unwrap_err();
        assert!(format!("{error:#}").contains("latest"), "{error:#}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
