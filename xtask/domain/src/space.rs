//! Free space on this machine's file systems.
#![allow(unsafe_code)] // statvfs(3) fills a structure of C.

use std::{ffi::CString, io, mem::MaybeUninit, os::unix::ffi::OsStrExt, path::Path};

/// Free space of the file system of `path` for unprivileged users, in bytes (statvfs(3)).
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut status = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path is NUL-terminated, and `status` is there for the kernel to fill.
    if unsafe { libc::statvfs(path.as_ptr(), status.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, and all-zero bytes were valid before.
    let status = unsafe { status.assume_init() };
    Ok(status.f_bavail * status.f_frsize)
}
