//! System calls that only this tool needs and neither the standard library nor socket2 has.
//!
//! One wrapper is one call: its man page, its units, its errors. Nothing here decides anything.
#![allow(unsafe_code)] // The one place of this crate for plain calls without memory of their own.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

pub use meter::sys::{getsockopt_bytes, setsockopt, setsockopt_bytes};

/// Waits until the socket has room for another datagram (ppoll(2)), `timeout_ns` nanoseconds at most, and says whether
/// there is, or an error that the next call on the socket tells.
///
/// # Errors
/// `EINTR` when a signal arrived first.
pub fn wait_writable(fd: BorrowedFd<'_>, timeout_ns: u64) -> io::Result<bool> {
    let mut request = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    let timeout = libc::timespec {
        tv_sec: (timeout_ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (timeout_ns % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: one pollfd and a timespec that live through the call; a null mask leaves the signals alone.
    let ready = unsafe { libc::ppoll(&raw mut request, 1, &raw const timeout, std::ptr::null()) };
    if ready < 0 { Err(io::Error::last_os_error()) } else { Ok(ready > 0) }
}

/// Lets datagrams of this socket carry a launch time by CLOCK_MONOTONIC (SO_TXTIME, socket(7)).
///
/// # Errors
/// `ENOPROTOOPT` on kernels before 4.19.
pub fn set_launch_clock(fd: BorrowedFd<'_>) -> io::Result<()> {
    // struct sock_txtime: clock, flags.
    let mut value = libc::CLOCK_MONOTONIC.to_ne_bytes().to_vec();
    value.extend(0_u32.to_ne_bytes());
    setsockopt_bytes(fd, libc::SOL_SOCKET, libc::SO_TXTIME, &value)
}

/// How many transmit queues of the interface of that name are in use (ETHTOOL_GCHANNELS,
/// include/uapi/linux/ethtool.h), those that receive as well included.
///
/// # Errors
/// `EOPNOTSUPP` when the driver does not tell, `ENODEV` when there is no such interface.
pub fn transmit_channels(fd: BorrowedFd<'_>, name: &str) -> io::Result<u32> {
    const SIOCETHTOOL: u32 = 0x8946;
    const ETHTOOL_GCHANNELS: u32 = 0x3c;
    // struct ethtool_channels: cmd, four maxima, then the counts of rx, tx, other, combined.
    let mut channels = [0_u32; 9];
    channels[0] = ETHTOOL_GCHANNELS;
    // SAFETY: ifreq is plain data for which all-zero bytes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays the NUL.
    let room = request.ifr_name.len() - 1;
    for (place, byte) in request.ifr_name[..room].iter_mut().zip(name.bytes()) {
        *place = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_data = channels.as_mut_ptr().cast();
    // SAFETY: the request points to a whole ethtool_channels, which the kernel fills in.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(channels[6] + channels[8]) }
}

/// How many datagrams the kernel dropped at this socket because its buffer was full, since it was
/// made, modulo 2^32: the field `SK_MEMINFO_DROPS` of `SO_MEMINFO` (Linux 4.12), the same counter
/// that SO_RXQ_OVFL delivers, but readable when nothing arrives any more.
///
/// # Errors
/// `ENOPROTOOPT` on older kernels.
pub fn socket_drops(fd: BorrowedFd<'_>) -> io::Result<u32> {
    /// Index of the field (include/uapi/linux/sock_diag.h).
    const SK_MEMINFO_DROPS: usize = 8;
    let mut fields = [0_u8; 64];
    let len = getsockopt_bytes(fd, libc::SOL_SOCKET, libc::SO_MEMINFO, &mut fields)?;
    fields[..len]
        .chunks_exact(4)
        .nth(SK_MEMINFO_DROPS)
        .map(|field| u32::from_ne_bytes([field[0], field[1], field[2], field[3]]))
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOPROTOOPT))
}

/// Binds an AF_PACKET socket to an interface for sending only (packet(7)): with protocol 0 it receives
/// nothing.
///
/// # Errors
/// `ENODEV` when there is no such interface, `ENETDOWN` when it is down.
pub fn bind_packet(fd: BorrowedFd<'_>, interface: u32) -> io::Result<()> {
    // SAFETY: sockaddr_ll is plain data for which all-zero bytes are valid.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = interface as i32;
    // SAFETY: `address` is a sockaddr_ll of the length that is passed.
    let result = unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Where the rings of an AF_XDP socket lie in their mappings (getsockopt(2), `XDP_MMAP_OFFSETS`).
///
/// # Errors
/// `EINVAL` on kernels before 5.4, whose layout is another.
pub fn xdp_mmap_offsets(fd: BorrowedFd<'_>) -> io::Result<libc::xdp_mmap_offsets> {
    // SAFETY: xdp_mmap_offsets is plain data for which all-zero bytes are valid.
    let mut offsets: libc::xdp_mmap_offsets = unsafe { std::mem::zeroed() };
    let mut len = size_of_val(&offsets) as libc::socklen_t;
    // SAFETY: `offsets` is writable for `len` bytes, and any bytes are valid in it.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_XDP,
            libc::XDP_MMAP_OFFSETS,
            (&raw mut offsets).cast(),
            &raw mut len,
        )
    };
    match result {
        0 if len as usize == size_of_val(&offsets) => Ok(offsets),
        0 => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Binds an AF_XDP socket to a queue of an interface (Documentation/networking/af_xdp.rst).
///
/// # Errors
/// `ENODEV` when there is no such interface, `EOPNOTSUPP` when it can't do what the flags ask for,
/// `EBUSY` when another socket holds the queue.
pub fn bind_xdp(fd: BorrowedFd<'_>, interface: u32, queue: u32, flags: u16) -> io::Result<()> {
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: flags,
        sxdp_ifindex: interface,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: 0,
    };
    // SAFETY: `address` is a sockaddr_xdp of the length that is passed.
    let result = unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_xdp>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
