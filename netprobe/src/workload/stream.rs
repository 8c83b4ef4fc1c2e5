//! Streams: one end writes as fast as the connection takes it, the other reads.

use std::io::{self, Read, Write};

use meter::control::Stop;

use super::Flow;

/// Writes `buffer` again and again until `stop` is raised and the socket shut down.
///
/// # Errors
/// When the connection broke before `stop` was raised.
pub fn send(flow: &Flow, buffer: &[u8], stop: &Stop) -> io::Result<()> {
    let mut socket = &flow.socket;
    while !stop.is_raised() {
        match socket.write(buffer) {
            Ok(count) => flow.sent_bytes.add(count as u64),
            Err(_) if stop.is_raised() => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads into `buffer` until `stop` is raised and the socket shut down.
///
/// # Errors
/// When the connection broke, or the peer closed it, before `stop` was raised.
pub fn receive(flow: &Flow, buffer: &mut [u8], stop: &Stop) -> io::Result<()> {
    let mut socket = &flow.socket;
    while !stop.is_raised() {
        match socket.read(buffer) {
            Ok(0) if stop.is_raised() => break,
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => flow.received_bytes.add(count as u64),
            Err(_) if stop.is_raised() => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
