//! A new TCP connection for every transaction: connect, request, response, close.
//!
//! The server closes first, so that the ports in TIME_WAIT are its own listening one and the client
//! never runs out of them.

use std::{
    io::{self, Read},
    net::{IpAddr, SocketAddr},
    thread,
    time::Duration,
};

use meter::{clock, control::Stop};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{
    flow::Flow,
    recorder::Recorder,
    transfer::{again, read_exact, stopped, write_all},
};
use crate::{
    options::LocalOptions,
    peers::same_host,
    protocol::order::{SocketOptions, Wait},
};

/// Longest wait of one system call before the stop flag is looked at.
const TICK: Duration = Duration::from_millis(40);

/// Time after an error of the network before the next try: long enough to leave the machine to others.
const PAUSE: Duration = Duration::from_millis(10);

/// Longest time that an accepted connection may take for its request, in nanoseconds: a client that says
/// nothing must not keep the others waiting.
const PATIENCE_NS: u64 = clock::SECOND_NS;

/// How connections are made.
#[derive(Clone, Debug)]
pub struct Maker {
    /// Where to.
    pub address: SocketAddr,
    /// Options of the sockets.
    pub options: SocketOptions,
    /// Options of this end alone.
    pub local: LocalOptions,
}

impl Maker {
    fn connect(&self, stop: &Stop) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_read_timeout(Some(TICK))?;
        socket.set_write_timeout(Some(TICK))?;
        self.options.apply(&socket).map_err(io::Error::other)?;
        self.local.apply(&socket, self.address, 0).map_err(io::Error::other)?;
        let address = SockAddr::from(self.address);
        loop {
            match socket.connect(&address) {
                Ok(()) => return Ok(socket),
                Err(_) if stop.is_raised() => return Err(stopped()),
                // The timeout passed and the connection is still being made: wait on.
                Err(error) if again(&error) => {}
                Err(error) if matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EALREADY)) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Makes one transaction after the other until `stop` is raised. The service time is from connect(2) to the
/// server's close, as netperf's: left out, an outage between response and close would show nowhere. A
/// connection that can't be made or breaks is counted by the kind of its error, and the next one is tried.
///
/// # Errors
/// When a socket fails otherwise (no port left, an option refused), before `stop` was raised.
pub fn ask(
    flow: &Flow,
    maker: &Maker,
    request: &[u8],
    response: &mut [u8],
    recorder: &mut Recorder,
    stop: &Stop,
) -> io::Result<()> {
    while !stop.is_raised() {
        let begun_ns = clock::now_ns();
        match transact(maker, request, response, stop) {
            Ok(()) => {
                flow.transactions.add(1);
                recorder.closed(begun_ns, clock::now_ns());
            }
            Err(error) if stop.is_raised() => return Err(error),
            Err(error) => {
                flow.troubles.count(error)?;
                thread::sleep(PAUSE);
            }
        }
    }
    Ok(())
}

/// One transaction on a connection of its own, up to the peer's close.
fn transact(maker: &Maker, request: &[u8], response: &mut [u8], stop: &Stop) -> io::Result<()> {
    let socket = maker.connect(stop)?;
    write_all(&socket, request, stop)?;
    read_exact(&socket, response, Wait::Block, stop)?;
    await_close(&socket, stop)
}

/// Waits until the peer has closed.
fn await_close(mut socket: &Socket, stop: &Stop) -> io::Result<()> {
    loop {
        match socket.read(&mut [0]) {
            Ok(0) => return Ok(()),
            Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
            Err(error) if again(&error) && !stop.is_raised() => {}
            Err(error) => return Err(error),
        }
    }
}

/// Accepts connections of `peer`, and of no one else, and answers one request on each, until `stop` is
/// raised and the listener shut down.
///
/// # Errors
/// When the listener broke before `stop` was raised.
pub fn answer(
    (flow, listener): (&Flow, &Socket),
    peer: IpAddr,
    request: &mut [u8],
    response: &[u8],
    stop: &Stop,
) -> io::Result<()> {
    while !stop.is_raised() {
        let (socket, from) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if again(&error) || error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) if stop.is_raised() => return Err(error),
            // What accept(2) passes on from the network, and want of descriptors: the next one may be fine.
            Err(error) => {
                flow.troubles.count(error)?;
                thread::sleep(PAUSE);
                continue;
            }
        };
        let is_peer = from.as_socket().is_some_and(|from| same_host(from.ip(), peer));
        if is_peer && answer_one(&socket, request, response, stop).is_ok() {
            flow.transactions.add(1);
        } else {
            flow.stray.add(1);
        }
    }
    Ok(())
}

fn answer_one(socket: &Socket, request: &mut [u8], response: &[u8], stop: &Stop) -> io::Result<()> {
    let mut done = 0;
    let begun_ns = clock::now_ns();
    while done < request.len() {
        // Nobody shuts this connection down: a client that sends a byte at a time must not hold up the end.
        if done > 0 && stop.is_raised() {
            return Err(stopped());
        }
        match (&mut &*socket).read(&mut request[done..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => done += count,
            Err(error) if again(&error) && !stop.is_raised() && clock::now_ns() < begun_ns + PATIENCE_NS => {}
            Err(error) => return Err(error),
        }
    }
    write_all(socket, response, stop)
}

/// Prepares a listener so that accepting, and reading from what was accepted, looks at the stop flag.
///
/// # Errors
/// None that a caller can cause.
pub fn prepare_listener(listener: &Socket) -> io::Result<()> {
    // Accepted sockets inherit both on Linux.
    listener.set_read_timeout(Some(TICK))?;
    listener.set_write_timeout(Some(TICK))
}
