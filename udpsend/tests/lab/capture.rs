//! A packet capture: a counter that shares no code with the tool and none with the interfaces' statistics.
#![allow(unsafe_code)] // setns(2) and the options of packet sockets (packet(7)) are not in socket2.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsRawFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Room for frames that wait to be looked at, in bytes: far more than a test sends.
const ROOM: libc::c_int = 64 << 20;
/// How long frames may be on their way.
const PATIENCE: Duration = Duration::from_secs(10);
/// Protocol numbers of the frames (linux/if_ether.h).
const ETH_P_ALL: u16 = 3;
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// What was on the link.
#[derive(Debug, Default)]
pub struct Captured {
    /// Frames with UDP to the port.
    pub frames: u64,
    /// Bytes of their UDP payloads.
    pub payload_bytes: u64,
    /// The first eight bytes of each payload that has them, in the order of arrival.
    pub sequences: Vec<u64>,
    /// Frames that the capture itself lost (PACKET_STATISTICS).
    pub missed: u32,
}

/// A capture that runs until it is stopped.
pub struct Capture {
    shared: Arc<Shared>,
    thread: JoinHandle<io::Result<Captured>>,
}

/// What the capturing thread and its owner share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    frames: AtomicU64,
}

impl Capture {
    /// Captures on `interface` of the named network namespace; returns when it sees every frame from now on.
    pub fn start(namespace: &str, interface: &str, port: u16) -> Self {
        let (namespace, interface) = (format!("/run/netns/{namespace}"), interface.to_owned());
        // The socket stays in the namespace that it was made in; the thread that went there ends.
        let socket = thread::spawn(move || open(&namespace, &interface)).join().unwrap().unwrap();
        let shared = Arc::<Shared>::default();
        let there = Arc::clone(&shared);
        Self { shared, thread: thread::spawn(move || look(socket, port, &there)) }
    }

    /// Returns when so many frames have come, or after ten seconds: a kernel that is busy delivers late.
    pub fn wait_for(&self, frames: u64) {
        let begun = Instant::now();
        while self.shared.frames.load(Ordering::Acquire) < frames && begun.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it when all that is there has been looked at.
    pub fn stop(self) -> Captured {
        self.shared.stop.store(true, Ordering::Release);
        self.thread.join().unwrap().unwrap()
    }
}

fn open(namespace: &str, interface: &str) -> io::Result<Socket> {
    let namespace = File::open(namespace)?;
    // SAFETY: the descriptor is open, and only this thread, which ends right after, moves.
    if unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // Without a protocol it hears nothing until it is bound: no frame of another interface gets in.
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, ROOM)?;
    bind(&socket, interface)?;
    Ok(socket)
}

fn set_option(socket: &Socket, level: i32, name: i32, value: libc::c_int) -> io::Result<()> {
    let length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the value is a live integer of the length passed.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn bind(socket: &Socket, interface: &str) -> io::Result<()> {
    let name = std::ffi::CString::new(interface)?;
    // SAFETY: the name is NUL-terminated and lives through the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    // SAFETY: sockaddr_ll is plain data for which all-zero bytes are valid.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = ETH_P_ALL.to_be();
    address.sll_ifindex = index as i32;
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the address is a live sockaddr_ll of the length passed.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn look(mut socket: Socket, port: u16, shared: &Shared) -> io::Result<Captured> {
    let mut captured = Captured::default();
    let mut frame = vec![0; 1 << 17];
    loop {
        // The flag is looked at before the socket: what came before it was set is still taken.
        let stopping = shared.stop.load(Ordering::Acquire);
        match socket.read(&mut frame) {
            Ok(length) => {
                captured.note(&frame[..length], port);
                shared.frames.store(captured.frames, Ordering::Release);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && stopping => break,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    let statistics: libc::tpacket_stats = statistics(&socket)?;
    captured.missed = statistics.tp_drops;
    Ok(captured)
}

fn statistics(socket: &impl std::os::fd::AsFd) -> io::Result<libc::tpacket_stats> {
    let descriptor: BorrowedFd<'_> = socket.as_fd();
    // SAFETY: tpacket_stats is plain data for which all-zero bytes are valid.
    let mut statistics: libc::tpacket_stats = unsafe { std::mem::zeroed() };
    let mut length = size_of_val(&statistics) as libc::socklen_t;
    // SAFETY: the option's value is a live tpacket_stats of the length passed.
    let result = unsafe {
        libc::getsockopt(
            descriptor.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut statistics).cast(),
            &raw mut length,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(statistics) }
}

impl Captured {
    fn note(&mut self, frame: &[u8], port: u16) {
        let Some(payload) = udp_payload(frame, port) else { return };
        self.frames += 1;
        self.payload_bytes += payload.len() as u64;
        if let Some(first) = payload.first_chunk::<8>() {
            self.sequences.push(u64::from_le_bytes(*first));
        }
    }
}

/// The payload of an Ethernet frame with IPv4 or IPv6 (without options) and UDP to `port`.
fn udp_payload(frame: &[u8], port: u16) -> Option<&[u8]> {
    let packet = frame.get(14..)?;
    let udp = match [frame[12], frame[13]] {
        IPV4 if packet.get(9) == Some(&17) => packet.get(20..)?,
        IPV6 if packet.get(6) == Some(&17) => packet.get(40..)?,
        _ => return None,
    };
    let word = |at: usize| Some(u16::from_be_bytes([*udp.get(at)?, *udp.get(at + 1)?]));
    if word(2)? != port {
        return None;
    }
    // A frame of many segments has the length of one of them, or of all, in its header: what is there counts.
    udp.get(8..)
}
