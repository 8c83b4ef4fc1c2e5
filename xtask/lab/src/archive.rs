//! The kernel's initramfs format: cpio `newc` (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;

/// An archive in the making.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
    entries: u32,
}

impl Archive {
    /// Adds a folder, and those that it is in.
    pub fn folder(&mut self, path: &str) {
        let path = path.trim_matches('/');
        if path.is_empty() || self.folders.contains(path) {
            return;
        }
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.folder(parent);
        }
        self.folders.insert(path.to_owned());
        self.entry(path, 0o040_755, &[]);
    }

    /// Adds a file with these permission bits.
    pub fn file(&mut self, path: &str, bytes: &[u8], permissions: u32) {
        self.parent(path);
        self.entry(path.trim_matches('/'), 0o100_000 | permissions, bytes);
    }

    /// Adds a symbolic link to `target`.
    pub fn link(&mut self, path: &str, target: &str) {
        self.parent(path);
        self.entry(path.trim_matches('/'), 0o120_777, target.as_bytes());
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn parent(&mut self, path: &str) {
        if let Some((parent, _)) = path.trim_matches('/').rsplit_once('/') {
            self.folder(parent);
        }
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let links = if mode & 0o040_000 == 0 { 1 } else { 2 };
        // Inode, mode, user, group, links, time, size, four device numbers, length of the name, checksum.
        let fields = [self.entries, mode, 0, 0, links, 0, content.len() as u32, 0, 0, 0, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields.into_iter().chain([name.len() as u32 + 1, 0]) {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use domain::shell::{LocalShell, Shell};

    #[test]
    fn cpio_reads_what_was_written() {
        let mut archive = Archive::default();
        archive.file("bin/tool", b"hello", 0o755);
        archive.link("bin/sh", "tool");
        archive.file("etc/a/b", b"", 0o600);
        let bytes = archive.finish();
        let limit = Duration::from_secs(10);
        if LocalShell.script("command -v cpio", &[], limit).unwrap().code != Some(0) {
            eprintln!("skipped: cpio is not installed");
            return;
        }
        let said = LocalShell.script("cpio -t --quiet", &bytes, limit).unwrap();
        assert_eq!(said.code, Some(0), "{}", said.complaint());
        let names = said.stdout_text();
        assert_eq!(
            names.lines().collect::<Vec<_>>(),
            ["bin", "bin/tool", "bin/sh", "etc", "etc/a", "etc/a/b"]
        );
    }
}
