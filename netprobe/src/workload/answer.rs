//! Responses on one flow, or on several in turn.

use std::{
    io::{self, Read, Write},
    os::fd::AsFd,
};

use meter::control::Stop;
use socket2::Socket;

use super::{
    flow::Flow,
    transfer::{again, read_exact, send_datagram, write_all},
    waiting,
};
use crate::{
    protocol::order::{Order, Wait},
    sys::{READABLE, WRITABLE, Waiting},
};

/// Answers over one TCP connection until `stop` is raised and the socket shut down.
///
/// # Errors
/// When the connection broke, or the peer closed it, before `stop` was raised.
pub fn over_tcp(
    (flow, socket): (&Flow, &Socket),
    request: &mut [u8],
    response: &[u8],
    order: &Order,
    stop: &Stop,
) -> io::Result<()> {
    let (wait, quick_ack) = (order.wait, order.socket.quick_ack);
    while !stop.is_raised() {
        read_exact(socket, request, wait, stop)?;
        write_all(socket, response, stop)?;
        if quick_ack {
            socket.set_tcp_quickack(true)?;
        }
        flow.transactions.add(1);
    }
    Ok(())
}

/// Answers over one UDP socket until `stop` is raised and the socket shut down. `request` has one byte
/// more than a request, so that a longer datagram is told from it. Errors of the network are counted.
///
/// # Errors
/// When the socket fails otherwise, before `stop` was raised.
pub fn over_udp(
    (flow, socket): (&Flow, &Socket),
    request: &mut [u8],
    response: &mut [u8],
    tag: usize,
    wait: Wait,
    stop: &Stop,
) -> io::Result<()> {
    while !stop.is_raised() {
        match answer_datagram((flow, socket), request, response, tag, wait, stop) {
            Ok(()) => {}
            Err(error) if again(&error) => std::hint::spin_loop(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads one datagram and answers it, if it is a request.
#[inline]
fn answer_datagram(
    (flow, socket): (&Flow, &Socket),
    request: &mut [u8],
    response: &mut [u8],
    tag: usize,
    wait: Wait,
    stop: &Stop,
) -> io::Result<()> {
    let count = match waiting::read(socket, request, wait) {
        Ok(count) => count,
        Err(error) if again(&error) => return Err(error),
        Err(error) => return flow.troubles.count(error),
    };
    // A UDP socket that was shut down gives empty datagrams: its end, not the peer's doing.
    if count == 0 && stop.is_raised() {
        return Ok(());
    }
    if count != request.len() - 1 {
        flow.stray.add(1);
        return Ok(());
    }
    response[..tag].copy_from_slice(&request[..tag]);
    loop {
        match send_datagram(flow, socket, response) {
            Ok(true) => break,
            Ok(false) => return Ok(()),
            Err(error) if again(&error) && !stop.is_raised() => std::hint::spin_loop(),
            Err(error) => return Err(error),
        }
    }
    flow.transactions.add(1);
    Ok(())
}

/// One of several TCP connections that a thread answers on.
struct Lane<'a> {
    flow: &'a Flow,
    socket: &'a Socket,
    /// Bytes of the next request that have come.
    got: usize,
    /// Requests that wait for their response.
    owed: usize,
    /// Bytes of the current response that have been sent.
    sent: usize,
}

/// Answers on several flows, whichever are ready; their sockets must not block.
pub struct Responder<'a> {
    lanes: Vec<Lane<'a>>,
    waiting: Vec<Waiting<'a>>,
    incoming: Vec<u8>,
    request_bytes: usize,
    response: Vec<u8>,
    /// Length of the datagrams' tags; `None` over TCP.
    tag: Option<usize>,
}

/// Most that is read from one connection at a time, in bytes, where requests are shorter.
const READ_BYTES: usize = 16 << 10;

impl<'a> Responder<'a> {
    /// Answers requests of `request_bytes` with `response`, over UDP where there is a `tag`.
    #[must_use]
    pub fn new(
        flows: &[(&'a Flow, &'a Socket)],
        request_bytes: usize,
        response: Vec<u8>,
        tag: Option<usize>,
    ) -> Self {
        let lane = |&(flow, socket): &(&'a Flow, &'a Socket)| Lane { flow, socket, got: 0, owed: 0, sent: 0 };
        let incoming = if tag.is_some() { request_bytes + 1 } else { request_bytes.max(READ_BYTES) };
        Self {
            lanes: flows.iter().map(lane).collect(),
            waiting: flows.iter().map(|&(_, socket)| Waiting::new(socket.as_fd(), READABLE)).collect(),
            incoming: vec![0x5a; incoming],
            request_bytes,
            response,
            tag,
        }
    }

    /// Answers until `stop` is raised; looks at the sockets again after `longest_ns` at the latest.
    ///
    /// # Errors
    /// When a connection broke, or the peer closed it, before `stop` was raised.
    pub fn run(&mut self, wait: Wait, longest_ns: u64, stop: &Stop) -> io::Result<()> {
        while !stop.is_raised() {
            waiting::poll(&mut self.waiting, wait, longest_ns)?;
            for (lane, waiting) in self.lanes.iter_mut().zip(&mut self.waiting) {
                if !waiting.happened() {
                    continue;
                }
                let served = match self.tag {
                    Some(tag) => answer_datagram(
                        (lane.flow, lane.socket),
                        &mut self.incoming,
                        &mut self.response,
                        tag,
                        Wait::Spin,
                        stop,
                    ),
                    None => lane.serve(&mut self.incoming, self.request_bytes, &self.response),
                };
                match served {
                    Ok(()) => {}
                    Err(error) if again(&error) => {}
                    Err(error) => return Err(error),
                }
                // A client that does not read its responses gets no more of them read for it.
                waiting.set_events(if lane.owed > 0 { WRITABLE } else { READABLE });
            }
        }
        Ok(())
    }
}

impl Lane<'_> {
    /// Sends what is owed; when nothing is, reads once and sends what is owed then.
    fn serve(&mut self, incoming: &mut [u8], request_bytes: usize, response: &[u8]) -> io::Result<()> {
        let mut socket = self.socket;
        if self.owed == 0 {
            match socket.read(incoming)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.got += count,
            }
            self.owed = self.got / request_bytes;
            self.got %= request_bytes;
        }
        while self.owed > 0 {
            self.sent += socket.write(&response[self.sent..])?;
            if self.sent == response.len() {
                self.sent = 0;
                self.owed -= 1;
                self.flow.transactions.add(1);
            }
        }
        Ok(())
    }
}
