//! Requests on one flow, one after the other: the shortest way from a response to the next request.

use std::{io, os::fd::AsFd};

use meter::{clock, clock::SECOND_NS, control::Stop};
use socket2::Socket;

use super::{
    flow::Flow,
    recorder::Recorder,
    transfer::{again, read_exact, send_datagram, stopped, write_all},
    waiting,
};
use crate::{
    protocol::order::{Order, Wait},
    sys::{self, READABLE, Waiting},
};

/// How long to wait for a response over UDP before the request counts as lost, in nanoseconds.
pub const LOST_AFTER_NS: u64 = SECOND_NS;

/// Spins between two looks at the clock.
const SPINS_PER_LOOK: u32 = 256;

/// Asks over TCP until `stop` is raised and the socket shut down.
///
/// # Errors
/// When the connection broke, or the peer closed it, before `stop` was raised.
pub fn over_tcp(
    (flow, socket): (&Flow, &Socket),
    request: &[u8],
    response: &mut [u8],
    order: &Order,
    recorder: &mut Recorder,
    stop: &Stop,
) -> io::Result<()> {
    let (wait, quick_ack) = (order.wait, order.socket.quick_ack);
    let mut begun_ns = clock::now_ns();
    while !stop.is_raised() {
        write_all(socket, request, stop).and_then(|()| read_exact(socket, response, wait, stop))?;
        if quick_ack {
            socket.set_tcp_quickack(true)?;
        }
        let now_ns = clock::now_ns();
        flow.transactions.add(1);
        recorder.closed(begun_ns, now_ns);
        begun_ns = now_ns;
    }
    Ok(())
}

/// Asks over UDP until `stop` is raised and the socket shut down. The first `tag` bytes of each datagram
/// number the request; a response that does not come within a second is lost, and so is a request that the
/// kernel does not take. Errors of the network are counted, and the next request goes out a second later.
///
/// # Errors
/// When the socket fails otherwise, before `stop` was raised.
pub fn over_udp(
    (flow, socket): (&Flow, &Socket),
    request: &mut [u8],
    response: &mut [u8],
    tag: usize,
    wait: Wait,
    recorder: &mut Recorder,
    stop: &Stop,
) -> io::Result<()> {
    let mut number = 0_u64;
    let mut begun_ns = clock::now_ns();
    while !stop.is_raised() {
        request[..tag].copy_from_slice(&number.to_le_bytes()[..tag]);
        match send_datagram(flow, socket, request) {
            Ok(_) => {}
            Err(error) if again(&error) => continue,
            Err(error) => return Err(error),
        }
        let answered =
            await_response((flow, socket), &request[..tag], response, wait, begun_ns + LOST_AFTER_NS, stop)?;
        let now_ns = clock::now_ns();
        if answered {
            flow.transactions.add(1);
            recorder.closed(begun_ns, now_ns);
        } else {
            flow.lost.add(1);
        }
        number += 1;
        begun_ns = now_ns;
    }
    Ok(())
}

/// Waits for the response that begins with `tag`; says whether it came before `deadline_ns`. A blocking socket
/// has that limit itself, as its receive timeout.
#[inline]
fn await_response(
    (flow, socket): (&Flow, &Socket),
    tag: &[u8],
    response: &mut [u8],
    wait: Wait,
    deadline_ns: u64,
    stop: &Stop,
) -> io::Result<bool> {
    let expected = response.len() - 1;
    let mut spins = 0_u32;
    loop {
        match waiting::read(socket, response, wait) {
            Ok(count) if count == expected && response[..tag.len()] == *tag => return Ok(true),
            _ if stop.is_raised() => return Err(stopped()),
            Err(error) if again(&error) && wait == Wait::Spin => {
                std::hint::spin_loop();
                spins += 1;
                if !spins.is_multiple_of(SPINS_PER_LOOK) {
                    continue;
                }
            }
            Err(error) if again(&error) => {}
            Ok(_) => flow.stray.add(1),
            Err(error) => flow.troubles.count(error)?,
        }
        // Here is nobody's hurry: it was spun long, waited long, or something came that was no response.
        let left_ns = deadline_ns.saturating_sub(clock::now_ns());
        if left_ns == 0 {
            return Ok(false);
        }
        if wait != Wait::Spin {
            sys::poll(&mut [Waiting::new(socket.as_fd(), READABLE)], left_ns)?;
        }
    }
}
