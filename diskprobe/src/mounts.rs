//! Which mount holds a path, from /proc/self/mountinfo (proc_pid_mountinfo(5)).

use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use crate::sysfs::DeviceNumber;

/// One mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The kernel's number of the mount.
    pub id: u64,
    /// Number of its device; an anonymous one for a file system on several devices or on none. Files of btrfs
    /// have another one, that of their subvolume.
    pub device: DeviceNumber,
    /// Where it is mounted.
    pub place: PathBuf,
    /// Type of the file system.
    pub kind: String,
    /// What is mounted: a device's path, or any text.
    pub source: PathBuf,
}

impl Mount {
    /// The mount that holds `path`, by the number that statx(2) gives (Linux 5.8), else the one on the longest
    /// path above it.
    ///
    /// # Errors
    /// When the path or the table of mounts can't be read.
    pub fn of(path: &Path) -> io::Result<Option<Self>> {
        let found = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID)?;
        let id = (found.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(found.stx_mnt_id);
        let table = Self::all()?;
        if let Some(mount) = table.iter().find(|mount| Some(mount.id) == id) {
            return Ok(Some(mount.clone()));
        }
        let path = path.canonicalize()?;
        let above = table.into_iter().filter(|mount| path.starts_with(&mount.place));
        // The last of the longest: a later mount covers an earlier one on the same place.
        Ok(above.max_by_key(|mount| mount.place.as_os_str().len()))
    }

    /// All mounts that this process sees.
    ///
    /// # Errors
    /// When the table can't be read.
    pub fn all() -> io::Result<Vec<Self>> {
        Ok(fs::read("/proc/self/mountinfo")?.split(|byte| *byte == b'\n').filter_map(Self::parse).collect())
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let text = |field: &[u8]| std::str::from_utf8(field).ok().map(str::to_owned);
        let id = text(fields.next()?)?.parse().ok()?;
        let device = DeviceNumber::parse(&text(fields.nth(1)?)?)?;
        let place = unescaped(fields.nth(1)?);
        // Optional fields of any number end with a dash.
        let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
        Some(Self { id, device, place, kind: text(rest.next()?)?, source: unescaped(rest.next()?) })
    }
}

/// White space and backslashes stand there as three octal digits.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let code = (byte == b'\\').then(|| after.get(..3)).flatten();
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(escaped) = code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            bytes.push(escaped);
            rest = &after[3..];
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_with_spaces_in_its_paths_and_any_number_of_optional_fields() {
        let line =
            br"66 44 0:39 /sub /mnt/my\040disk\134x rw shared:7 master:2 - btrfs /dev/mapper/a\040b rw,space_cache";
        let mount = Mount::parse(line).unwrap();
        assert_eq!((mount.id, mount.device), (66, DeviceNumber { major: 0, minor: 39 }));
        assert_eq!(mount.place, Path::new(r"/mnt/my disk\x"));
        assert_eq!((mount.kind.as_str(), mount.source.as_path()), ("btrfs", Path::new("/dev/mapper/a b")));
        assert_eq!(Mount::parse(b"1 0 8:1 / / rw - ext4 /dev/sda1 rw").unwrap().kind, "ext4");
        assert_eq!(Mount::parse(b""), None);
    }

    #[test]
    fn a_file_of_proc_is_on_proc() {
        assert_eq!(Mount::of(Path::new("/proc/self/status")).unwrap().unwrap().kind, "proc");
    }
}
