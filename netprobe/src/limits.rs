//! What a server lets its clients ask for.

use std::net::IpAddr;

use meter::{
    clock::SECOND_NS,
    idle,
    units::{self, Bytes},
};
use serde::Serialize;

use crate::protocol::order::{
    LARGEST_DATAGRAM, Order, Transport, Wait, Workload, distinguishable, tag_bytes,
};

/// Limits of a server; a client beyond them is refused with the limit's name.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Limits {
    /// Sessions at a time.
    pub sessions: u32,
    /// Connections that are not yet part of a session, at a time. Beyond it the oldest one goes.
    pub pending_connections: u32,
    /// Flows of a session, both directions together.
    pub flows: u32,
    /// Length of a session from `start`, warm-up included, in nanoseconds.
    pub duration_ns: u64,
    /// How long a client may keep a session waiting, or measure without any payload, in nanoseconds.
    pub idle_ns: u64,
    /// How long a connection may take to say what it is for, in nanoseconds.
    pub hello_ns: u64,
    /// Largest buffer of a flow, in bytes: a write, a read, a request, a response, a socket's buffer; all
    /// flows of a session together may have four times as much.
    pub buffer_bytes: u64,
    /// Whether clients may limit the idle states of this machine's CPUs while they measure.
    pub cpu_dma_latency: bool,
    /// Threads of a session that may spin; `null` for none, or any number where the client is on loopback.
    pub spin_threads: Option<u32>,
}

impl Limits {
    /// Whether `order` is within the limits and makes sense.
    ///
    /// # Errors
    /// What is wrong, and the limit.
    pub fn check(&self, order: &Order) -> Result<(), String> {
        let flows = order.all_flows();
        if flows == 0 || flows > self.flows {
            return Err(format!("{flows} flows asked for; this server allows 1 to {}", self.flows));
        }
        if order.peer_threads.is_some_and(|threads| threads == 0 || threads > self.flows) {
            return Err(format!("the server's threads must be 1 to {}", self.flows));
        }
        if order.peer_cpus.as_ref().is_some_and(|cpus| cpus.is_empty() || cpus.len() > self.flows as usize) {
            return Err(format!("the list of CPUs must have 1 to {} of them", self.flows));
        }
        if order.interval_ns.is_some_and(|interval| interval < SHORTEST_INTERVAL_NS) {
            return Err("an interval must be at least 1 ms".into());
        }
        if matches!(order.wait, Wait::Adaptive { spin_ns } if spin_ns > LONGEST_SPIN_NS) {
            return Err("a thread may spin at most 1 s before it sleeps".into());
        }
        if order.cpu_dma_latency_us.is_some_and(|limit_us| limit_us > idle::LONGEST_US) {
            return Err(format!("a limit on idle states is at most {} us", idle::LONGEST_US));
        }
        self.check_duration(order)?;
        self.check_buffers(order)?;
        self.check_pace(&order.workload)?;
        check_workload(&order.workload)
    }

    /// Whether the `threads` of a session of a client at `peer` may wait as `order` asks.
    ///
    /// # Errors
    /// What is wrong, and the limit.
    pub fn check_spinning(&self, order: &Order, peer: IpAddr, threads: usize) -> Result<(), String> {
        let allowed = match self.spin_threads {
            Some(threads) => threads as usize,
            None if peer.to_canonical().is_loopback() => usize::MAX,
            None => 0,
        };
        if order.wait == Wait::Block || threads <= allowed {
            return Ok(());
        }
        Err(format!(
            "{threads} threads of this server would spin, and {allowed} may; \
             start it with --max-spin-threads {threads}, or pass --wait block"
        ))
    }

    /// A session without payload for `idle_ns` ends: a schedule must not plan such pauses.
    fn check_pace(&self, workload: &Workload) -> Result<(), String> {
        let Workload::Transactions { pace: Some(pace), .. } = workload else { return Ok(()) };
        // A random gap is 20 times the mean once in 500 million.
        let longest = if pace.poisson { 20.0 } else { 2.0 };
        if longest / pace.rate.per_second() * 1e9 <= self.idle_ns as f64 {
            return Ok(());
        }
        let (rate, idle) = (pace.rate, units::duration(self.idle_ns as f64));
        Err(format!(
            "a rate of {rate} leaves pauses for which this server ends a session: start it with a longer --max-idle than {idle}"
        ))
    }

    fn check_duration(&self, order: &Order) -> Result<(), String> {
        let length_ns = order.warmup_ns.saturating_add(order.duration_ns);
        if order.duration_ns > 0 && length_ns <= self.duration_ns {
            return Ok(());
        }
        let longest = units::duration(self.duration_ns as f64);
        Err(format!("a session must be longer than 0 and not longer than {longest}, warm-up included"))
    }

    fn check_buffers(&self, order: &Order) -> Result<(), String> {
        let (one, other) = match order.workload {
            Workload::Stream { write_bytes, read_bytes, .. } => (write_bytes, read_bytes),
            Workload::Transactions { request_bytes, response_bytes, .. }
            | Workload::Connections { request_bytes, response_bytes } => (request_bytes, response_bytes),
        };
        let socket = &order.socket;
        let of_socket = [socket.send_buffer_bytes, socket.receive_buffer_bytes].into_iter().flatten();
        let allowed = 1..=self.buffer_bytes;
        // Every thread has buffers of its own: all together must stay in bounds, not only each.
        let all = (one.saturating_add(other)).saturating_mul(order.all_flows().into());
        let in_bounds = [one, other].into_iter().chain(of_socket).all(|bytes| allowed.contains(&bytes));
        if in_bounds && all <= self.buffer_bytes.saturating_mul(4) {
            return Ok(());
        }
        let (each, together) = (Bytes(self.buffer_bytes), Bytes(self.buffer_bytes.saturating_mul(4)));
        Err(format!(
            "sizes must be from 1 byte to {each} on this server, and {together} for all flows together"
        ))
    }
}

/// What the kind of workload asks for by itself.
fn check_workload(workload: &Workload) -> Result<(), String> {
    let Workload::Transactions { transport, request_bytes, response_bytes, outstanding, .. } = *workload
    else {
        return Ok(());
    };
    if outstanding == 0 || outstanding > MOST_OUTSTANDING {
        return Err(format!("requests outstanding must be 1 to {MOST_OUTSTANDING}"));
    }
    if transport == Transport::Tcp {
        return Ok(());
    }
    if request_bytes.max(response_bytes) > LARGEST_DATAGRAM {
        return Err(format!("a datagram has at most {LARGEST_DATAGRAM} bytes"));
    }
    let most = distinguishable(tag_bytes(request_bytes, response_bytes));
    if outstanding > most {
        return Err(format!(
            "datagrams so short can tell only {most} outstanding requests apart; take longer ones"
        ));
    }
    Ok(())
}

/// Most requests of one flow under way.
pub const MOST_OUTSTANDING: u32 = 1 << 16;

/// Longest spin before a sleep: the stop flag is not looked at meanwhile.
const LONGEST_SPIN_NS: u64 = SECOND_NS;

/// Shortest interval between two reports: a thousand a second is what a control connection can bear.
const SHORTEST_INTERVAL_NS: u64 = 1_000_000;

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 16,
            pending_connections: 512,
            flows: 128,
            duration_ns: 3_600 * SECOND_NS,
            idle_ns: 30 * SECOND_NS,
            hello_ns: 5 * SECOND_NS,
            buffer_bytes: 64 << 20,
            cpu_dma_latency: false,
            spin_threads: None,
        }
    }
}
