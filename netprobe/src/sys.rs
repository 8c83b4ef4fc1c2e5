//! System calls that only the network probe needs.
//!
//! One wrapper is one call: its man page, its units, its errors. Nothing here decides anything.
#![allow(unsafe_code)] // The one place of `netprobe` that talks to the kernel below the standard library.

use std::{
    ffi::CStr,
    io,
    net::IpAddr,
    os::fd::{AsRawFd, BorrowedFd},
};

/// Waits until `socket` has something to read, or `timeout_ns` nanoseconds have passed (ppoll(2)).
/// Gives whether it has; errors and a closed peer count as readable. A signal ends the wait early.
///
/// # Errors
/// None that a caller can cause.
pub fn poll_readable(socket: BorrowedFd<'_>, timeout_ns: u64) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let timeout = libc::timespec {
        tv_sec: (timeout_ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (timeout_ns % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: one pollfd is passed and its count is 1; the timeout lives through the call; a null
    // signal mask is allowed and leaves the mask as it is.
    let result = unsafe { libc::ppoll(&raw mut poll, 1, &raw const timeout, std::ptr::null()) };
    match result {
        0 => Ok(false),
        count if count > 0 => Ok(true),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            error => Err(error),
        },
    }
}

/// Fills `bytes` with random bits fit for secrets (getrandom(2)).
///
/// # Errors
/// `ENOSYS` on kernels before 3.17.
pub fn getrandom(bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        // SAFETY: pointer and length are those of a live, writable slice.
        let count = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(count) {
            Ok(count) => filled += count,
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
    Ok(())
}

/// Name of the interface that has `address` (getifaddrs(3)); `None` where there is none.
///
/// # Errors
/// `ENOMEM`, or what socket(2) gives for netlink.
pub fn interface_with(address: IpAddr) -> io::Result<Option<String>> {
    let mut first: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `first` is a valid place for the list's head.
    if unsafe { libc::getifaddrs(&raw mut first) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = None;
    let mut next = first;
    while !next.is_null() && found.is_none() {
        // SAFETY: `next` is an entry of the list, which lives until freeifaddrs below.
        let entry = unsafe { &*next };
        // SAFETY: an entry's address is null or a sockaddr of the length that its family says.
        if unsafe { ip_address(entry.ifa_addr) } == Some(address) {
            // SAFETY: an entry's name is a NUL-terminated string.
            found = Some(unsafe { CStr::from_ptr(entry.ifa_name) }.to_string_lossy().into_owned());
        }
        next = entry.ifa_next;
    }
    // SAFETY: `first` came from getifaddrs and is freed once; nothing of the list is used any more.
    unsafe { libc::freeifaddrs(first) };
    Ok(found)
}

/// The address in a `sockaddr`; `None` for null and for families other than IP.
///
/// # Safety
/// `address` is null or points to a sockaddr as long as its family says.
unsafe fn ip_address(address: *const libc::sockaddr) -> Option<IpAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: the caller promises a valid sockaddr; every one begins with its family.
    match i32::from(unsafe { (*address).sa_family }) {
        libc::AF_INET => {
            // SAFETY: with this family it is a sockaddr_in.
            let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(IpAddr::from(v4.sin_addr.s_addr.to_ne_bytes()))
        }
        libc::AF_INET6 => {
            // SAFETY: with this family it is a sockaddr_in6.
            let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(IpAddr::from(v6.sin6_addr.s6_addr))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_its_interface() {
        assert_eq!(interface_with("127.0.0.1".parse().unwrap()).unwrap().as_deref(), Some("lo"));
        assert_eq!(interface_with("203.0.113.77".parse().unwrap()).unwrap(), None);
    }

    #[test]
    fn random_bits_are_not_zero() {
        let mut bytes = [0; 32];
        getrandom(&mut bytes).unwrap();
        assert_ne!(bytes, [0; 32]);
    }
}
