//! Streams: one end writes as fast as the connection takes it, the other reads.

use std::{
    ffi::CStr,
    fs::File,
    io::{self, Read, Write},
    mem::MaybeUninit,
    num::NonZeroUsize,
    os::fd::AsFd,
};

use meter::{Error, Result, control::Stop};
use socket2::Socket;

use super::{
    flow::{Flow, Role},
    transfer::again,
};
use crate::{
    protocol::order::{ReceiveWith, SendWith},
    sys::{self, Waiting},
};

/// How a worker moves stream payload: everything that it needs, made before the work begins.
#[derive(Debug)]
pub struct Pump {
    send: Sending,
    receive: Receiving,
}

#[derive(Debug)]
enum Sending {
    Copy(Vec<u8>),
    Zerocopy { payload: Vec<u8>, sends: u32 },
    File { file: File, length: NonZeroUsize },
}

#[derive(Debug)]
enum Receiving {
    Copy(Vec<u8>),
    Discard(Box<[MaybeUninit<u8>]>),
}

/// Sends with MSG_ZEROCOPY between two looks at what has completed. The kernel merges the notices
/// of consecutive sends, so there are few to read.
const SENDS_PER_LOOK: u32 = 16;

impl Pump {
    /// Buffers of these sizes; `write_bytes` and `read_bytes` are at least 1.
    ///
    /// # Errors
    /// When a file in memory can't be made.
    pub fn new(write_bytes: u64, send: SendWith, read_bytes: u64, receive: ReceiveWith) -> Result<Self> {
        // Written to, so that every page is there before the work begins.
        let payload = || vec![0x5a; write_bytes as usize];
        let send = match send {
            SendWith::Copy => Sending::Copy(payload()),
            SendWith::Zerocopy => Sending::Zerocopy { payload: payload(), sends: 0 },
            SendWith::Sendfile => {
                let file = memory_file(&payload())
                    .map_err(|error| Error::system("make a file in memory for sendfile", error))?;
                let length = NonZeroUsize::new(write_bytes as usize).unwrap_or(NonZeroUsize::MIN);
                Sending::File { file, length }
            }
        };
        let receive = match receive {
            ReceiveWith::Copy => Receiving::Copy(vec![0x5a; read_bytes as usize]),
            ReceiveWith::Discard => Receiving::Discard(Box::new_uninit_slice(read_bytes as usize)),
        };
        Ok(Self { send, receive })
    }

    /// Lets `socket` send without copying, where this pump does so.
    ///
    /// # Errors
    /// Exit code 3 where the kernel can't (before 4.14).
    pub fn prepare(&self, socket: &Socket) -> Result<()> {
        if !matches!(self.send, Sending::Zerocopy { .. }) {
            return Ok(());
        }
        meter::sys::setsockopt(socket.as_fd(), libc::SOL_SOCKET, sys::SO_ZEROCOPY, 1).map_err(|error| {
            let told = "this kernel refuses SO_ZEROCOPY; use `--send-with copy` or `sendfile`";
            Error::unavailable(told).with_source(error)
        })
    }

    /// One write or read on `flow`, as its role says.
    ///
    /// # Errors
    /// `UnexpectedEof` when the peer closed; whatever the socket gives.
    #[inline]
    fn step(&mut self, flow: &Flow, mut socket: &Socket) -> io::Result<()> {
        if flow.role == Role::Send {
            let count = match &mut self.send {
                Sending::Copy(payload) => socket.write(payload)?,
                Sending::Zerocopy { payload, sends } => zerocopy(flow, socket, payload, sends)?,
                Sending::File { file, length } => socket.sendfile(&*file, 0, Some(*length))?,
            };
            flow.sent_bytes.add(count as u64);
            return Ok(());
        }
        let count = match &mut self.receive {
            Receiving::Copy(buffer) => socket.read(buffer)?,
            Receiving::Discard(buffer) => socket.recv_with_flags(buffer, libc::MSG_TRUNC)?,
        };
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        flow.received_bytes.add(count as u64);
        Ok(())
    }

    /// Moves payload on `flow` until `stop` is raised and its socket shut down.
    ///
    /// # Errors
    /// When the connection broke, or the peer closed it, before `stop` was raised.
    pub fn run(&mut self, flow: &Flow, socket: &Socket, stop: &Stop) -> io::Result<()> {
        while !stop.is_raised() {
            match self.step(flow, socket) {
                Ok(()) => {}
                Err(_) if stop.is_raised() => break,
                Err(error) if again(&error) => std::hint::spin_loop(),
                Err(error) => return Err(error),
            }
        }
        self.look_at_completions(flow, socket);
        Ok(())
    }

    /// Moves payload on several flows in turn, whichever are ready; their sockets must not block.
    ///
    /// # Errors
    /// As [`Pump::run`].
    pub fn run_many(
        &mut self,
        flows: &[(&Flow, &Socket)],
        waiting: &mut [Waiting<'_>],
        wait_ns: u64,
        stop: &Stop,
    ) -> io::Result<()> {
        while !stop.is_raised() {
            sys::poll(waiting, wait_ns)?;
            for ((flow, socket), waiting) in flows.iter().zip(waiting.iter()) {
                if !waiting.happened() {
                    continue;
                }
                match self.step(flow, socket) {
                    Ok(()) => {}
                    Err(_) if stop.is_raised() => return Ok(()),
                    Err(error) if again(&error) => self.look_at_completions(flow, socket),
                    Err(error) => return Err(error),
                }
            }
        }
        for (flow, socket) in flows {
            self.look_at_completions(flow, socket);
        }
        Ok(())
    }

    fn look_at_completions(&self, flow: &Flow, socket: &Socket) {
        if matches!(self.send, Sending::Zerocopy { .. }) {
            look_at_completions(flow, socket);
        }
    }
}

/// One send with MSG_ZEROCOPY. The payload never changes, so it needs no keeping until its completion.
fn zerocopy(flow: &Flow, socket: &Socket, payload: &[u8], sends: &mut u32) -> io::Result<usize> {
    *sends += 1;
    if sends.is_multiple_of(SENDS_PER_LOOK) {
        look_at_completions(flow, socket);
    }
    match socket.send_with_flags(payload, libc::MSG_ZEROCOPY) {
        // Too many notices wait (net.core.optmem_max): read them and go on.
        Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
            look_at_completions(flow, socket);
            Err(io::ErrorKind::WouldBlock.into())
        }
        outcome => outcome,
    }
}

fn look_at_completions(flow: &Flow, socket: &Socket) {
    while let Ok(Some((count, copied))) = sys::zerocopy_notice(socket.as_fd()) {
        flow.zerocopy_completed.add(count);
        if copied {
            flow.zerocopy_copied.add(count);
        }
    }
}

/// A file in memory with `content`.
fn memory_file(content: &[u8]) -> io::Result<File> {
    const NAME: &CStr = c"netprobe payload";
    let mut file = sys::memory_file(NAME)?;
    file.write_all(content)?;
    Ok(file)
}
