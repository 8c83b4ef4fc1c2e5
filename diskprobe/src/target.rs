//! The file or device: opened, made ready for each run, and removed again.

use std::{
    fs::{File, Metadata, OpenOptions},
    io,
    os::{
        linux::fs::MetadataExt,
        unix::fs::{FileTypeExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use meter::{Error, Result, clock, control::Stop, interrupts::Sources, tool::tell_people};
use rustix::fs::{Advice, FallocateFlags, OFlags};

use crate::{
    blocks::Region,
    config::{Config, Durability, EngineKind, Existing, Layout, Mode, WriteMode},
    data::{Data, Filler},
    device, direct,
    disk::{self, Devices},
    extents::{Extents, Unreserved},
    filling::{self, Filling},
    inspect::{FileIdentity, Found, Seen},
    interrupts,
    sysfs::DeviceNumber,
};

/// The opened target. A file that it created is removed when it is dropped, unless it shall stay.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    found: Found,
    devices: Devices,
    keep: bool,
}

impl Target {
    /// Opens what [`crate::inspect::look`] saw, and checks that it is still that and still free.
    ///
    /// # Errors
    /// When it can't be opened, has changed meanwhile, or its file system refuses O_DIRECT.
    pub fn open(config: &Config, seen: &Seen) -> Result<Self> {
        let path = config.path.clone();
        let (write, keep) = match &config.mode {
            Mode::Write(write) => (Some(write), write.keep),
            Mode::Read(read) => (None, read.keep),
        };
        let created = seen.found == Found::Nothing;
        let exclusive = if write.is_some() && seen.found.is_device() { libc::O_EXCL } else { 0 };
        let file = OpenOptions::new()
            .read(true)
            .write(write.is_some() || created)
            .create_new(created)
            .custom_flags(exclusive)
            .open(&path)
            .map_err(|error| open_refused(&path, error))?;
        let metadata = file.metadata().map_err(|error| Error::system(path.display().to_string(), error))?;
        let devices = if created { disk::devices_of(&path, &metadata) } else { seen.devices.clone() };
        let target = Self { path, file, metadata, found: seen.found, devices, keep };
        target.check_unchanged(seen.identity)?;
        if let (Some(write), Some(number)) = (write, target.device_number()) {
            // Once more, now that nobody else can claim the device.
            device::check_writable(&number.node(), number, write.device.is_some())?;
        }
        if config.direct && !matches!(config.engine, EngineKind::Nvme(_)) {
            target.refuse_cache()?;
        }
        Ok(target)
    }

    /// Between the look and the opening someone else may have put another thing there, by a link too.
    fn check_unchanged(&self, identity: Option<FileIdentity>) -> Result<()> {
        let kind = self.metadata.file_type();
        let same = match self.found {
            Found::Nothing => kind.is_file(),
            Found::File { .. } => kind.is_file() && self.is_same_file(identity),
            Found::BlockDevice { number, .. } => {
                kind.is_block_device() && DeviceNumber::from_raw(self.metadata.st_rdev()) == number
            }
            Found::Namespace(_) => kind.is_char_device(),
        };
        if same {
            Ok(())
        } else {
            Err(Error::failed(format!("{} was replaced meanwhile", self.path.display())))
        }
    }

    /// overlayfs may give a file other numbers when it is first opened for writing.
    fn is_same_file(&self, identity: Option<FileIdentity>) -> bool {
        const OVERLAY: i64 = 0x794c_7630;
        identity == Some(FileIdentity::of(&self.metadata))
            || rustix::fs::fstatfs(&self.file).is_ok_and(|system| system.f_type == OVERLAY)
    }

    /// Switches O_DIRECT on. Not while opening: a file system that refuses it would leave an empty file.
    fn refuse_cache(&self) -> Result<()> {
        let flags = rustix::fs::fcntl_getfl(&self.file)
            .and_then(|flags| rustix::fs::fcntl_setfl(&self.file, flags | OFlags::DIRECT));
        flags.map_err(|error| {
            Error::unavailable(format!(
                "the file system of {} refuses O_DIRECT; use a file on a disk's file system, or --buffered",
                self.path.display()
            ))
            .with_source(error.into())
        })?;
        if direct::alignment_told_by(&self.file) == Some(0) && !self.found.is_device() {
            return Err(Error::unavailable(format!(
                "the file system of {} accepts O_DIRECT but goes through the page cache all the same, as with journaled or encrypted data; use another file, or --buffered",
                self.path.display()
            )));
        }
        Ok(())
    }

    /// What the opened file says that O_DIRECT requires, in bytes; `None` where it does not.
    #[must_use]
    pub fn alignment(&self) -> Option<u32> {
        direct::alignment_told_by(&self.file)
    }

    /// The block device whose data is written to, where the target is one.
    fn device_number(&self) -> Option<DeviceNumber> {
        match self.found {
            Found::BlockDevice { number, .. } => Some(number),
            Found::Namespace(namespace) => Some(namespace.device),
            Found::Nothing | Found::File { .. } => None,
        }
    }

    /// The open file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// What stood at the path.
    #[must_use]
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Whether its name leads to another file by now, or to none: what was measured has no name then.
    #[must_use]
    pub fn has_lost_its_name(&self) -> bool {
        !self.found.is_device() && !std::fs::metadata(&self.path).is_ok_and(|now| self.is_this(&now))
    }

    fn is_this(&self, metadata: &Metadata) -> bool {
        FileIdentity::of(metadata) == FileIdentity::of(&self.metadata)
    }

    /// Whose interrupts belong to it.
    #[must_use]
    pub fn interrupt_sources(&self) -> Sources {
        interrupts::sources(&self.devices)
    }

    /// What some parts of it consist of, where it is a file that was there, or a loop device on one: `None` for what
    /// has no extents.
    ///
    /// # Errors
    /// When the file system can't tell.
    pub fn extents(&self, parts: &[Region]) -> io::Result<Option<Extents>> {
        let backing = self.device_number().and_then(disk::loop_file);
        let backing =
            backing.map(|(path, offset)| File::open(path).map(|file| (file, offset))).transpose()?;
        let (file, begin) = match (&backing, self.found) {
            (Some((file, offset)), _) => (file, *offset),
            (None, Found::File { .. }) => (&self.file, 0),
            _ => return Ok(None),
        };
        let mut sum = Extents::default();
        for part in parts {
            sum.add(&Extents::of(file, Region { offset: begin + part.offset, ..*part })?);
        }
        Ok(Some(sum))
    }

    /// Gives a run its beginning: a file of its own is emptied and its space made ready anew. What is done once only,
    /// such as filling, is done the `first` time.
    ///
    /// # Errors
    /// When there is no space. A file that was there gets its size back.
    pub fn prepare_run(&self, config: &Config, region: Region, first: bool, stop: &Stop) -> Result<()> {
        if self.found.is_device() {
            return Ok(());
        }
        match &config.mode {
            Mode::Write(write) => self.prepare_write(config, write, region, first, stop),
            Mode::Read(_) if first && self.found == Found::Nothing => {
                let filler = Filler { data: Data::Random, seed: config.seed, verifiable: true };
                self.filling(config.engine, stop).fill(region, region.length, filler)
            }
            Mode::Read(_) => Ok(()),
        }
    }

    fn prepare_write(
        &self,
        config: &Config,
        write: &WriteMode,
        region: Region,
        first: bool,
        stop: &Stop,
    ) -> Result<()> {
        let created = self.found == Found::Nothing;
        let again = created && write.layout != Layout::Fill;
        if write.existing == Existing::Append || (!first && !again) {
            return Ok(());
        }
        if again {
            self.file.set_len(0).map_err(|error| self.failed("empty", error))?;
        }
        if write.layout == Layout::Extend {
            return Ok(());
        }
        self.reserve(region)?;
        if write.layout == Layout::Fill {
            self.filling(config.engine, stop).fill(region, region.length, filling::UNRELATED)?;
        }
        Ok(())
    }

    /// A way to write to it outside of any measurement.
    #[must_use]
    pub fn filling<'a>(&'a self, engine: EngineKind, stop: &'a Stop) -> Filling<'a> {
        Filling { file: &self.file, path: &self.path, engine, stop }
    }

    /// Reserves what the region lacks. Only that: XFS wants space for all that it is asked for, even if it is there.
    fn reserve(&self, region: Region) -> Result<()> {
        let missing = Unreserved::of(&self.file, region).map_err(|error| self.failed("look at", error))?;
        self.check_space(missing.bytes)?;
        let end = region.offset + region.length;
        let size = self.file.metadata().map_err(|error| self.failed("look at", error))?.len();
        let last = (size < end).then_some(Region { offset: end - 1, length: 1 });
        for Region { offset, length } in missing.parts.into_iter().chain(last) {
            match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), offset, length) {
                Ok(()) => {}
                // Not every file system can reserve; its blocks are found while writing then.
                Err(rustix::io::Errno::OPNOTSUPP) => return Ok(()),
                Err(error) => {
                    if let Found::File { size } = self.found {
                        // Space that was reserved before it ran out; the error below matters more than this one.
                        let _: io::Result<()> = self.file.set_len(size);
                    }
                    return Err(self.failed(&format!("reserve {} bytes for", missing.bytes), error.into()));
                }
            }
        }
        Ok(())
    }

    /// Refuses to reserve what there is no space for: trying would fill the file system first, and where
    /// that fills holes of a file that was there, no size given back would free them.
    fn check_space(&self, missing: u64) -> Result<()> {
        match rustix::fs::fstatvfs(&self.file).ok().and_then(|system| filling::free_bytes(&system)) {
            Some(free) if free < missing => {
                let what =
                    format!("reserve {missing} bytes, with {free} free (--layout extend reserves none), for");
                Err(self.failed(&what, io::Error::from_raw_os_error(libc::ENOSPC)))
            }
            _ => Ok(()),
        }
    }

    /// Makes the data durable and gives the seconds that took; `None` when that was not asked for.
    ///
    /// # Errors
    /// When the data could not be written after all.
    pub fn sync(&self, durability: Durability) -> Result<Option<f64>> {
        let begin_ns = clock::now_ns();
        let result = match durability {
            Durability::None => return Ok(None),
            Durability::Fdatasync => self.file.sync_data(),
            Durability::Fsync => self.file.sync_all(),
        };
        result.map_err(|error| self.failed("sync", error))?;
        Ok(Some((clock::now_ns() - begin_ns) as f64 / 1e9))
    }

    /// Forgets what the page cache holds of it, so that a verification reads from the disk.
    ///
    /// # Errors
    /// When cached data could not be written.
    pub fn forget_cache(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| self.failed("sync", error))?;
        rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed)
            .map_err(|error| self.failed("drop the cached data of", error.into()))
    }

    fn failed(&self, what: &str, error: io::Error) -> Error {
        Error::system(format!("{what} {}", self.path.display()), error)
    }
}

fn open_refused(path: &Path, error: io::Error) -> Error {
    let shown = path.display();
    match error.raw_os_error() {
        Some(libc::EBUSY) => Error::unavailable(format!(
            "{shown} is in use: mounted, swap, or held by another device or program"
        ))
        .with_source(error),
        Some(libc::EEXIST) => Error::failed(format!("{shown} appeared meanwhile")).with_source(error),
        Some(libc::EPERM) => {
            Error::unavailable(format!("open {shown}; is it immutable or append-only (lsattr)?"))
                .with_source(error)
        }
        _ => Error::system(format!("open {shown}"), error),
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.found != Found::Nothing || self.keep {
            return;
        }
        // Only the very file that was created: the name may belong to another one by now.
        let same = std::fs::symlink_metadata(&self.path).is_ok_and(|now| self.is_this(&now));
        if same && let Err(error) = std::fs::remove_file(&self.path) {
            tell_people(format_args!("diskprobe: remove {}: {error}", self.path.display()));
        }
    }
}
