//! One binary as it was when its digest was taken: a sealed copy in memory, which nothing that happens to the
//! file can change, and of which nothing stays when this process ends, whatever ends it.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    io::Errno,
};

use crate::sha256;

/// A binary that can be started and sent.
pub struct Binary {
    /// Where it was read.
    path: PathBuf,
    copy: File,
    length: usize,
    sha256: String,
    is_script: bool,
}

impl Binary {
    /// Reads the file at `path` once; what is started and sent later is what was read now.
    ///
    /// # Errors
    /// When it can't be read or is not executable, and where the kernel refuses executable memory files.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let mode = fs::metadata(path).with_context(|| format!("look at {}", path.display()))?.permissions();
        ensure!(mode.mode() & 0o111 != 0, "{} is not executable", path.display());
        let copy = sealed_copy(&bytes, path).with_context(|| {
            format!(
                "keep {} in memory: the kernel must allow executable memory files (sysctl vm.memfd_noexec below 2)",
                path.display()
            )
        })?;
        Ok(Self {
            path: path.to_owned(),
            copy,
            length: bytes.len(),
            sha256: sha256(&bytes),
            is_script: bytes.starts_with(b"#!"),
        })
    }

    /// Where it was read: its name for people, never what is started.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SHA-256, in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// What a child of this process executes.
    #[must_use]
    pub fn executable(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.copy.as_raw_fd()).into()
    }

    /// The descriptor that a child has to keep open beyond its exec, if it has to: an interpreter opens its
    /// script itself.
    #[must_use]
    pub fn inherited(&self) -> Option<i32> {
        self.is_script.then(|| self.copy.as_raw_fd())
    }

    /// Its content.
    ///
    /// # Errors
    /// When the copy can't be read.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.length];
        self.copy.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

fn sealed_copy(bytes: &[u8], path: &Path) -> io::Result<File> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let made = match memfd_create(&*name, flags | MemfdFlags::EXEC) {
        // Before Linux 6.3 every such file was executable, and the flag unknown.
        Err(Errno::INVAL) => memfd_create(&*name, flags),
        made => made,
    };
    let mut copy = File::from(made?);
    copy.write_all(bytes)?;
    fcntl_add_seals(&copy, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::OpenOptionsExt, process::Command};

    use super::*;

    #[test]
    fn what_is_started_is_what_was_read_whatever_becomes_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tool");
        fs::copy("/bin/echo", &path).unwrap();
        let binary = Binary::read(&path).unwrap();
        assert_eq!((binary.inherited(), binary.sha256()), (None, &*sha256(&fs::read("/bin/echo").unwrap())));
        // Written into the same file, as `cp` does, and then replaced by another one.
        fs::write(&path, "#!/bin/sh\necho exchanged\n").unwrap();
        fs::remove_file(&path).unwrap();
        let output = Command::new(binary.executable()).arg("as read").output().unwrap();
        assert_eq!(output.stdout, b"as read\n");
        assert_eq!(binary.bytes().unwrap(), fs::read("/bin/echo").unwrap());
        let mut copy = fs::OpenOptions::new().write(true).mode(0o700).open(binary.executable());
        let written = copy.as_mut().map(|copy| copy.write_all(b"exchanged"));
        assert!(!matches!(written, Ok(Ok(()))), "the copy was changed");
    }

    #[test]
    fn what_can_not_be_executed_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tool");
        fs::write(&path, "text").unwrap();
        let error = Binary::read(&path).err().unwrap().to_string();
        assert!(error.contains("tool is not executable"), "{error}");
    }
}
