//! The file or block device: looked at, opened, made ready for each run, and removed again.

use std::{
    fs::{File, Metadata, OpenOptions},
    io,
    os::{
        linux::fs::MetadataExt,
        unix::fs::{FileTypeExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use meter::{Error, Result, interrupts::Sources};
use rustix::fs::FallocateFlags;

use crate::{
    config::{Config, Mode},
    disk::{self, DeviceNumber},
};

/// What stands at the path before anything is opened for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing: a file is to be created.
    Nothing,
    /// A regular file of that many bytes.
    File(u64),
    /// A block device of that many bytes.
    BlockDevice(u64),
}

/// Looks at the path and refuses what must not be touched. Changes nothing.
///
/// # Errors
/// What is wrong with the path, and what to try.
pub fn inspect(config: &Config) -> Result<Found> {
    let path = &config.path;
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return missing(config),
        Err(error) => return Err(Error::system(path.display().to_string(), error)),
    };
    let kind = metadata.file_type();
    let found = if kind.is_file() {
        Found::File(metadata.len())
    } else if kind.is_block_device() {
        Found::BlockDevice(device_size(path, &metadata)?)
    } else {
        let what = if kind.is_dir() { "a folder" } else { "neither a file nor a block device" };
        return Err(Error::bad_arguments(format!("{} is {what}", path.display())));
    };
    match (&config.mode, found) {
        (Mode::Write { overwrite: false, .. }, Found::File(_)) => Err(Error::bad_arguments(format!(
            "{} exists; pass --overwrite to write over it, or another path",
            path.display()
        ))),
        (Mode::Write { overwrite: false, .. }, Found::BlockDevice(_)) => Err(Error::bad_arguments(format!(
            "{} is a block device; pass --overwrite to destroy what it holds",
            path.display()
        ))),
        _ => Ok(found),
    }
}

fn missing(config: &Config) -> Result<Found> {
    let path = &config.path;
    if matches!(config.mode, Mode::Read { create: None, .. }) {
        return Err(Error::bad_arguments(format!(
            "{} does not exist; pass --create to fill a file first",
            path.display()
        )));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match std::fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => Ok(Found::Nothing),
        Ok(_) => Err(Error::bad_arguments(format!("{} is not a folder", folder.display()))),
        Err(error) => Err(Error::system(format!("the folder {}", folder.display()), error)
            .with_kind(meter::ErrorKind::BadArguments)),
    }
}

/// Size of a block device in bytes, from sysfs.
fn device_size(path: &Path, metadata: &Metadata) -> Result<u64> {
    let folder = DeviceNumber::from_raw(metadata.st_rdev()).folder();
    disk::read_number(folder.join("size"))
        .map(|sectors| sectors * 512)
        .filter(|size| *size > 0)
        .ok_or_else(|| Error::unavailable(format!("{} has no medium or a size of 0", path.display())))
}

/// The opened target. A file that it created is removed when it is dropped, unless it shall stay.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    created: bool,
    keep: bool,
    preallocate_bytes: Option<u64>,
}

impl Target {
    /// Opens what [`inspect`] found, and checks that it is still the same.
    ///
    /// # Errors
    /// When it can't be opened, has changed meanwhile, or its file system refuses O_DIRECT.
    pub fn open(config: &Config, found: Found, total_bytes: u64) -> Result<Self> {
        let path = config.path.clone();
        let mut options = OpenOptions::new();
        let (write, keep) = match config.mode {
            Mode::Write { keep, .. } => (true, keep),
            Mode::Read { keep, .. } => (false, keep),
        };
        let exclusive = if write && matches!(found, Found::BlockDevice(_)) { libc::O_EXCL } else { 0 };
        options
            .read(true)
            .write(write || found == Found::Nothing)
            .create_new(found == Found::Nothing)
            .custom_flags(libc::O_DIRECT | libc::O_CLOEXEC | exclusive);
        let file = options.open(&path).map_err(|error| open_refused(&path, error))?;
        let metadata = file.metadata().map_err(|error| Error::system(path.display().to_string(), error))?;
        let created = found == Found::Nothing;
        let preallocate_bytes = (write && !matches!(found, Found::BlockDevice(_))).then_some(total_bytes);
        let target = Self { path, file, metadata, created, keep, preallocate_bytes };
        target.check_unchanged(found)?;
        Ok(target)
    }

    /// Between the look and the opening someone else may have put another thing there.
    fn check_unchanged(&self, found: Found) -> Result<()> {
        let kind = self.metadata.file_type();
        let same = match found {
            Found::Nothing | Found::File(_) => kind.is_file(),
            Found::BlockDevice(_) => kind.is_block_device(),
        };
        if same {
            Ok(())
        } else {
            Err(Error::failed(format!("{} was replaced meanwhile", self.path.display())))
        }
    }

    /// The open file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Whose interrupts belong to it.
    #[must_use]
    pub fn interrupt_sources(&self) -> Sources {
        disk::interrupt_sources(&disk::device_of(&self.path, &self.metadata))
    }

    /// Gives every run the same beginning: a file of its own is emptied and its space reserved anew.
    ///
    /// # Errors
    /// When there is no space.
    pub fn prepare_run(&self) -> Result<()> {
        let Some(size) = self.preallocate_bytes else { return Ok(()) };
        let failed =
            |what: &str, error: io::Error| Error::system(format!("{what} {}", self.path.display()), error);
        if self.created {
            self.file.set_len(0).map_err(|error| failed("empty", error))?;
        }
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, size) {
            // Not every file system can reserve; the blocks are allocated while writing then.
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            result => result.map_err(|error| failed("reserve space for", error.into())),
        }
    }
}

fn open_refused(path: &Path, error: io::Error) -> Error {
    let path = path.display();
    match error.raw_os_error() {
        Some(libc::EINVAL) => Error::unavailable(format!(
            "the file system of {path} refuses O_DIRECT; use a file on a disk's file system, or --buffered"
        ))
        .with_source(error),
        Some(libc::EBUSY) => Error::unavailable(format!(
            "{path} is in use: mounted, swap, or held by another device or program"
        ))
        .with_source(error),
        _ => Error::system(format!("open {path}"), error),
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.created || self.keep {
            return;
        }
        // Only the very file that was created: the name may belong to another one by now.
        let same = std::fs::symlink_metadata(&self.path).is_ok_and(|now| {
            (now.st_dev(), now.st_ino()) == (self.metadata.st_dev(), self.metadata.st_ino())
        });
        if same && let Err(error) = std::fs::remove_file(&self.path) {
            eprintln!("diskprobe: remove {}: {error}", self.path.display());
        }
    }
}
