//! What a server has seen.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

/// Events of a server, by kind.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Counts {
    /// Connections accepted from the kernel.
    pub connections: u64,
    /// Measurements that ended with a report.
    pub completed: u64,
    /// Sessions that ended otherwise: the client went away, idled, or broke the protocol.
    pub broken: u64,
    /// Clients refused because their token was wrong or missing.
    pub refused_token: u64,
    /// Clients refused because their order was beyond the limits, made no sense, or can't be done here.
    pub refused_order: u64,
    /// Clients refused because no session was free.
    pub refused_busy: u64,
    /// Connections closed because their peer may not connect, or is not the peer of the session named.
    pub foreign: u64,
    /// Connections that did not speak this protocol, or ended before they asked for a session.
    pub malformed: u64,
    /// Connections that took too long to say what they want.
    pub too_slow: u64,
    /// Pending connections that made room for newer ones.
    pub displaced: u64,
    /// Failures of accept(2), for want of file descriptors or memory.
    pub accept_errors: u64,
}

/// The counts, shared by the threads of a server. They change a few times per connection, never while
/// payload moves.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counts>);

impl Tally {
    /// Adds one to the counter that `choose` points at.
    pub fn count(&self, choose: impl FnOnce(&mut Counts) -> &mut u64) {
        *choose(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)) += 1;
    }

    /// The counts now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The `summary` of a server.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ServeSummary {
    /// How long it listened, in seconds.
    pub elapsed_s: f64,
    /// What happened meanwhile.
    #[serde(flatten)]
    pub counts: Counts,
}

impl fmt::Display for ServeSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.counts;
        let refused = counts.refused_token + counts.refused_order + counts.refused_busy;
        let closed = counts.foreign + counts.malformed + counts.too_slow + counts.displaced;
        write!(
            f,
            "{} measurements in {:.1} s; {} sessions broken, {refused} refused; {closed} of {} connections turned away",
            counts.completed, self.elapsed_s, counts.broken, counts.connections
        )
    }
}
