//! Buffers of sockets, by one meaning: the bytes that can be used.
//!
//! The kernel doubles what is asked for, to leave room for its own bookkeeping, and tells the doubled value
//! (socket(7)). Here a size is what an application can put into the buffer: half of what the kernel tells.

use std::os::fd::BorrowedFd;

use crate::{Error, ErrorKind, Result, sys, units::Bytes};

/// Which buffer of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffer {
    /// SO_SNDBUF.
    Send,
    /// SO_RCVBUF.
    Receive,
}

impl Buffer {
    fn options(self) -> (i32, i32) {
        match self {
            Self::Send => (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
            Self::Receive => (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
        }
    }

    /// Sets a buffer of `bytes` that can be used, past the system's limit where that is permitted, and gives the
    /// usable bytes that were granted: at least as many.
    ///
    /// # Errors
    /// When the kernel grants less (exit code 3), with what to try.
    pub fn set(self, socket: BorrowedFd<'_>, bytes: u64) -> Result<u64> {
        let granted = self.request(socket, bytes)?;
        if granted >= bytes {
            return Ok(granted);
        }
        let (what, limit) = match self {
            Self::Send => ("send", "wmem_max"),
            Self::Receive => ("receive", "rmem_max"),
        };
        let (bytes, granted) = (Bytes(bytes), Bytes(granted));
        Err(Error::unavailable(format!(
            "the kernel grants a {what} buffer of {granted}, not {bytes}; raise net.core.{limit} or run as root"
        )))
    }

    /// Asks for a buffer of `bytes` that can be used, and gives the usable bytes that were granted.
    ///
    /// # Errors
    /// When the socket refuses the option altogether.
    pub fn request(self, socket: BorrowedFd<'_>, bytes: u64) -> Result<u64> {
        let (force, plain) = self.options();
        // Twice this is the most that the kernel's own type holds.
        let value = i32::try_from(bytes).unwrap_or(i32::MAX / 2).min(i32::MAX / 2);
        sys::setsockopt(socket, libc::SOL_SOCKET, force, value)
            .or_else(|_| sys::setsockopt(socket, libc::SOL_SOCKET, plain, value))
            .map_err(|error| {
                Error::system("set the size of a socket buffer", error).with_kind(ErrorKind::Unavailable)
            })?;
        let mut told = [0; 4];
        sys::getsockopt_bytes(socket, libc::SOL_SOCKET, plain, &mut told)
            .map_err(|error| Error::system("read the size of a socket buffer", error))?;
        Ok(u64::from(u32::from_ne_bytes(told)) / 2)
    }
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsFd};

    use super::*;

    #[test]
    fn a_size_is_what_can_be_used() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for buffer in [Buffer::Send, Buffer::Receive] {
            // Small enough for the limits that kernels come with.
            assert_eq!(buffer.set(socket.as_fd(), 100 << 10).unwrap(), 100 << 10, "{buffer:?}");
            let error = buffer.set(socket.as_fd(), 1 << 40).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        }
    }

    #[test]
    fn datagrams_of_that_size_fit() {
        let (to, from) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        Buffer::Receive.set(to.as_fd(), 100 << 10).unwrap();
        // 50 000 bytes twice: payload of full packets has about its own size again as overhead.
        for _ in 0..2 {
            from.send_to(&[0; 50_000], to.local_addr().unwrap()).unwrap();
        }
        to.set_nonblocking(true).unwrap();
        let mut buffer = vec![0; 60_000];
        assert!((0..2).all(|_| to.recv(&mut buffer).is_ok()));
    }
}
