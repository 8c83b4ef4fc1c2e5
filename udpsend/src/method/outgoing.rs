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
    /// A control message for each slot, where launch times are wanted.
    launches: Vec<Launch>,
}

/// A control message with a launch time: `struct cmsghdr` and 8 bytes of data (SCM_TXTIME).
#[derive(Clone, Copy)]
#[repr(C)]
struct Launch {
    header: libc::cmsghdr,
    at_ns: u64,
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
        // Pointers of the vector itself: those made from references would end with the next use of `iovecs`.
        let first_iovec = iovecs.as_mut_ptr();
        let headers = (0..slots)
            .map(|slot| {
                // SAFETY: mmsghdr is plain data for which all-zero bytes are valid: no name, no control.
                let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
                header.msg_hdr.msg_iov = first_iovec.wrapping_add(slot);
                header.msg_hdr.msg_iovlen = 1;
                header
            })
            .collect();
        Self { payloads, first, stride, iovecs, headers, launches: Vec::new() }
    }

    /// Gives every message a launch time, to be set by [`Outgoing::launch_at`].
    pub fn with_launch_times(mut self) -> Self {
        // SAFETY: cmsghdr is plain data for which all-zero bytes are valid.
        let mut header: libc::cmsghdr = unsafe { std::mem::zeroed() };
        header.cmsg_len = size_of::<Launch>() as _;
        header.cmsg_level = libc::SOL_SOCKET;
        header.cmsg_type = libc::SCM_TXTIME;
        self.launches = vec![Launch { header, at_ns: 0 }; self.headers.len()];
        let first_launch = self.launches.as_mut_ptr();
        for (slot, message) in self.headers.iter_mut().enumerate() {
            message.msg_hdr.msg_control = first_launch.wrapping_add(slot).cast();
            message.msg_hdr.msg_controllen = size_of::<Launch>() as _;
        }
        self
    }

    /// Sets the launch time of a slot, CLOCK_MONOTONIC in nanoseconds; nothing where none are wanted.
    #[inline]
    pub fn launch_at(&mut self, slot: usize, at_ns: u64) {
        if let Some(launch) = self.launches.get_mut(slot) {
            launch.at_ns = at_ns;
        }
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
        // SAFETY: the first `count` headers point to the iovecs and launch times, and the iovecs into
        // `payloads`; none of these vectors is ever resized, so the addresses stay good when `self` moves. `slot` keeps each
        // length within its slot, and the kernel only reads through them during the call.
        let sent = unsafe {
            libc::sendmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), count as libc::c_uint, 0)
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsFd};

    use super::*;

    /// What a kernel reads that follows the pointers of a message: its payload and its launch time. No system call, so
    /// that Miri can run it.
    fn followed(message: &libc::mmsghdr) -> (Vec<u8>, Option<u64>) {
        // SAFETY: the pointers lead into vectors of the `Outgoing` that the message belongs to, which lives and is not
        // changed meanwhile; the lengths are theirs.
        unsafe {
            let iovec = &*message.msg_hdr.msg_iov;
            let payload = std::slice::from_raw_parts(iovec.iov_base.cast::<u8>(), iovec.iov_len);
            let launch = message.msg_hdr.msg_control.cast::<Launch>();
            (payload.to_vec(), launch.as_ref().map(|launch| launch.at_ns))
        }
    }

    #[test]
    fn miri_pointers_of_messages_stay_good_while_slots_are_written() {
        for launches in [false, true] {
            let mut outgoing = Outgoing::new(3, 100);
            if launches {
                outgoing = outgoing.with_launch_times();
            }
            let mut moved = Box::new(outgoing);
            for round in 0..2_u8 {
                for slot in 0..3_u8 {
                    moved.slot(slot.into(), usize::from(slot) + 1).fill(10 * round + slot);
                    moved.launch_at(slot.into(), u64::from(slot) + 7);
                }
                for slot in 0..3_u8 {
                    let expected = vec![10 * round + slot; usize::from(slot) + 1];
                    let launch = launches.then(|| u64::from(slot) + 7);
                    assert_eq!(followed(&moved.headers[usize::from(slot)]), (expected, launch));
                }
            }
        }
    }

    #[test]
    fn what_is_in_the_slots_arrives_with_launch_times_too() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        crate::sys::set_launch_clock(sender.as_fd()).unwrap();
        let mut outgoing = Outgoing::new(3, 100).with_launch_times();
        for slot in 0..3 {
            outgoing.slot(slot, slot + 1).fill(slot as u8);
            outgoing.launch_at(slot, meter::clock::now_ns());
        }
        assert_eq!(outgoing.send(sender.as_fd(), 3).unwrap(), 3);
        let mut buffer = [0; 10];
        for slot in 0..3_u8 {
            let len = receiver.recv(&mut buffer).unwrap();
            assert_eq!(buffer[..len], vec![slot; usize::from(slot) + 1]);
        }
    }
}
