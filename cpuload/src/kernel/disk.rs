//! `disk`: what `stress -d` does: writes a file through the page cache, removes it, and begins anew.
//! The file has no name from the beginning, so that nothing is left whatever happens. One operation is
//! 1 MiB written; the working set is the size of one file, 1 GiB by default as there.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use meter::{Error, Result, random::Random};

use super::Work;

const BLOCK: u64 = 1 << 20;

pub(super) struct Disk {
    folder: PathBuf,
    block: Vec<u8>,
    blocks: u64,
    written: u64,
    file: File,
}

impl Disk {
    /// Opens the first file, so that a wrong folder is known before anything runs.
    pub(super) fn new(folder: &Path, bytes: u64) -> Result<Self> {
        let mut random = Random::new(1);
        let block: Vec<u8> = (0..BLOCK / 8).flat_map(|_| random.next_u64().to_ne_bytes()).collect();
        let file = nameless(folder)?;
        Ok(Self { folder: folder.to_owned(), block, blocks: (bytes / BLOCK).max(1), written: 0, file })
    }
}

impl Work for Disk {
    fn slice(&self) -> u64 {
        1
    }

    fn run(&mut self, operations: u64) -> Result<()> {
        for _ in 0..operations {
            if self.written == self.blocks {
                self.file = nameless(&self.folder)?;
                self.written = 0;
            }
            self.file.write_all(&self.block).map_err(|error| {
                Error::system(format!("write a file in {}", self.folder.display()), error)
            })?;
            self.written += 1;
        }
        Ok(())
    }
}

/// A new file whose name is removed at once.
fn nameless(folder: &Path) -> Result<File> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let name = format!(".cpuload-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
    let path = folder.join(name);
    File::create_new(&path)
        .and_then(|file| fs::remove_file(&path).map(|()| file))
        .map_err(|error| Error::system(format!("make a file in {} (see --path)", folder.display()), error))
}
