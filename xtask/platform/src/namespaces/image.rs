//! A disk image without a name: it is gone when this process is, whatever ends it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use domain::Stopped;
use meter::control::Stop;

/// Bytes written at once.
const CHUNK: usize = 1 << 20;
/// What is written between two syncs at first; the stop flag is looked at after each.
const PIECE: u64 = 4 << 20;
/// How long a sync should take: a stop is seen soon after it was asked for on slow disks too.
const SYNC: Duration = Duration::from_millis(150);

/// A file of real, written blocks: the first write to a hole or to unwritten extents costs more than
/// all later ones, and would be measured.
pub(super) struct Image {
    file: File,
}

impl Image {
    /// Makes one of `bytes` on the file system of `folder`.
    ///
    /// # Errors
    /// When it can't be written; [`Stopped`] when the user stops it meanwhile.
    pub(super) fn create(folder: &Path, bytes: u64, stop: &Stop) -> Result<Self> {
        let failed = || format!("make a disk image of {bytes} bytes in {}", folder.display());
        let file = unnamed_file(folder).with_context(failed)?;
        if !fill(&file, bytes, stop).with_context(failed)? {
            bail!(Stopped);
        }
        Ok(Self { file })
    }

    /// Where this process and those it starts can open it.
    pub(super) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }
}

/// A new file that is in no folder (O_TMPFILE of open(2)).
fn unnamed_file(folder: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().custom_flags(libc::O_TMPFILE).open(folder) {
        // File systems without it, such as NFS and overlayfs before Linux 6.3.
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::ENOENT)) =>
        {
            let path = folder.join(format!(".disk-{}.img", std::process::id()));
            let file = options.create_new(true).open(&path)?;
            fs::remove_file(&path)?;
            Ok(file)
        }
        made => made,
    }
}

/// Writes `bytes` of something that is neither zeros nor compressible to a point; whether all of it was
/// written before `stop` was raised.
fn fill(mut file: &File, bytes: u64, stop: &Stop) -> io::Result<bool> {
    let mut random = meter::random::Random::new(bytes);
    let mut chunk = vec![0; CHUNK];
    // The first chunk stays zero, so that no file system or partition table is seen in it.
    let (mut written, mut synced, mut piece) = (0, 0, PIECE);
    while written < bytes {
        if stop.is_raised() {
            return Ok(false);
        }
        let length = CHUNK.min((bytes - written) as usize);
        file.write_all(&chunk[..length])?;
        written += length as u64;
        for word in chunk.chunks_exact_mut(8) {
            word.copy_from_slice(&random.next_u64().to_le_bytes());
        }
        if written - synced >= piece || written == bytes {
            let began = Instant::now();
            file.sync_data()?;
            piece =
                if began.elapsed() < SYNC { (2 * piece).min(16 * PIECE) } else { (piece / 2).max(PIECE / 4) };
            synced = written;
        }
    }
    file.sync_all()?;
    Ok(!stop.is_raised())
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::unix::fs::MetadataExt};

    use super::*;

    #[test]
    fn an_image_is_written_and_in_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = 5 * CHUNK as u64 + 4096;
        let image = Image::create(folder.path(), bytes, &Stop::new()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let facts = fs::metadata(image.path()).unwrap();
        assert_eq!(facts.len(), bytes);
        assert!(facts.blocks() * 512 >= bytes, "it has holes");
        let mut data = Vec::new();
        File::open(image.path()).unwrap().read_to_end(&mut data).unwrap();
        assert!(data[..CHUNK].iter().all(|&byte| byte == 0));
        assert_ne!(data[CHUNK..2 * CHUNK], data[2 * CHUNK..3 * CHUNK]);
    }

    #[test]
    fn a_stop_ends_the_filling_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let stop = Stop::new();
        stop.raise();
        let error = Image::create(folder.path(), 64 << 20, &stop).err().unwrap();
        assert!(error.is::<Stopped>(), "{error:#}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
