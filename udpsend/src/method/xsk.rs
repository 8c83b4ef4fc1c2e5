//! The transmitting half of an AF_XDP socket (Documentation/networking/af_xdp.rst): the memory that
//! it shares with the kernel, and the rings through which frames go there and back.
#![allow(unsafe_code)] // Memory shared with the kernel, set up by raw system calls.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    ptr::{self, NonNull},
    sync::atomic::{
        AtomicU32,
        Ordering::{Acquire, Relaxed, Release},
    },
    thread,
    time::{Duration, Instant},
};

use meter::{Error, ErrorKind, Result};
use socket2::{Domain, Socket, Type};

use crate::{netlink::Link, payload::FILLER, sys};

/// Largest frame of copy mode: a page.
const LARGEST_CHUNK: usize = 4096;
/// How long a queue may take to be freed.
const RELEASE_WAIT: Duration = Duration::from_secs(1);

/// Memory of a mapping, given back on drop.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    /// Maps `len` bytes: anonymous ones, or those of `socket` at `offset` (mmap(2)).
    fn new(len: usize, socket: Option<(&Socket, libc::off_t)>) -> io::Result<Self> {
        let (flags, fd, offset) = match socket {
            None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0),
            Some((socket, offset)) => (libc::MAP_SHARED, socket.as_raw_fd(), offset),
        };
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let start =
            unsafe { libc::mmap(ptr::null_mut(), len, access, flags | libc::MAP_POPULATE, fd, offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(start.cast()).map(|start| Self { start, len }).ok_or_else(io::Error::last_os_error)
    }

    /// Address of a `T` that lies `offset` bytes into the mapping.
    fn at<T>(&self, offset: usize) -> *mut T {
        assert!(offset + size_of::<T>() <= self.len, "outside of the mapping");
        self.start.as_ptr().wrapping_add(offset).cast()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this length, and nothing refers to it after its owner.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// One ring of the socket: this side owns one of the two indices, the kernel the other.
struct Ring {
    mapping: Mapping,
    offsets: libc::xdp_ring_offset,
    mask: u32,
}

impl Ring {
    fn index(&self, offset: u64) -> &AtomicU32 {
        // SAFETY: the kernel keeps an aligned 32-bit index there (xdp_ring_offset), which both sides
        // access atomically as long as the mapping lives; `at` checks the bounds.
        unsafe { &*self.mapping.at::<AtomicU32>(offset as usize) }
    }

    fn producer(&self) -> &AtomicU32 {
        self.index(self.offsets.producer)
    }

    fn consumer(&self) -> &AtomicU32 {
        self.index(self.offsets.consumer)
    }

    /// Address of the entry that `index` falls on.
    fn entry<T>(&self, index: u32) -> *mut T {
        self.mapping.at(self.offsets.desc as usize + (index & self.mask) as usize * size_of::<T>())
    }
}

/// Binds to a queue. The kernel frees a queue a little after the socket that held it was closed, so that
/// `EBUSY` is believed only when it stays.
fn bind(socket: &Socket, interface: u32, queue: u32) -> io::Result<()> {
    let deadline = Instant::now() + RELEASE_WAIT;
    loop {
        match sys::bind_xdp(socket.as_fd(), interface, queue, libc::XDP_COPY) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(1));
            }
            result => return result,
        }
    }
}

/// Frames on their way to an interface. A slot is free, filled by the caller, or the kernel's; only
/// free slots are handed out, and only completed ones become free again.
pub struct TransmitRing {
    transmit: Ring,
    completion: Ring,
    /// Declared before the memory that the kernel reads through it, so that it is closed first.
    socket: Socket,
    memory: Mapping,
    chunk_bytes: usize,
    slots: usize,
    free: Vec<u32>,
    /// Where in the transmit ring each slot was pushed last.
    positions: Vec<u32>,
    /// One behind the last position in the ring that the kernel is known to have taken.
    taken: u32,
}

impl TransmitRing {
    /// A ring of `slots` frames (a power of two) of up to `largest_frame` bytes for one queue of an
    /// interface, in copy mode, which every driver can do.
    ///
    /// # Errors
    /// Exit code 3 without CAP_NET_RAW, on kernels and interfaces without AF_XDP, and when the queue is
    /// another program's.
    pub fn open(link: &Link, queue: u32, slots: usize, largest_frame: usize) -> Result<Self> {
        if largest_frame > LARGEST_CHUNK {
            return Err(Error::unavailable(format!(
                "AF_XDP in copy mode takes frames of up to {LARGEST_CHUNK} bytes, not {largest_frame}; use --method packet"
            )));
        }
        let chunk_bytes = if largest_frame <= 2048 { 2048 } else { LARGEST_CHUNK };
        Self::set_up(link.index, queue, slots, chunk_bytes).map_err(|error| {
            let what = match error.raw_os_error() {
                Some(libc::EBUSY) => format!(
                    "another program has an AF_XDP socket on queue {queue} of {}; end it, or use --method packet",
                    link.name
                ),
                _ => format!(
                    "set up an AF_XDP socket on queue {queue} of {}; run as root or with CAP_NET_RAW, or use --method packet",
                    link.name
                ),
            };
            Error::system(what, error).with_kind(ErrorKind::Unavailable)
        })
    }

    fn set_up(interface: u32, queue: u32, slots: usize, chunk_bytes: usize) -> io::Result<Self> {
        let socket = Socket::new(Domain::from(libc::AF_XDP), Type::RAW, None)?;
        let memory = Mapping::new(slots * chunk_bytes, None)?;
        // SAFETY: the mapping is that long, new, and nobody else's yet.
        unsafe { ptr::write_bytes(memory.start.as_ptr(), FILLER, memory.len) };
        // struct xdp_umem_reg: addr and len (64 bits), chunk_size, headroom, flags (32 bits), padding.
        let mut registration = Vec::with_capacity(32);
        registration.extend((memory.start.as_ptr() as u64).to_ne_bytes());
        registration.extend((memory.len as u64).to_ne_bytes());
        registration.extend((chunk_bytes as u32).to_ne_bytes());
        registration.extend([0; 12]);
        sys::setsockopt_bytes(socket.as_fd(), libc::SOL_XDP, libc::XDP_UMEM_REG, &registration)?;
        for ring in [libc::XDP_UMEM_FILL_RING, libc::XDP_UMEM_COMPLETION_RING, libc::XDP_TX_RING] {
            sys::setsockopt(socket.as_fd(), libc::SOL_XDP, ring, slots as i32)?;
        }
        let offsets = sys::xdp_mmap_offsets(socket.as_fd())?;
        let map = |offsets: libc::xdp_ring_offset, entry_bytes: usize, page_offset: libc::off_t| {
            let len = offsets.desc as usize + slots * entry_bytes;
            let mapping = Mapping::new(len, Some((&socket, page_offset)))?;
            io::Result::Ok(Ring { mapping, offsets, mask: slots as u32 - 1 })
        };
        let transmit = map(offsets.tx, size_of::<libc::xdp_desc>(), libc::XDP_PGOFF_TX_RING)?;
        let completion =
            map(offsets.cr, size_of::<u64>(), libc::XDP_UMEM_PGOFF_COMPLETION_RING as libc::off_t)?;
        bind(&socket, interface, queue)?;
        let free = (0..slots as u32).collect();
        let positions = vec![0; slots];
        Ok(Self { transmit, completion, socket, memory, chunk_bytes, slots, free, positions, taken: 0 })
    }

    /// Takes a free slot, if there is one.
    #[inline]
    pub fn free_slot(&mut self) -> Option<usize> {
        self.free.pop().map(|slot| slot as usize)
    }

    /// The frame of a slot that [`TransmitRing::free_slot`] gave and that was not pushed yet, or of one of
    /// [`TransmitRing::waiting`], which the kernel does not look at before the next kick.
    #[inline]
    pub fn frame(&mut self, slot: usize) -> &mut [u8] {
        assert!(slot < self.slots, "no such slot");
        let start = self.memory.at::<u8>(slot * self.chunk_bytes);
        // SAFETY: the chunk lies within the mapping, since the slot exists; in copy mode the kernel reads
        // it during a kick only, and `self` is borrowed for as long as the slice lives.
        unsafe { std::slice::from_raw_parts_mut(start, self.chunk_bytes) }
    }

    /// Gives a filled slot to the kernel. There is room: the ring has as many entries as slots.
    #[inline]
    pub fn push(&mut self, slot: usize, len: usize) {
        let producer = self.transmit.producer().load(Relaxed);
        let entry = libc::xdp_desc { addr: (slot * self.chunk_bytes) as u64, len: len as u32, options: 0 };
        // SAFETY: `entry` checks the bounds; the kernel reads the entry only after the index below.
        unsafe { self.transmit.entry::<libc::xdp_desc>(producer).write(entry) };
        self.transmit.producer().store(producer.wrapping_add(1), Release);
        self.positions[slot] = producer;
    }

    /// Lets the kernel send what was pushed (sendto(2)).
    ///
    /// # Errors
    /// `EAGAIN` when it has sent its share for one call and more is left, `EBUSY` when the driver
    /// dropped a frame, `ENETDOWN`, `ENXIO`, `ENOBUFS`.
    #[inline]
    pub fn kick(&self) -> io::Result<()> {
        self.socket.send_with_flags(&[], libc::MSG_DONTWAIT).map(drop)
    }

    /// Frees completed slots and tells each to `done`.
    #[inline]
    pub fn reap(&mut self, mut done: impl FnMut(usize)) {
        let end = self.completion.producer().load(Acquire);
        let mut consumer = self.completion.consumer().load(Relaxed);
        while consumer != end {
            // SAFETY: the kernel wrote this entry before the index that was read above.
            let address = unsafe { self.completion.entry::<u64>(consumer).read() };
            let slot = address as usize / self.chunk_bytes;
            let behind = self.positions[slot].wrapping_add(1);
            if behind.wrapping_sub(self.taken) <= self.slots as u32 {
                self.taken = behind;
            }
            done(slot);
            self.free.push(slot as u32);
            consumer = consumer.wrapping_add(1);
        }
        self.completion.consumer().store(consumer, Release);
    }

    /// The slot that the kernel is known to have taken last. Right after a kick that gave `EBUSY` it is
    /// the frame that was dropped: nothing behind it was looked at, and it is completed at once.
    #[inline]
    pub fn last_taken(&self) -> usize {
        self.slot_at(self.taken.wrapping_sub(1))
    }

    /// How many frames were pushed that the kernel is not known to have taken. In copy mode that is exact
    /// after `EBUSY`.
    #[inline]
    pub fn waiting(&self) -> u32 {
        self.transmit.producer().load(Relaxed).wrapping_sub(self.taken)
    }

    /// The slot of a frame that waits, counted from the one whose turn is next.
    #[inline]
    pub fn waiting_slot(&self, step: u32) -> usize {
        self.slot_at(self.taken.wrapping_add(step))
    }

    fn slot_at(&self, position: u32) -> usize {
        // SAFETY: `entry` checks the bounds; this side alone writes entries of the transmit ring.
        let entry = unsafe { self.transmit.entry::<libc::xdp_desc>(position).read() };
        entry.addr as usize / self.chunk_bytes
    }

    /// How many frames were pushed and not completed.
    #[inline]
    pub fn in_flight(&self) -> usize {
        self.slots - self.free.len()
    }

    /// Whether the kernel holds no frame.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.free.len() == self.slots
    }
}
