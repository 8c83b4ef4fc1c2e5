//! Where a worker notes its transactions: only those of the measured time, without lock or allocation.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use meter::{histogram::LatencyHistogram, relay::Giver};

/// The measured time, in nanoseconds of CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Its begin: the end of the warm-up.
    pub from_ns: u64,
    /// Its end.
    pub until_ns: u64,
}

/// Number of the current interval, counted up by the conductor and looked at by the workers.
#[derive(Debug, Default)]
pub struct Edge(AtomicU64);

impl Edge {
    /// Begins the next interval.
    pub fn pass(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// One histogram of a worker, and the way by which it goes to the conductor.
#[derive(Debug)]
pub struct Channel {
    active: Box<LatencyHistogram>,
    giver: Giver,
}

impl Channel {
    /// An empty histogram that goes through `giver`.
    #[must_use]
    pub fn new(giver: Giver) -> Self {
        Self { active: Box::new(LatencyHistogram::new()), giver }
    }

    /// What has not been given away.
    #[must_use]
    pub fn into_rest(self) -> Box<LatencyHistogram> {
        self.active
    }
}

/// Notes the transactions of one worker.
#[derive(Debug)]
pub struct Recorder<'a> {
    /// The measured time.
    pub measured: Measured,
    service: Channel,
    response: Option<Channel>,
    edge: &'a Edge,
    seen: u64,
}

impl<'a> Recorder<'a> {
    /// Notes service times, and response times where there is a `response`.
    #[must_use]
    pub fn new(service: Channel, response: Option<Channel>, edge: &'a Edge) -> Self {
        let measured = Measured { from_ns: 0, until_ns: 0 };
        Self { measured, service, response, edge, seen: 0 }
    }

    /// Notes a transaction of a closed loop, from the sending of its request to the end of its response;
    /// one that begins before the measured time or ends after it is left out.
    #[inline]
    pub fn closed(&mut self, begun_ns: u64, ended_ns: u64) {
        self.look_at_edge();
        if begun_ns >= self.measured.from_ns && ended_ns <= self.measured.until_ns {
            self.service.active.record(ended_ns - begun_ns);
        }
    }

    /// Notes a transaction of either kind of loop: a paced one keeps response times, a closed one has none.
    #[inline]
    pub fn note(&mut self, intended_ns: u64, begun_ns: u64, ended_ns: u64) {
        if self.response.is_some() {
            self.paced(intended_ns, begun_ns, ended_ns);
        } else {
            self.closed(begun_ns, ended_ns);
        }
    }

    /// Notes a transaction of a paced loop: it belongs to the measured time if it was meant to begin in it.
    #[inline]
    fn paced(&mut self, intended_ns: u64, begun_ns: u64, ended_ns: u64) {
        self.look_at_edge();
        if intended_ns >= self.measured.from_ns && intended_ns < self.measured.until_ns {
            self.service.active.record(ended_ns - begun_ns);
            if let Some(response) = &mut self.response {
                response.active.record(ended_ns.saturating_sub(intended_ns));
            }
        }
    }

    #[inline]
    fn look_at_edge(&mut self) {
        let edge = self.edge.0.load(Relaxed);
        if edge != self.seen {
            self.seen = edge;
            self.service.giver.exchange(&mut self.service.active);
            if let Some(response) = &mut self.response {
                response.giver.exchange(&mut response.active);
            }
        }
    }

    /// What has not been given to the conductor: service times, and response times where they are kept.
    #[must_use]
    pub fn into_rest(self) -> (Box<LatencyHistogram>, Option<Box<LatencyHistogram>>) {
        (self.service.into_rest(), self.response.map(Channel::into_rest))
    }
}
