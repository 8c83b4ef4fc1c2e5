//! Messages over a connection, with a limit of time on every wait.

use std::{
    io::{self, Read},
    net::{SocketAddr, TcpStream},
    os::fd::AsFd,
    time::Duration,
};

use meter::clock;
use serde::{Serialize, de::DeserializeOwned};
use socket2::{SockRef, TcpKeepalive};

use super::frame::{self, Assembler};
use crate::sys::{self, Waiting};

/// How long a peer may take to make room for one message.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// Longest time without a word of the peer's kernel before it counts as gone.
pub const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// A control connection after its hello.
#[derive(Debug)]
pub struct Channel {
    stream: TcpStream,
    assembler: Assembler,
}

impl Channel {
    /// A channel over `stream`; `assembler` may hold bytes that have been read already. A peer from whom the kernel
    /// hears nothing for about `silence`, neither acknowledgements nor answers to its own questions (which it
    /// begins to ask after that time without payload), is gone: then every call fails.
    ///
    /// # Errors
    /// When the socket refuses its options.
    pub fn new(stream: TcpStream, assembler: Assembler, silence: Duration) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        // The kernel counts keepalive in whole seconds.
        let silence = silence.clamp(Duration::from_secs(1), LONGEST_SILENCE);
        let socket = SockRef::from(&stream);
        let keepalive = TcpKeepalive::new().with_time(silence).with_interval(Duration::from_secs(1));
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_tcp_user_timeout(Some(silence))?;
        Ok(Self { stream, assembler })
    }

    /// Address of the other end.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    /// Address of this end.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// Sends one message.
    ///
    /// # Errors
    /// When the peer is gone, or takes longer than 5 s to make room.
    pub fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        let frame = frame::encode(&serde_json::to_vec(message)?)?;
        let deadline_ns = clock::now_ns().saturating_add(WRITE_LIMIT.as_nanos() as u64);
        let mut rest = frame.as_slice();
        // The limit is for the whole message: a peer that reads a little from time to time must not gain more.
        while !rest.is_empty() {
            let left_ns = deadline_ns.saturating_sub(clock::now_ns());
            let mut waiting = [Waiting::new(self.stream.as_fd(), sys::WRITABLE)];
            if sys::poll(&mut waiting, left_ns)? == 0 && clock::now_ns() >= deadline_ns {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match SockRef::from(&self.stream).send_with_flags(rest, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) {
                Ok(count) => rest = &rest[count..],
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next message, if one arrives before `deadline_ns` (CLOCK_MONOTONIC).
    ///
    /// # Errors
    /// `UnexpectedEof` when the peer closed, `InvalidData` for bytes that are no message.
    pub fn receive<M: DeserializeOwned>(&mut self, deadline_ns: u64) -> io::Result<Option<M>> {
        loop {
            if let Some(frame) = self.assembler.next_frame()? {
                return Ok(Some(serde_json::from_slice(&frame)?));
            }
            let left_ns = deadline_ns.saturating_sub(clock::now_ns());
            let mut waiting = [Waiting::new(self.stream.as_fd(), sys::READABLE)];
            if sys::poll(&mut waiting, left_ns)? == 0 {
                // A signal ends a wait early; only time ends it for good.
                if clock::now_ns() >= deadline_ns {
                    return Ok(None);
                }
                continue;
            }
            let mut bytes = [0; 4096];
            match (&self.stream).read(&mut bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.assembler.push(&bytes[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
