//! Flows: what carries payload, what this end does with it, and how much has moved.

use std::net::{Shutdown, SocketAddr};

use meter::{control::Stop, counter::Counter};
use socket2::Socket;

use super::trouble::Troubles;
use crate::{
    protocol::{
        order::{Direction, Order, Transport, Workload},
        report::TcpInfo,
    },
    tcp_info,
};

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
    /// Sends requests, on one connection or on ever new ones.
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

/// What carries a flow.
#[derive(Debug)]
pub enum Link {
    /// A connected socket: TCP, or UDP that hears and reaches one peer only.
    Connected(Socket),
    /// A socket that accepts connections, each for one transaction.
    Listening(Socket),
    /// The address to connect to, anew for each transaction.
    Address(SocketAddr),
}

/// One flow. Each counter has a single writer, the thread that works on the flow.
#[derive(Debug)]
pub struct Flow {
    /// What carries it.
    pub link: Link,
    /// What this end does on it.
    pub role: Role,
    /// Stream payload handed to the kernel so far, in bytes.
    pub sent_bytes: Counter,
    /// Stream payload that has arrived, in bytes.
    pub received_bytes: Counter,
    /// Requests sent, or answered.
    pub transactions: Counter,
    /// Requests given up because no response came in time.
    pub lost: Counter,
    /// Datagrams and connections that belong to no transaction: duplicates, answers that came too
    /// late, strangers.
    pub stray: Counter,
    /// Errors of the network with which the work goes on.
    pub troubles: Troubles,
    /// Sends with MSG_ZEROCOPY that the kernel has completed.
    pub zerocopy_completed: Counter,
    /// Those of them that it copied after all.
    pub zerocopy_copied: Counter,
}

impl Flow {
    /// A flow on which nothing has moved.
    #[must_use]
    pub fn new(link: Link, role: Role) -> Self {
        Self {
            link,
            role,
            sent_bytes: Counter::default(),
            received_bytes: Counter::default(),
            transactions: Counter::default(),
            lost: Counter::default(),
            stray: Counter::default(),
            troubles: Troubles::default(),
            zerocopy_completed: Counter::default(),
            zerocopy_copied: Counter::default(),
        }
    }

    /// The socket, where it is connected.
    #[must_use]
    pub fn connected(&self) -> Option<&Socket> {
        match &self.link {
            Link::Connected(socket) => Some(socket),
            Link::Listening(_) | Link::Address(_) => None,
        }
    }
}

/// Ends the work on all flows: raises `stop`, and shuts the sockets down so that no one stays blocked.
pub fn finish(flows: &[Flow], stop: &Stop) {
    stop.raise();
    for flow in flows {
        match &flow.link {
            // One that the peer has closed already needs no more.
            Link::Connected(socket) | Link::Listening(socket) => drop(socket.shutdown(Shutdown::Both)),
            Link::Address(_) => {}
        }
    }
}

/// What the kernel knows of the TCP connections among `flows` on which this end sends.
#[must_use]
pub fn tcp_info_of(flows: &[Flow], order: &Order) -> Vec<TcpInfo> {
    if matches!(order.workload, Workload::Transactions { transport: Transport::Udp, .. }) {
        return Vec::new();
    }
    let sending = flows.iter().enumerate().filter(|(_, flow)| flow.role != Role::Receive);
    sending.filter_map(|(number, flow)| tcp_info::read(flow.connected()?, number as u32).ok()).collect()
}
