//! A wire in user space: two tun devices, and threads that carry packets between them, late, twice or never.
#![allow(unsafe_code)] // The one ioctl that makes a tun device.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read, Write},
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// What becomes of one packet.
#[derive(Clone, Copy)]
pub enum Fate {
    Pass,
    Drop,
    Twice,
    Late(Duration),
}

/// Protocol numbers of IP headers.
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

/// Decides on packets from the first device to the second: by protocol, and by how many of that
/// protocol went before.
pub type Disturbance = fn(protocol: u8, number: u64) -> Fate;

/// Carries packets between two tun devices until dropped.
pub struct Wire {
    stop: Arc<AtomicBool>,
    carriers: Vec<JoinHandle<()>>,
}

impl Wire {
    /// Makes the devices, in the namespace of the caller.
    pub fn new(names: [&str; 2], disturbance: Disturbance) -> io::Result<Self> {
        let [one, other] = [tun(names[0])?, tun(names[1])?];
        let stop = Arc::new(AtomicBool::new(false));
        let (back_from, back_to) = (other.try_clone()?, one.try_clone()?);
        let (there, back) = (Arc::clone(&stop), Arc::clone(&stop));
        let carriers = vec![
            thread::spawn(move || carry(&one, &other, disturbance, &there)),
            thread::spawn(move || carry(&back_from, &back_to, |_, _| Fate::Pass, &back)),
        ];
        Ok(Self { stop, carriers })
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        for carrier in self.carriers.drain(..) {
            let _ = carrier.join();
        }
    }
}

fn tun(name: &str) -> io::Result<File> {
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: ifreq is plain data for which all-zero bytes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    assert!(name.len() < request.ifr_name.len(), "{name}");
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the request lives through the call and is the kind that TUNSETIFF takes.
    if unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw const request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: no memory is passed.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    Ok(file)
}

fn carry(mut from: &File, mut to: &File, disturbance: Disturbance, stop: &AtomicBool) {
    let mut late: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut seen = [0_u64; 256];
    let mut packet = [0; 65_536];
    while !stop.load(Relaxed) {
        while late.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            let _ = to.write(&late.pop_front().unwrap().1);
        }
        let Ok(length) = from.read(&mut packet) else {
            thread::sleep(Duration::from_micros(100));
            continue;
        };
        let protocol = packet[9];
        let number = seen[usize::from(protocol)];
        seen[usize::from(protocol)] += 1;
        let fate = disturbance(protocol, number);
        let times = match fate {
            Fate::Drop | Fate::Late(_) => 0,
            Fate::Pass => 1,
            Fate::Twice => 2,
        };
        if let Fate::Late(delay) = fate {
            late.push_back((Instant::now() + delay, packet[..length].to_vec()));
        }
        for _ in 0..times {
            let _ = to.write(&packet[..length]);
        }
    }
}
