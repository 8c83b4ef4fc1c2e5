//! Waiting for a socket as the order says: asleep in the kernel, spinning, or spinning for a while first.

use std::{
    io::{self, Read},
    os::fd::AsFd,
};

use meter::clock;
use socket2::Socket;

use crate::{
    protocol::order::Wait,
    sys::{self, Waiting},
};

/// Reads once from `socket`, which blocks unless `wait` is [`Wait::Spin`].
///
/// # Errors
/// What recv(2) gives; `WouldBlock` from a socket that does not block, or whose receive timeout passed.
#[inline]
pub fn read(mut socket: &Socket, bytes: &mut [u8], wait: Wait) -> io::Result<usize> {
    if let Wait::Adaptive { spin_ns } = wait {
        let until_ns = clock::now_ns().saturating_add(spin_ns);
        loop {
            match sys::receive_now(socket.as_fd(), bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
            if clock::now_ns() >= until_ns {
                break;
            }
            std::hint::spin_loop();
        }
    }
    socket.read(bytes)
}

/// Waits until one of `sockets` is as wished, at most `longest_ns` nanoseconds.
///
/// # Errors
/// As [`sys::poll`].
pub fn poll(sockets: &mut [Waiting<'_>], wait: Wait, longest_ns: u64) -> io::Result<()> {
    match wait {
        Wait::Block => {}
        Wait::Spin => return sys::poll(sockets, 0).map(drop),
        Wait::Adaptive { spin_ns } => {
            let until_ns = clock::now_ns().saturating_add(spin_ns.min(longest_ns));
            while clock::now_ns() < until_ns {
                if sys::poll(sockets, 0)? > 0 {
                    return Ok(());
                }
                std::hint::spin_loop();
            }
        }
    }
    sys::poll(sockets, longest_ns).map(drop)
}
