//! A look at the path before anything is opened for writing: what it is, and whether it may be touched.

use std::{
    fs::{self, Metadata},
    io,
    os::{linux::fs::MetadataExt, unix::fs::FileTypeExt},
    path::{Path, PathBuf},
};

use meter::{Error, ErrorKind, Result};

use crate::{
    config::{Config, EngineKind, Existing, Mode, WriteMode},
    device,
    disk::{self, Devices},
    facts::Facts,
    nvme::Namespace,
    sysfs::{DeviceNumber, read_number},
};

/// What stands at the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing: a file is to be created.
    Nothing,
    /// A regular file.
    File {
        /// Its size, in bytes.
        size: u64,
    },
    /// A block device.
    BlockDevice {
        /// Its size, in bytes.
        size: u64,
        /// Its number.
        number: DeviceNumber,
    },
    /// The generic character device of an NVMe namespace.
    Namespace(Namespace),
}

impl Found {
    /// Size in bytes; 0 for nothing.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::File { size } | Self::BlockDevice { size, .. } => *size,
            Self::Namespace(namespace) => namespace.size_bytes,
        }
    }

    /// Whether it is a device rather than a file.
    #[must_use]
    pub fn is_device(&self) -> bool {
        matches!(self, Self::BlockDevice { .. } | Self::Namespace(_))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Nothing => "new file",
            Self::File { .. } => "file",
            Self::BlockDevice { .. } => "block device",
            Self::Namespace(_) => "NVMe namespace",
        }
    }
}

/// What was found, with its facts.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What stands at the path.
    pub found: Found,
    /// What a result on it depends on.
    pub facts: Facts,
    /// The block devices under it, or why there are none.
    pub devices: Devices,
    /// Which file it is, where something stands there.
    pub identity: Option<FileIdentity>,
}

/// A file whatever its name: the numbers of its file system's device and of its inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    /// Of the file with that metadata.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.st_dev(), inode: metadata.st_ino() }
    }
}

/// Looks at the path and refuses what must not be touched. Changes nothing.
///
/// # Errors
/// What is wrong with the path, and what to try.
pub fn look(config: &Config) -> Result<Seen> {
    let path = config.path.as_path();
    let seen = match fs::metadata(path) {
        Ok(metadata) => existing(config, path, &metadata)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => missing(config, path)?,
        Err(error) => return Err(unreachable(path, error)),
    };
    if let Mode::Write(write) = &config.mode {
        may_write(path, &seen.found, write)?;
    }
    if let EngineKind::IoUring(options) | EngineKind::Nvme(options) = config.engine
        && options.io_poll
        && seen.facts.poll_queues != Some(true)
    {
        return Err(no_poll_queues(path, &seen.facts));
    }
    Ok(seen)
}

fn existing(config: &Config, path: &Path, metadata: &Metadata) -> Result<Seen> {
    let kind = metadata.file_type();
    let shown = path.display();
    let number = DeviceNumber::from_raw(metadata.st_rdev());
    let found = match config.engine {
        EngineKind::Nvme(_) => Found::Namespace(Namespace::of(path, number)?),
        _ if kind.is_file() => Found::File { size: metadata.len() },
        _ if kind.is_block_device() => Found::BlockDevice { size: device_size(path, number)?, number },
        _ if kind.is_dir() => return Err(Error::bad_arguments(format!("{shown} is a folder"))),
        _ => {
            let name = match () {
                () if kind.is_fifo() => "a FIFO",
                () if kind.is_socket() => "a socket",
                () => "a character device",
            };
            return Err(Error::bad_arguments(format!(
                "{shown} is {name}, neither a file nor a block device; NVMe generic devices need --engine nvme"
            )));
        }
    };
    let devices = match found {
        Found::Namespace(namespace) => Ok(vec![namespace.device]),
        _ => disk::devices_of(path, metadata),
    };
    let facts = Facts::collect(found.name(), Some(found.size()), path, &devices);
    Ok(Seen { found, facts, devices, identity: Some(FileIdentity::of(metadata)) })
}

fn missing(config: &Config, path: &Path) -> Result<Seen> {
    let shown = path.display();
    if matches!(config.engine, EngineKind::Nvme(_)) || path.starts_with("/dev") {
        return Err(Error::unavailable(format!("there is no device {shown}")));
    }
    match &config.mode {
        Mode::Read(read) if !read.create => {
            return Err(Error::bad_arguments(format!(
                "{shown} does not exist; pass --create to fill a file first"
            )));
        }
        Mode::Write(WriteMode { existing: Existing::Append, .. }) => {
            return Err(Error::bad_arguments(format!(
                "{shown} does not exist; there is nothing to append to"
            )));
        }
        _ => {}
    }
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(Error::bad_arguments(format!("{shown} would be a folder")));
    }
    if fs::symlink_metadata(path).is_ok() {
        return Err(Error::bad_arguments(format!(
            "{shown} is a link to nothing; pass what it shall lead to"
        )));
    }
    let folder = folder_of(path);
    let metadata = fs::metadata(folder).map_err(|error| {
        Error::system(format!("the folder {}", folder.display()), error).with_kind(ErrorKind::BadArguments)
    })?;
    if !metadata.is_dir() {
        return Err(Error::bad_arguments(format!("{} is not a folder", folder.display())));
    }
    let devices = disk::devices_of(folder, &metadata);
    let facts = Facts::collect(Found::Nothing.name(), None, folder, &devices);
    Ok(Seen { found: Found::Nothing, facts, devices, identity: None })
}

/// Why nothing can be found out about `path`: a name that leads nowhere is the user's error.
fn unreachable(path: &Path, error: io::Error) -> Error {
    let shown = path.display();
    match error.raw_os_error() {
        Some(libc::ELOOP) => {
            Error::bad_arguments(format!("{shown} leads in a circle ({})", circle(path).join(" → ")))
        }
        Some(libc::ENOTDIR) => {
            Error::bad_arguments(format!("{shown} leads through something that is no folder"))
        }
        Some(libc::ENAMETOOLONG) => Error::bad_arguments(shown.to_string()).with_source(error),
        _ => Error::system(shown.to_string(), error),
    }
}

/// The links of a path that never ends, from the first one to where the circle closes.
fn circle(path: &Path) -> Vec<String> {
    let endless =
        |part: &Path| fs::metadata(part).is_err_and(|error| error.raw_os_error() == Some(libc::ELOOP));
    let first = path.ancestors().filter(|part| endless(part)).last().unwrap_or(path);
    let mut links = vec![first.to_owned()];
    while let Some(next) = links.last().and_then(|link| Some(folder_of(link).join(fs::read_link(link).ok()?)))
    {
        let closed = links.contains(&next) || links.len() >= MOST_LINKS;
        links.push(next);
        if closed {
            break;
        }
    }
    links.iter().map(|link| link.strip_prefix(".").unwrap_or(link).display().to_string()).collect()
}

/// As many links as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// The folder that holds `path`.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The folder of the file system that holds the data of `path`: links are followed to where they lead, also
/// one of /proc/PID/fd to a file that has no name.
#[must_use]
pub fn data_folder(path: &Path) -> PathBuf {
    let mut at = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(next) = fs::read_link(&at) else { break };
        at = folder_of(&at).join(next);
    }
    let folder = folder_of(&at);
    if folder.is_dir() { folder.to_owned() } else { folder_of(path).to_owned() }
}

/// Whether data that is there may go.
fn may_write(path: &Path, found: &Found, write: &WriteMode) -> Result<()> {
    let shown = path.display();
    // A plan names its target twice, be it a device or a file in the place of one.
    if let Some(named) = &write.device
        && named != path
    {
        let named = named.display();
        return Err(Error::bad_arguments(format!("--device {named} is not what is written to, {shown}")));
    }
    match (found, write.existing) {
        (Found::Nothing, _) => Ok(()),
        (Found::File { .. }, Existing::Overwrite | Existing::Append) => Ok(()),
        (Found::File { .. }, Existing::Refuse) => Err(Error::bad_arguments(format!(
            "{shown} exists; pass --overwrite to write over it, or another path"
        ))),
        (_, Existing::Append) => Err(Error::bad_arguments(format!("{shown} is a device and can't grow"))),
        (_, Existing::Refuse) => Err(Error::bad_arguments(format!(
            "{shown} is a device; pass --overwrite to destroy what it holds"
        ))),
        (Found::BlockDevice { number, .. }, Existing::Overwrite) => {
            device::check_writable(path, *number, write.device.is_some())
        }
        (Found::Namespace(namespace), Existing::Overwrite) => {
            let block = namespace.device.node();
            device::check_writable(&block, namespace.device, write.device.is_some())
        }
    }
}

/// Size of a block device in bytes, from sysfs.
fn device_size(path: &Path, number: DeviceNumber) -> Result<u64> {
    read_number(number.folder().join("size"))
        .map(|sectors| sectors * 512)
        .filter(|size| *size > 0)
        .ok_or_else(|| Error::unavailable(format!("{} has no medium, or a size of 0", path.display())))
}

fn no_poll_queues(path: &Path, facts: &Facts) -> Error {
    let disk = facts.disk.as_deref().unwrap_or("no disk");
    Error::unavailable(format!(
        "--io-poll: {} lies on {disk}, which has no poll queues; NVMe gets them with the module parameter nvme.poll_queues",
        path.display()
    ))
}
