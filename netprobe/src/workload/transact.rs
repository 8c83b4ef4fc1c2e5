//! Transactions: a request one way, a response back.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use meter::{clock, control::Stop, histogram::LatencyHistogram};

/// The measured time, in nanoseconds of CLOCK_MONOTONIC: only transactions that end within it count.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Its begin: the end of the warm-up.
    pub from_ns: u64,
    /// Its end.
    pub until_ns: u64,
}

/// Asks and waits for the answer, one transaction after the other, until `stop` is raised and the
/// socket shut down. A transaction that begins before the measured time or ends after it is left out.
///
/// # Errors
/// When the connection broke, or the peer closed it, before `stop` was raised.
pub fn ask(
    mut socket: &TcpStream,
    request: &[u8],
    response: &mut [u8],
    measured: Measured,
    histogram: &mut LatencyHistogram,
    stop: &Stop,
) -> io::Result<()> {
    let mut begun_ns = clock::now_ns();
    while !stop.is_raised() {
        let outcome = socket.write_all(request).and_then(|()| socket.read_exact(response));
        if let Err(error) = outcome {
            return if stop.is_raised() { Ok(()) } else { Err(error) };
        }
        let now_ns = clock::now_ns();
        if begun_ns >= measured.from_ns && now_ns <= measured.until_ns {
            histogram.record(now_ns - begun_ns);
        }
        begun_ns = now_ns;
    }
    Ok(())
}

/// Answers every request until `stop` is raised and the socket shut down.
///
/// # Errors
/// When the connection broke, or the peer closed it, before `stop` was raised.
pub fn answer(mut socket: &TcpStream, request: &mut [u8], response: &[u8], stop: &Stop) -> io::Result<()> {
    while !stop.is_raised() {
        let outcome = socket.read_exact(request).and_then(|()| socket.write_all(response));
        if let Err(error) = outcome {
            return if stop.is_raised() { Ok(()) } else { Err(error) };
        }
    }
    Ok(())
}
