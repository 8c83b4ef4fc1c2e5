//! The message array of sendmmsg(2) together with the payloads that it points to.
#![allow(unsafe_code)] // sendmmsg takes raw pointers; this file owns all that they point to.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use crate::payload::FILLER;

/// Payload slots of one size, each with its message header. The slots start on cache lines.
pub struct Outgoing {
    payloads: Vec<u8>,
    /// Where the first slot starts, so that it is aligned.
    first: usize,
    stride: usize,
    iovecs: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

const CACHE_LINE: usize = 64;

impl Outgoing {
    /// `slots` payloads of up to `largest` bytes, filled and faulted in.
    pub fn new(slots: usize, largest: usize) -> Self {
        let stride = largest.next_multiple_of(CACHE_LINE);
        let mut payloads = vec![FILLER; stride * slots + CACHE_LINE];
        let base = payloads.as_mut_ptr();
        let first = base.align_offset(CACHE_LINE);
        let mut iovecs: Vec<libc::iovec> = (0..slots)
            .map(|slot| libc::iovec { iov_base: base.wrapping_add(first + slot * stride).cast(), iov_len: 0 })
            .collect();
        let headers = iovecs
            .iter_mut()
            .map(|iovec| {
                // SAFETY: mmsghdr is plain data for which all-zero bytes are valid: no name, no control.
                let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
                header.msg_hdr.msg_iov = iovec;
                header.msg_hdr.msg_iovlen = 1;
                header
            })
            .collect();
        Self { payloads, first, stride, iovecs, headers }
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.headers.len()
    }

    /// The payload of a slot, which will be `len` bytes long.
    ///
    /// # Panics
    /// When there is no such slot or it is shorter.
    #[inline]
    pub fn slot(&mut self, slot: usize, len: usize) -> &mut [u8] {
        assert!(len <= self.stride, "a datagram larger than the largest size");
        self.iovecs[slot].iov_len = len;
        let start = self.first + slot * self.stride;
        &mut self.payloads[start..start + len]
    }

    /// Sends the first `count` slots over a connected socket (sendmmsg(2)) and gives how many were taken.
    ///
    /// # Errors
    /// The error of the first one, when not even that was taken.
    #[inline]
    pub fn send(&mut self, socket: BorrowedFd<'_>, count: usize) -> io::Result<usize> {
        let count = count.min(self.headers.len());
        // SAFETY: the first `count` headers point to the iovecs, and those into `payloads`; none of the
        // three vectors is ever resized, so the addresses stay good when `self` moves. `slot` keeps each
        // length within its slot, and the kernel only reads through them during the call.
        let sent = unsafe {
            libc::sendmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), count as libc::c_uint, 0)
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}
