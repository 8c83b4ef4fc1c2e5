//! Tap interfaces as descriptors, made inside a network namespace: they vanish with the last descriptor.
#![allow(unsafe_code)] // setns, and the ioctl that names a tap; no crate here wraps them.

use std::{
    fs::OpenOptions,
    io,
    os::fd::{AsRawFd, OwnedFd},
    sync::Arc,
    thread,
};

use anyhow::{Context, Result};

/// Makes the tap `name` in `network`. The descriptor stays open across `exec`: it is for a child.
pub fn open(name: &str, network: &Arc<OwnedFd>) -> Result<OwnedFd> {
    let (own_name, network) = (name.to_owned(), Arc::clone(network));
    let maker = thread::spawn(move || {
        // SAFETY: no memory is passed; the descriptor is open, and only this thread, which ends right
        // after, changes its namespace.
        if unsafe { libc::setns(network.as_raw_fd(), libc::CLONE_NEWNET) } < 0 {
            return Err(io::Error::last_os_error());
        }
        make(&own_name)
    });
    let made = maker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    made.with_context(|| format!("make the tap interface `{name}`; needs root and /dev/net/tun"))
}

/// See the kernel's Documentation/networking/tuntap.rst.
fn make(name: &str) -> io::Result<OwnedFd> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: `ifreq` is plain data, for which all zeros is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero: the kernel wants a terminated name.
    let room = request.ifr_name.len() - 1;
    for (slot, byte) in request.ifr_name[..room].iter_mut().zip(name.bytes()) {
        *slot = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, which lives through the call.
    if unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: F_SETFD takes an integer; the descriptor is open.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file.into())
}
