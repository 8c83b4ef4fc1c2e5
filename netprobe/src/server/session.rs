//! One session: what a client that has been let in may have done.

use std::{io, net::IpAddr, sync::Arc};

use meter::{
    Error, ErrorKind, Result, clock,
    control::Stop,
    cpulist::CpuList,
    crew::Gate,
    idle::IdleLimit,
    placement::Placement,
    runtime::{Interval, Intervals},
    units,
};

use super::{
    gather::{Client, Gathering},
    roster::Place,
    tally::Tally,
};
use crate::{
    config::ServeConfig,
    interface,
    options::LocalOptions,
    protocol::{
        channel::Channel,
        hello::Cookie,
        message::{Refusal, Reply, Request},
        order::Order,
        report::{EndReport, IntervalReport},
    },
    sys,
    workload::{
        self, Recorders, Work,
        flow::{self, Flow},
        window::{Moved, Window},
    },
};

/// Shortest time between two looks at a client's activity, in nanoseconds.
const LEAST_LOOK_NS: u64 = 20_000_000;

/// What a client last moved.
#[derive(Default)]
struct Activity {
    /// Payload and transactions so far.
    bytes: u64,
    /// Since when it is no more, in nanoseconds of CLOCK_MONOTONIC.
    since_ns: u64,
}

/// A session of a server.
pub struct Session {
    config: ServeConfig,
    channel: Channel,
    place: Place,
    stop: Stop,
    tally: Arc<Tally>,
    activity: Activity,
}

impl Session {
    /// A session over `channel`, which holds `place` in the roster.
    #[must_use]
    pub fn new(config: ServeConfig, channel: Channel, place: Place, stop: Stop, tally: Arc<Tally>) -> Self {
        Self { config, channel, place, stop, tally, activity: Activity::default() }
    }

    /// Does what `order` says, and then every further order of the same client.
    pub fn serve(mut self, order: Order) {
        let mut next = Some(order);
        while let Some(order) = next {
            next = match self.measure(&order) {
                Ok(()) => {
                    self.tally.count(|counts| &mut counts.completed);
                    self.next_order()
                }
                Err(error) => {
                    self.give_up(&error);
                    None
                }
            };
        }
    }

    fn next_order(&mut self) -> Option<Order> {
        match self.receive(clock::now_ns().saturating_add(self.config.limits.idle_ns)) {
            Ok(Some(Request::Open(order))) => Some(order),
            _ => None,
        }
    }

    /// Tells the client why, if it still listens.
    fn give_up(&mut self, error: &Error) {
        let because = match error.kind() {
            ErrorKind::BadArguments => Refusal::Order,
            ErrorKind::Unavailable => Refusal::Unavailable,
            ErrorKind::Failed => Refusal::Failed,
        };
        let refused = because == Refusal::Order || because == Refusal::Unavailable;
        self.tally.count(|counts| if refused { &mut counts.refused_order } else { &mut counts.broken });
        let _ = self.channel.send(&Reply::Refused { because, reason: error.full_text() });
    }

    fn measure(&mut self, order: &Order) -> Result<()> {
        self.config.limits.check(order).map_err(Error::bad_arguments)?;
        let placements = self.placements(order)?;
        let peer =
            self.channel.peer().map_err(|error| Error::system("tell the client's address", error))?.ip();
        self.config.limits.check_spinning(order, peer, placements.len()).map_err(Error::bad_arguments)?;
        let _idle_limit = self.idle_limit(order)?;
        let flows = self.gather(order, peer)?;
        let (stop, early) = (Stop::new(), Stop::new());
        let local = LocalOptions::default();
        let work = Work {
            order,
            flows: &flows,
            placements: &placements,
            peer,
            local: &local,
            stop: &stop,
            early: &early,
        };
        let (_, report) = workload::run(&work, &Recorders::new(Vec::new()), |gate| {
            let report = self.conduct(&work, gate);
            flow::finish(&flows, &stop);
            report
        })?;
        self.send(&Reply::Report(Box::new(report)))
    }

    /// Where the threads of a session run: as the client asks, else as the server was told.
    fn placements(&self, order: &Order) -> Result<Vec<Placement>> {
        let own = &self.config.placements;
        let flows = order.all_flows();
        let Some(asked) = &order.peer_cpus else {
            return Ok(workload::placements(own, order.peer_threads, flows));
        };
        CpuList::new(asked.iter().copied()).check_allowed()?;
        let own_cpus: Vec<usize> = own.iter().filter_map(|placement| placement.cpu).collect();
        if let Some(other) = asked.iter().find(|cpu| !own_cpus.is_empty() && !own_cpus.contains(cpu)) {
            let told = format!("CPU {other} is not one of those that this server was given");
            return Err(Error::unavailable(told));
        }
        let policy = own.first().map(|placement| placement.policy).unwrap_or_default();
        let pinned: Vec<Placement> = asked.iter().map(|&cpu| Placement { cpu: Some(cpu), policy }).collect();
        Ok(workload::placements(&pinned, None, flows))
    }

    /// Limits idle states as the client asks, where this server's user lets clients do so.
    fn idle_limit(&self, order: &Order) -> Result<Option<IdleLimit>> {
        let Some(limit_us) = order.cpu_dma_latency_us else { return Ok(None) };
        if !self.config.limits.cpu_dma_latency {
            return Err(Error::unavailable(
                "clients may not limit idle states here; start the server with --allow-cpu-dma-latency",
            ));
        }
        IdleLimit::hold(limit_us).map(Some)
    }

    /// Gives the client its cookie and waits until all its flows are here.
    fn gather(&mut self, order: &Order, peer: IpAddr) -> Result<Vec<Flow>> {
        let mut cookie = Cookie::default();
        sys::getrandom(&mut cookie).map_err(|error| Error::system("make a cookie", error))?;
        let local = self.channel.local().map_err(|error| Error::system("tell this end's address", error))?;
        let client = Client { peer, local, cookie };
        let mut gathering = Gathering::new(order, client, &self.place)?;
        let cookie = cookie.iter().map(|byte| format!("{byte:02x}")).collect();
        self.send(&Reply::Opened { cookie, ports: gathering.ports() })?;
        let deadline_ns = clock::now_ns().saturating_add(self.config.limits.idle_ns);
        while gathering.wait(client)? > 0 {
            if clock::now_ns() > deadline_ns {
                return Err(Error::failed("not all flows came in time"));
            }
            // A client that says anything now, or goes away, is not following the protocol.
            if self.receive(0)?.is_some() {
                return Err(Error::bad_arguments("out of turn: the flows must come first"));
            }
        }
        self.place.expect_no_more();
        gathering.finish(order)
    }

    /// From `ready` to the end of the measured time.
    fn conduct(&mut self, work: &Work<'_>, gate: &Gate) -> Result<EndReport> {
        let Work { order, flows, .. } = *work;
        self.send(&Reply::Ready)?;
        let idle_ns = self.config.limits.idle_ns;
        match self.receive(clock::now_ns().saturating_add(idle_ns))? {
            Some(Request::Start) => {}
            Some(Request::Stop) => work.stop.raise(),
            Some(_) => return Err(Error::bad_arguments("out of turn: `start` must come now")),
            None => return Err(Error::failed("the client did not start in time")),
        }
        let sources = interface::interrupt_sources(self.channel.local().ok().map(|address| address.ip()));
        let start_ns = clock::now_ns();
        gate.open(start_ns);
        let mut stopped = work.stop.is_raised();
        self.activity = Activity { bytes: 0, since_ns: start_ns };
        if !stopped {
            self.send(&Reply::Started)?;
            stopped = self.wait_while_active(flows, start_ns + order.warmup_ns)?;
        }
        let window = Window::open(flows, work.placements, sources, None)?;
        let until_ns = window.opened_ns().saturating_add(order.duration_ns);
        let mut intervals = Intervals::new(window.opened_ns(), order.interval_ns, until_ns);
        let mut before = window.before();
        if !stopped {
            stopped = self.watch(work, &window, &mut intervals, &mut before, until_ns)?;
        }
        let opened = window.before();
        let (mut report, moved, closed_ns) = window.close(flows, order)?;
        if order.interval_ns.is_some() {
            let last = opened.plus(moved).since(before).received_bytes;
            self.tell_interval(work, &intervals.finish(closed_ns), last)?;
        }
        report.other_sessions = self.place.others();
        // The client decides when the work ends: until then its flows must not break.
        if !stopped && !self.wait_until(clock::now_ns().saturating_add(idle_ns))? {
            return Err(Error::failed("the client did not stop in time"));
        }
        Ok(report)
    }

    /// Reports the intervals until the last one begins, and waits for its end; says whether the client stopped
    /// earlier. `before` is what had moved when the present one began.
    fn watch(
        &mut self,
        work: &Work<'_>,
        window: &Window,
        intervals: &mut Intervals,
        before: &mut Moved,
        until_ns: u64,
    ) -> Result<bool> {
        while let Some(edge_ns) = intervals.next_edge_ns() {
            if self.wait_while_active(work.flows, edge_ns)? {
                return Ok(true);
            }
            let (moved, now_ns) = window.look(work.flows);
            let received_bytes = moved.since(*before).received_bytes;
            *before = moved;
            self.tell_interval(work, &intervals.end(now_ns), received_bytes)?;
        }
        self.wait_while_active(work.flows, until_ns)
    }

    /// Waits until `deadline_ns`; says whether the client stopped before. Wakes up a few times in the time that
    /// a client may be idle, no more often: every wake-up disturbs the measurement.
    ///
    /// # Errors
    /// When the client moved no payload for too long: it may be stopped, and its kernel alone keeps the
    /// connections.
    fn wait_while_active(&mut self, flows: &[Flow], deadline_ns: u64) -> Result<bool> {
        let idle_ns = self.config.limits.idle_ns;
        loop {
            let now_ns = clock::now_ns();
            let moved = Moved::of(flows);
            let bytes = moved.sent_bytes + moved.received_bytes + moved.transactions;
            if bytes != self.activity.bytes {
                self.activity = Activity { bytes, since_ns: now_ns };
            } else if now_ns.saturating_sub(self.activity.since_ns) > idle_ns {
                let idle = units::duration(idle_ns as f64);
                return Err(Error::failed(format!("the client moved nothing for {idle}")));
            }
            let look_ns = now_ns.saturating_add((idle_ns / 4).max(LEAST_LOOK_NS)).min(deadline_ns);
            if self.wait_until(look_ns)? {
                return Ok(true);
            }
            if look_ns == deadline_ns {
                return Ok(false);
            }
        }
    }

    fn tell_interval(&mut self, work: &Work<'_>, interval: &Interval, received_bytes: u64) -> Result<()> {
        let tcp = flow::tcp_info_of(work.flows, work.order);
        let (index, length_ns) = (interval.index, interval.elapsed_ns());
        self.send(&Reply::Interval(IntervalReport { index, length_ns, received_bytes, tcp }))
    }

    /// Waits until `deadline_ns`; says whether the client stopped before.
    fn wait_until(&mut self, deadline_ns: u64) -> Result<bool> {
        match self.receive(deadline_ns)? {
            None => Ok(false),
            Some(Request::Stop) => Ok(true),
            Some(_) => Err(Error::bad_arguments("out of turn: only `stop` can come now")),
        }
    }

    /// The next request, if one comes before the deadline. Sleeps all the while, for every wake-up would
    /// disturb the measurement: the server ends the wait by shutting the connection down for reading.
    fn receive(&mut self, deadline_ns: u64) -> Result<Option<Request>> {
        self.channel.receive(deadline_ns).map_err(|error| match error.kind() {
            _ if self.stop.is_raised() => Error::failed("the server was stopped"),
            io::ErrorKind::UnexpectedEof => Error::failed("the client went away"),
            _ => Error::failed("the client broke the protocol").with_source(error),
        })
    }

    fn send(&mut self, reply: &Reply) -> Result<()> {
        self.channel.send(reply).map_err(|error| Error::system("write to the client", error))
    }
}
