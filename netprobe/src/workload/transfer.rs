//! Whole requests and responses over a socket that blocks or spins.

use std::io::{self, Write};

use meter::control::Stop;
use socket2::Socket;

use super::{flow::Flow, waiting};
use crate::protocol::order::Wait;

/// What an operation gives when it ended because `stop` was raised.
pub fn stopped() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

/// Whether to try again after `error`: the socket spins, or a signal came.
#[inline]
pub fn again(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Writes all of `bytes` to a TCP socket. One that doesn't block spins until there is room.
///
/// # Errors
/// When the connection broke, or `stop` was raised before all was written: a peer that takes a byte at a time must
/// not hold up the end.
#[inline]
pub fn write_all(mut socket: &Socket, bytes: &[u8], stop: &Stop) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match socket.write(&bytes[done..]) {
            Ok(count) => done += count,
            Err(error) if again(&error) && !stop.is_raised() => std::hint::spin_loop(),
            Err(error) => return Err(error),
        }
        if done < bytes.len() && stop.is_raised() {
            return Err(stopped());
        }
    }
    Ok(())
}

/// Fills `bytes` from a TCP socket. One that doesn't block spins until they are there.
///
/// # Errors
/// `UnexpectedEof` when the peer closed; when the connection broke, or `stop` was raised before all was there: a
/// peer that gives a byte at a time must not hold up the end.
#[inline]
pub fn read_exact(socket: &Socket, bytes: &mut [u8], wait: Wait, stop: &Stop) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match waiting::read(socket, &mut bytes[done..], wait) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => done += count,
            Err(error) if again(&error) && !stop.is_raised() => std::hint::spin_loop(),
            Err(error) => return Err(error),
        }
        if done < bytes.len() && stop.is_raised() {
            return Err(stopped());
        }
    }
    Ok(())
}

/// Sends one datagram; says whether the kernel took it. An error may be that of an earlier one (ICMP tells of it
/// late), so it is counted and this one tried again, once.
///
/// # Errors
/// `WouldBlock` and `Interrupted`, and what is no error of the network.
#[inline]
pub fn send_datagram(flow: &Flow, mut socket: &Socket, bytes: &[u8]) -> io::Result<bool> {
    for _ in 0..2 {
        match socket.write(bytes) {
            Ok(_) => return Ok(true),
            Err(error) if again(&error) => return Err(error),
            Err(error) => flow.troubles.count(error)?,
        }
    }
    Ok(false)
}
