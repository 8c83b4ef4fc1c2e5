//! The message array of recvmmsg(2) together with the buffers that it points to.
#![allow(unsafe_code)] // recvmmsg takes raw pointers; this file owns all that they point to.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use crate::sink::control::{self, Ancillary};

/// The largest thing that one receive can give: a datagram, or several that GRO has joined.
const SLOT_BYTES: usize = 65_536;
/// Distance between slots: off the power of two, so that their fronts fall into different cache sets.
const STRIDE: usize = SLOT_BYTES + 64;
const CONTROL_BYTES: usize = 128;

/// Address and port of a sender, as the kernel wrote them: a sockaddr_in or sockaddr_in6, then zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(4))]
pub struct Source(pub [u8; 28]);

/// Control data of one message, aligned as cmsg(3) wants it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// Slots for messages, all faulted in.
pub struct Incoming {
    buffers: Vec<u8>,
    sources: Vec<Source>,
    controls: Vec<Control>,
    iovecs: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

/// One received message: one datagram, or several of equal size that GRO has joined.
pub struct Message<'a> {
    /// The payloads, one after the other.
    pub payload: &'a [u8],
    /// Who sent it.
    pub source: Source,
    /// What the kernel says beside it.
    pub ancillary: Ancillary,
}

impl Message<'_> {
    /// Size of its datagrams, but for the last one, which may be smaller; at least 1.
    #[inline]
    pub fn stride(&self) -> usize {
        self.ancillary.stride.map_or(self.payload.len(), |stride| stride as usize).max(1)
    }

    /// How many datagrams it holds.
    pub fn datagrams(&self) -> u64 {
        self.payload.len().div_ceil(self.stride()).max(1) as u64
    }
}

impl Incoming {
    /// `slots` messages, each as large as a message can be.
    pub fn new(slots: usize) -> Self {
        let mut buffers = vec![1_u8; slots * STRIDE];
        let mut sources = vec![Source::default(); slots];
        let mut controls = vec![Control([0; CONTROL_BYTES]); slots];
        let base = buffers.as_mut_ptr();
        let mut iovecs: Vec<libc::iovec> = (0..slots)
            .map(|slot| libc::iovec {
                iov_base: base.wrapping_add(slot * STRIDE).cast(),
                iov_len: SLOT_BYTES,
            })
            .collect();
        // Pointers of the vectors themselves: those made from references would end with the next use of a vector.
        let (first_iovec, first_source) = (iovecs.as_mut_ptr(), sources.as_mut_ptr());
        let first_control = controls.as_mut_ptr();
        let headers = (0..slots)
            .map(|slot| {
                // SAFETY: mmsghdr is plain data for which all-zero bytes are valid.
                let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
                header.msg_hdr.msg_iov = first_iovec.wrapping_add(slot);
                header.msg_hdr.msg_iovlen = 1;
                header.msg_hdr.msg_name = first_source.wrapping_add(slot).cast();
                header.msg_hdr.msg_control = first_control.wrapping_add(slot).cast();
                header
            })
            .collect();
        Self { buffers, sources, controls, iovecs, headers }
    }

    /// Receives what is there (recvmmsg(2)) and gives the number of messages. With `wait` it waits for
    /// the first one as long as the socket's timeout says.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there, `Interrupted` on a signal, else what the socket reports.
    #[inline]
    pub fn receive(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<usize> {
        self.prepare();
        // SAFETY: each header points to a source, a control buffer and an iovec of this structure, whose
        // vectors are never resized, so that their addresses stay good when `self` moves; the lengths
        // are theirs. No reference into them is alive, since `self` is borrowed mutably.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                if wait { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT },
                std::ptr::null_mut(),
            )
        };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }

    /// Tells how much room each message has.
    #[inline]
    fn prepare(&mut self) {
        for header in &mut self.headers {
            header.msg_hdr.msg_namelen = size_of::<Source>() as libc::socklen_t;
            header.msg_hdr.msg_controllen = CONTROL_BYTES as _;
        }
        debug_assert_eq!(self.iovecs.len(), self.headers.len());
    }

    /// A message of the latest receive, below the number that it gave.
    #[inline]
    pub fn message(&self, slot: usize) -> Message<'_> {
        let header = &self.headers[slot];
        let start = slot * STRIDE;
        let control_len = header.msg_hdr.msg_controllen.min(CONTROL_BYTES);
        Message {
            payload: &self.buffers[start..start + (header.msg_len as usize).min(SLOT_BYTES)],
            source: self.sources[slot],
            ancillary: control::parse(&self.controls[slot].0[..control_len]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills a message as a kernel does that follows its pointers. No system call, so that Miri can run it.
    fn fill(header: &mut libc::mmsghdr, payload: &[u8], source: u8, control: &[u8]) {
        // SAFETY: the pointers lead into vectors of the `Incoming` that the message belongs to, which lives and is not
        // used meanwhile; nothing is longer than the room that the message tells.
        unsafe {
            let iovec = &*header.msg_hdr.msg_iov;
            assert!(payload.len() <= iovec.iov_len && control.len() <= CONTROL_BYTES);
            iovec.iov_base.cast::<u8>().copy_from_nonoverlapping(payload.as_ptr(), payload.len());
            header.msg_hdr.msg_name.cast::<u8>().write(source);
            header.msg_hdr.msg_control.cast::<u8>().copy_from_nonoverlapping(control.as_ptr(), control.len());
        }
        header.msg_len = payload.len() as u32;
        header.msg_hdr.msg_controllen = control.len() as _;
    }

    #[test]
    fn miri_what_a_kernel_writes_through_the_pointers_is_what_is_read() {
        let mut incoming = Box::new(Incoming::new(2));
        let stride = control::message(libc::SOL_UDP, libc::UDP_GRO, &3_u32.to_ne_bytes());
        for round in 0..2_u8 {
            incoming.prepare();
            fill(&mut incoming.headers[0], &[round; 7], 5, &stride);
            fill(&mut incoming.headers[1], &[], 6, &[]);
            let joined = incoming.message(0);
            assert_eq!((joined.payload, joined.source.0[0]), (&[round; 7][..], 5));
            assert_eq!((joined.stride(), joined.datagrams()), (3, 3));
            let empty = incoming.message(1);
            assert_eq!(
                (empty.payload, empty.source.0[0], empty.ancillary),
                (&[][..], 6, Ancillary::default())
            );
            assert_eq!(empty.datagrams(), 1);
        }
    }
}
