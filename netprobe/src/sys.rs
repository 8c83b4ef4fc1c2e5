//! System calls that only the network probe needs.
//!
//! One wrapper is one call: its man page, its units, its errors. Nothing here decides anything.
#![allow(unsafe_code)] // The one place of `netprobe` that talks to the kernel below the standard library.

use std::{
    ffi::CStr,
    fs::File,
    io,
    marker::PhantomData,
    net::IpAddr,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd},
};

/// Which directions to wait for in [`poll`].
pub const READABLE: libc::c_short = libc::POLLIN;
/// See [`READABLE`].
pub const WRITABLE: libc::c_short = libc::POLLOUT;

/// One socket to wait for, in the layout of the kernel's `struct pollfd`.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Waiting<'a> {
    raw: libc::pollfd,
    socket: PhantomData<BorrowedFd<'a>>,
}

impl<'a> Waiting<'a> {
    /// Waits for `socket` to become as `events` says ([`READABLE`], [`WRITABLE`] or both).
    #[must_use]
    pub fn new(socket: BorrowedFd<'a>, events: libc::c_short) -> Self {
        let raw = libc::pollfd { fd: socket.as_raw_fd(), events, revents: 0 };
        Self { raw, socket: PhantomData }
    }

    /// Changes what is waited for.
    pub fn set_events(&mut self, events: libc::c_short) {
        self.raw.events = events;
    }

    /// Lets [`Waiting::happened`] be true without asking the kernel.
    pub fn assume(&mut self) {
        self.raw.revents = self.raw.events;
    }

    /// Whether anything happened at the last [`poll`]: what was waited for, or an error.
    #[must_use]
    pub fn happened(&self) -> bool {
        self.raw.revents != 0
    }
}

/// Waits until one of `sockets` is as wished, or `timeout_ns` nanoseconds have passed (ppoll(2)).
/// Gives how many are. A signal ends the wait early.
///
/// # Errors
/// `EINVAL` for more sockets than RLIMIT_NOFILE.
pub fn poll(sockets: &mut [Waiting<'_>], timeout_ns: u64) -> io::Result<usize> {
    let timeout = libc::timespec {
        tv_sec: (timeout_ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (timeout_ns % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: `Waiting` is transparent over pollfd, and pointer and count are those of a live slice; the
    // timeout lives through the call; a null signal mask is allowed and leaves the mask as it is.
    let result = unsafe {
        libc::ppoll(
            sockets.as_mut_ptr().cast(),
            sockets.len() as libc::nfds_t,
            &raw const timeout,
            std::ptr::null(),
        )
    };
    match usize::try_from(result) {
        Ok(count) => Ok(count),
        Err(_) => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            error => Err(error),
        },
    }
}

/// Reads what has come, without waiting (recv(2) with MSG_DONTWAIT); 0 at the end of a stream.
///
/// # Errors
/// `WouldBlock` when nothing has come; whatever is pending on the socket.
#[inline]
pub fn receive_now(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length are those of a live, writable slice.
    let count =
        unsafe { libc::recv(socket.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len(), libc::MSG_DONTWAIT) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Fills `bytes` with `struct tcp_info` of a TCP socket (TCP_INFO of tcp(7)) and gives how many the
/// kernel has.
///
/// # Errors
/// `ENOPROTOOPT` or `EOPNOTSUPP` for another kind of socket.
pub fn tcp_info(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<usize> {
    let mut length = bytes.len() as libc::socklen_t;
    // SAFETY: the pointer is to a live, writable slice and `length` is its length.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            bytes.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(length as usize) }
}

/// A file that lives in memory only (memfd_create(2)).
///
/// # Errors
/// `ENOSYS` on kernels before 3.17, `EMFILE`, `ENOMEM`.
pub fn memory_file(name: &CStr) -> io::Result<File> {
    // SAFETY: the name is NUL-terminated and lives through the call.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and belongs to nobody else.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// SO_ZEROCOPY of asm-generic/socket.h, which libc lacks.
pub const SO_ZEROCOPY: libc::c_int = 60;
/// linux/errqueue.h: the notice is about zero-copy sends.
const SO_EE_ORIGIN_ZEROCOPY: u8 = 5;
/// linux/errqueue.h: the payload was copied after all.
const SO_EE_CODE_ZEROCOPY_COPIED: u8 = 1;

/// One notice of the error queue about sends with MSG_ZEROCOPY: how many completed, and whether the
/// kernel copied them after all (Documentation/networking/msg_zerocopy.rst). `None` when the queue is
/// empty or holds something else. Never waits.
///
/// # Errors
/// None that a caller can cause.
pub fn zerocopy_notice(socket: BorrowedFd<'_>) -> io::Result<Option<(u64, bool)>> {
    let mut control = [0_u64; 16];
    // SAFETY: msghdr is plain data for which all-zero bytes are valid: no name, no payload.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: the header points to a live, writable control buffer of the length it says.
    if unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) } < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::WouldBlock { Ok(None) } else { Err(error) };
    }
    // SAFETY: the kernel filled the control buffer and its length; the first header, if not null, is
    // inside it.
    let Some(header) = (unsafe { libc::CMSG_FIRSTHDR(&raw const message).as_ref() }) else { return Ok(None) };
    let (wanted_v4, wanted_v6) = ((libc::SOL_IP, libc::IP_RECVERR), (libc::SOL_IPV6, libc::IPV6_RECVERR));
    let kind = (header.cmsg_level, header.cmsg_type);
    if kind != wanted_v4 && kind != wanted_v6 {
        return Ok(None);
    }
    // SAFETY: a message of this kind carries a sock_extended_err.
    let notice = unsafe { libc::CMSG_DATA(header).cast::<libc::sock_extended_err>().read_unaligned() };
    if notice.ee_origin != SO_EE_ORIGIN_ZEROCOPY {
        return Ok(None);
    }
    let copied = notice.ee_code == SO_EE_CODE_ZEROCOPY_COPIED;
    Ok(Some((u64::from(notice.ee_data.wrapping_sub(notice.ee_info)) + 1, copied)))
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

/// Lets this process open as many files as its hard limit allows (setrlimit(2), RLIMIT_NOFILE): the soft
/// limit is kept low only for programs that use select(2). What can't be raised stays as it is.
pub fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is a live rlimit for the kernel to fill, then to read.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
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
