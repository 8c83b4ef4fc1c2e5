//! What one end tells about a measurement.

use meter::{interrupts::InterruptCount, usage::Usage};
use serde::{Deserialize, Serialize};

use super::network_errors::NetworkErrors;

/// Growth over one interval at the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IntervalReport {
    /// Number of the interval, from 0.
    pub index: u64,
    /// Its length, in nanoseconds.
    pub length_ns: u64,
    /// Stream payload that arrived at the server, in bytes.
    pub received_bytes: u64,
    /// The server's TCP flows at the interval's end.
    pub tcp: Vec<TcpInfo>,
}

/// What the kernel knows of one TCP connection (TCP_INFO of tcp(7); `struct tcp_info` of linux/tcp.h).
/// A figure that this kernel does not give is `null`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TcpInfo {
    /// Number of the flow.
    pub flow: u32,
    /// Smoothed round-trip time, in nanoseconds (microsecond steps).
    pub rtt_ns: Option<u64>,
    /// Mean deviation of the round-trip time, in nanoseconds.
    pub rtt_deviation_ns: Option<u64>,
    /// Shortest round-trip time seen, in nanoseconds.
    pub rtt_min_ns: Option<u64>,
    /// Segments sent again, since the connection began.
    pub retransmits: Option<u64>,
    /// Congestion window, in segments.
    pub congestion_window_segments: Option<u64>,
    /// Slow-start threshold, in segments; `null` while there is none.
    pub slow_start_threshold_segments: Option<u64>,
    /// Largest segment that is sent, in bytes.
    pub segment_bytes: Option<u64>,
    /// Path MTU, in bytes.
    pub path_mtu_bytes: Option<u64>,
    /// Bytes not acknowledged or not sent yet.
    pub unsent_bytes: Option<u64>,
    /// Latest rate at which data was delivered, in bytes/s.
    pub delivery_bytes_per_s: Option<u64>,
    /// Time in which there was something to send, in nanoseconds.
    pub busy_ns: Option<u64>,
    /// Part of it in which the receiver's window was the limit, in nanoseconds.
    pub receive_window_limited_ns: Option<u64>,
    /// Part of it in which the send buffer was the limit, in nanoseconds.
    pub send_buffer_limited_ns: Option<u64>,
}

/// What became of sends without copying.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ZerocopyCount {
    /// Sends with MSG_ZEROCOPY that the kernel has completed.
    pub completed: u64,
    /// Those of them for which it copied after all, as it does on loopback and on devices without
    /// scatter-gather.
    pub copied: u64,
}

/// What one end saw over the measured time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EndReport {
    /// Length of the measured time by this end's clock, in seconds.
    pub elapsed_s: f64,
    /// Stream payload that arrived here, in bytes; `null` where this end does not receive a stream.
    pub received_bytes: Option<u64>,
    /// Stream payload that this end handed to its kernel, in bytes; `null` where it does not send one.
    pub sent_bytes: Option<u64>,
    /// Transactions that this end took part in; `null` for a stream.
    pub transactions: Option<u64>,
    /// Threads that this end worked with.
    pub threads: u32,
    /// CPUs that they were pinned to; empty when they were not.
    pub cpus: Vec<usize>,
    /// What it cost this end.
    pub usage: Usage,
    /// Interrupts at this end.
    pub interrupts: InterruptCount,
    /// TCP connections at the end of the measured time; those that this end sends on.
    pub tcp: Vec<TcpInfo>,
    /// What became of sends without copying; `null` where there were none.
    pub zerocopy: Option<ZerocopyCount>,
    /// Errors of the network with which the work went on; `null` where one ends it (streams, and transactions
    /// over TCP connections that stay open).
    pub errors: Option<NetworkErrors>,
    /// Sessions that the server had beside this one: their cost is in `usage` and `interrupts` too.
    pub other_sessions: u32,
}

impl EndReport {
    /// Adds a later repetition of the same measurement.
    pub fn add(&mut self, later: Self) {
        self.elapsed_s += later.elapsed_s;
        add(&mut self.received_bytes, later.received_bytes);
        add(&mut self.sent_bytes, later.sent_bytes);
        add(&mut self.transactions, later.transactions);
        add_usage(&mut self.usage, &later.usage);
        add(&mut self.interrupts.count, later.interrupts.count);
        self.tcp = later.tcp;
        if let (Some(sum), Some(more)) = (&mut self.zerocopy, later.zerocopy) {
            sum.completed += more.completed;
            sum.copied += more.copied;
        }
        self.errors = self.errors.zip(later.errors).map(|(sum, more)| sum.plus(more));
        self.other_sessions = self.other_sessions.max(later.other_sessions);
    }
}

/// A sum is known only where all its parts are.
fn add(sum: &mut Option<u64>, more: Option<u64>) {
    *sum = sum.zip(more).map(|(sum, more)| sum + more);
}

fn add_usage(sum: &mut Usage, more: &Usage) {
    sum.cpu_user_ns += more.cpu_user_ns;
    sum.cpu_system_ns += more.cpu_system_ns;
    sum.context_switches_voluntary += more.context_switches_voluntary;
    sum.context_switches_involuntary += more.context_switches_involuntary;
    add(&mut sum.steal_ns, more.steal_ns);
    sum.resident_peak_bytes = sum.resident_peak_bytes.max(more.resident_peak_bytes);
}
