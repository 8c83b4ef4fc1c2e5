//! The work itself: loops that move payload, alike at both ends.

pub mod stream;
pub mod transact;
pub mod window;

use std::{
    io,
    net::{Shutdown, TcpStream},
};

use meter::{
    Error, Result,
    control::Stop,
    counter::Counter,
    crew::{self, Gate},
    histogram::LatencyHistogram,
    placement::Placement,
};

use crate::protocol::message::{Direction, Order, Workload};
use transact::Measured;

/// The two ends of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Connects, asks, decides when.
    Client,
    /// Listens and answers.
    Server,
}

/// What an end does on a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Writes a stream.
    Send,
    /// Reads a stream.
    Receive,
    /// Sends requests.
    Ask,
    /// Sends responses.
    Answer,
}

impl Role {
    /// The role of `end` on flow number `flow` of `order`. Where payload goes both ways, the client
    /// sends on the first half of the flows.
    #[must_use]
    pub fn new(end: End, order: &Order, flow: usize) -> Self {
        let Workload::Stream { direction, .. } = order.workload else {
            return if end == End::Client { Self::Ask } else { Self::Answer };
        };
        let client_sends = match direction {
            Direction::Send => true,
            Direction::Receive => false,
            Direction::Both => flow < order.flows as usize,
        };
        if client_sends == (end == End::Client) { Self::Send } else { Self::Receive }
    }
}

/// One TCP connection, and what has moved through it.
#[derive(Debug)]
pub struct Flow {
    /// The connection, blocking.
    pub socket: TcpStream,
    /// What this end does on it.
    pub role: Role,
    /// Stream payload handed to the kernel so far, in bytes.
    pub sent_bytes: Counter,
    /// Stream payload that has arrived, in bytes.
    pub received_bytes: Counter,
}

impl Flow {
    /// A flow on which nothing has moved.
    #[must_use]
    pub fn new(socket: TcpStream, role: Role) -> Self {
        Self { socket, role, sent_bytes: Counter::default(), received_bytes: Counter::default() }
    }
}

/// Ends the work on all flows: raises `stop`, and shuts the sockets down so that no one stays blocked.
pub fn finish(flows: &[Flow], stop: &Stop) {
    stop.raise();
    for flow in flows {
        // A connection that the peer has closed already needs no more.
        let _ = flow.socket.shutdown(Shutdown::Both);
    }
}

/// What became of one worker.
#[derive(Debug)]
pub struct Outcome {
    /// Why it ended early, if it did.
    pub error: Option<io::Error>,
    /// Service times of its transactions, where it asked.
    pub service_time: LatencyHistogram,
}

/// What a worker holds before it begins.
struct Prepared<'a> {
    flow: &'a Flow,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    histogram: LatencyHistogram,
}

/// Works on `flows`, one thread each, placed as `placements` say, until `stop` is raised. `early` is
/// raised when a worker ended before that.
///
/// # Errors
/// When a thread could not be placed, or the conductor failed.
pub fn run<C>(
    order: &Order,
    flows: &[Flow],
    placements: &[Placement],
    stop: &Stop,
    early: &Stop,
    conduct: impl FnOnce(&Gate) -> Result<C>,
) -> Result<(Vec<Outcome>, C)> {
    let placements: Vec<Placement> =
        (0..flows.len()).map(|flow| placements[flow % placements.len()]).collect();
    crew::run(
        &placements,
        |worker| Ok(prepare(order, &flows[worker.index])),
        |mut prepared, start_ns| {
            let from_ns = start_ns + order.warmup_ns;
            let measured = Measured { from_ns, until_ns: from_ns + order.duration_ns };
            let error = work(&mut prepared, measured, stop).err();
            if error.is_some() {
                early.raise();
            }
            Outcome { error, service_time: prepared.histogram }
        },
        conduct,
    )
}

fn prepare<'a>(order: &Order, flow: &'a Flow) -> Prepared<'a> {
    // Written to, so that every page is there before the work begins.
    let buffer = |bytes: u64| vec![0x5a_u8; bytes as usize];
    let (outgoing, incoming) = match (order.workload.clone(), flow.role) {
        (Workload::Stream { write_bytes, .. }, Role::Send) => (write_bytes, 0),
        (Workload::Stream { read_bytes, .. }, _) => (0, read_bytes),
        (Workload::Transactions { request_bytes, response_bytes }, Role::Ask) => {
            (request_bytes, response_bytes)
        }
        (Workload::Transactions { request_bytes, response_bytes }, _) => (response_bytes, request_bytes),
    };
    Prepared {
        flow,
        outgoing: buffer(outgoing),
        incoming: buffer(incoming),
        histogram: LatencyHistogram::new(),
    }
}

fn work(prepared: &mut Prepared<'_>, measured: Measured, stop: &Stop) -> io::Result<()> {
    let Prepared { flow, outgoing, incoming, histogram } = prepared;
    match flow.role {
        Role::Send => stream::send(flow, outgoing, stop),
        Role::Receive => stream::receive(flow, incoming, stop),
        Role::Ask => transact::ask(&flow.socket, outgoing, incoming, measured, histogram, stop),
        Role::Answer => transact::answer(&flow.socket, incoming, outgoing, stop),
    }
}

/// The first error among `outcomes`, as one of flow `…` to `peer`.
///
/// # Errors
/// That error.
pub fn first_error(outcomes: &mut [Outcome], peer: &str) -> Result<()> {
    let failed =
        outcomes.iter_mut().enumerate().find_map(|(flow, outcome)| Some((flow, outcome.error.take()?)));
    match failed {
        None => Ok(()),
        Some((flow, error)) => Err(Error::system(format!("flow {flow} with {peer} broke"), error)),
    }
}
