//! From `ready` to the report: the client's conductor.

use meter::{
    Error, Result, clock, crew::Gate, histogram::HistogramLog, interrupts::Sources, session::Session,
};

use super::{
    connect::Server,
    intervals::{Intervals, OwnInterval},
};
use crate::{
    config::ProbeConfig,
    interface,
    protocol::{
        message::{Reply, Request},
        order::{Direction, Workload},
        report::EndReport,
    },
    workload::{
        Latencies, Takers, Work,
        flow::{self, tcp_info_of},
        window::{Moved, Window},
    },
};

/// Longest wait without a look at the stop flag, in nanoseconds.
const TICK_NS: u64 = 50_000_000;

/// Longest wait for the workers' histograms at the end of an interval, in nanoseconds. One that comes later
/// counts for the next interval.
const COLLECT_NS: u64 = 5_000_000;

/// Time after the measured one for the responses of a paced loop that are still on their way, in nanoseconds.
const GRACE_NS: u64 = 100_000_000;

/// What a measurement gave.
pub struct Measured {
    /// What this end saw.
    pub own: EndReport,
    /// What moved here.
    pub moved: Moved,
    /// What the server saw, if it lived to tell.
    pub peer: Option<EndReport>,
    /// Why it ended early, if it did not by order.
    pub failure: Option<Error>,
}

/// Leads one measurement.
pub struct Conductor<'a, 'w, 's, 't> {
    /// What is measured.
    pub config: &'a ProbeConfig,
    /// What the workers share.
    pub work: &'a Work<'w>,
    /// The other end.
    pub server: &'a mut Server,
    /// Where records go.
    pub session: &'a mut Session<'s>,
    /// Where the workers' histograms come from.
    pub takers: &'a mut Takers,
    /// Latencies that the workers have given so far.
    pub latencies: &'a mut Latencies,
    /// The interval log, where one is written.
    pub log: Option<&'a mut HistogramLog>,
    /// Offset of this measurement from the first one of all repetitions, for the log, in nanoseconds.
    pub offset_ns: u64,
    /// Intervals of both ends.
    pub intervals: &'t mut Intervals,
}

impl Conductor<'_, '_, '_, '_> {
    /// Starts both ends, gives the samples, stops both ends. `first` is the first of several repetitions:
    /// it waits for the controller.
    ///
    /// # Errors
    /// When records can't be written or /proc can't be read. What the server does wrong is kept in
    /// [`Measured::failure`], beside what was seen.
    pub fn conduct(mut self, gate: &Gate, first: bool) -> Result<Measured> {
        let sources = interface::interrupt_sources(self.server.local().map(|address| address.ip()));
        let mut failure = None;
        if !first || self.session.ready()? {
            failure = self.start(gate).err();
        }
        if failure.is_some() || self.session.stop().is_raised() {
            self.work.stop.raise();
            gate.open(clock::now_ns());
        }
        let (own, moved) = self.measure(sources, &mut failure)?;
        flow::finish(self.work.flows, self.work.stop);
        let peer = if failure.is_none() { self.ask_for_report(&mut failure) } else { None };
        self.tell_intervals()?;
        Ok(Measured { own, moved, peer, failure })
    }

    /// Lets the server begin, then this end; a receiver's time begins when the sender does.
    fn start(&mut self, gate: &Gate) -> Result<()> {
        self.server.send(&Request::Start)?;
        let receives_only =
            matches!(self.work.order.workload, Workload::Stream { direction: Direction::Receive, .. });
        if !receives_only {
            gate.open(clock::now_ns());
        }
        let Reply::Started = self.server.answer()? else { return Err(self.server.out_of_turn()) };
        if receives_only {
            gate.open(clock::now_ns());
        }
        Ok(())
    }

    fn measure(&mut self, sources: Sources, failure: &mut Option<Error>) -> Result<(EndReport, Moved)> {
        let order = self.work.order;
        self.wait_until(clock::now_ns().saturating_add(order.warmup_ns), failure);
        let window = Window::open(self.work.flows, self.work.placements, sources)?;
        let until_ns = window.opened_ns().saturating_add(order.duration_ns);
        if let Some(interval_ns) = order.interval_ns {
            self.sample(window.opened_ns(), until_ns, interval_ns, failure)?;
        }
        self.wait_until(until_ns, failure);
        let (own, moved) = window.close(self.work.flows, order)?;
        if !order.is_closed_loop() {
            self.wait_until(clock::now_ns() + GRACE_NS, failure);
        }
        Ok((own, moved))
    }

    /// Gives a sample per interval until the measured time is over.
    fn sample(
        &mut self,
        opened_ns: u64,
        until_ns: u64,
        interval_ns: u64,
        failure: &mut Option<Error>,
    ) -> Result<()> {
        let (mut before, mut edge_ns) = (Moved::of(self.work.flows), opened_ns);
        for index in 1.. {
            let next_ns = opened_ns.saturating_add(interval_ns.saturating_mul(index));
            self.wait_until(next_ns.min(until_ns), failure);
            if next_ns > until_ns || self.is_over() {
                break;
            }
            let (moved, now_ns) = (Moved::of(self.work.flows), clock::now_ns());
            let own = OwnInterval {
                offset_ns: edge_ns - opened_ns,
                length_ns: now_ns - edge_ns,
                moved: moved.since(before),
                tcp: tcp_info_of(self.work.flows, self.work.order),
                latencies: self.collect(edge_ns - opened_ns, now_ns - edge_ns)?,
            };
            (before, edge_ns) = (moved, now_ns);
            self.intervals.push_own(own);
            self.tell_intervals()?;
        }
        self.tell_intervals()
    }

    /// The workers' latencies of the interval that ends now; `None` for streams.
    fn collect(&mut self, offset_ns: u64, length_ns: u64) -> Result<Option<Latencies>> {
        if matches!(self.work.order.workload, Workload::Stream { .. }) {
            return Ok(None);
        }
        self.work.edge.pass();
        let mut latencies = Latencies::new();
        let (mut given, deadline_ns) = (0, clock::now_ns() + COLLECT_NS);
        while given < self.work.placements.len() && clock::now_ns() < deadline_ns {
            given += self.takers.collect(&mut latencies);
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
        self.latencies.merge(&latencies);
        if let Some(log) = self.log.as_mut() {
            write_log(log, self.offset_ns + offset_ns, length_ns, &latencies)?;
        }
        Ok(Some(latencies))
    }

    fn tell_intervals(&mut self) -> Result<()> {
        self.intervals.tell(&self.work.order.workload, &self.config.percentiles, self.session)
    }

    /// Whether there is a reason to end before the time.
    fn is_over(&self) -> bool {
        self.session.stop().is_raised() || self.work.early.is_raised() || self.work.stop.is_raised()
    }

    /// Listens to the server until `deadline_ns`, or until there is a reason to end.
    fn wait_until(&mut self, deadline_ns: u64, failure: &mut Option<Error>) {
        while !self.is_over() && failure.is_none() {
            let now_ns = clock::now_ns();
            if now_ns >= deadline_ns {
                return;
            }
            match self.server.receive(deadline_ns.min(now_ns + TICK_NS)) {
                Ok(None) => {}
                Ok(Some(Reply::Interval(interval))) => self.intervals.push_theirs(interval),
                Ok(Some(_)) => *failure = Some(self.server.out_of_turn()),
                Err(error) => *failure = Some(error),
            }
        }
    }

    fn ask_for_report(&mut self, failure: &mut Option<Error>) -> Option<EndReport> {
        let Self { server, intervals, .. } = self;
        server
            .send(&Request::Stop)
            .and_then(|()| server.report(|interval| intervals.push_theirs(interval)))
            .map_err(|error| *failure = Some(error))
            .ok()
    }
}

/// Appends one interval of latencies to the log; response times only where there are some.
///
/// # Errors
/// When the file can't be written.
pub fn write_log(
    log: &mut HistogramLog,
    offset_ns: u64,
    length_ns: u64,
    latencies: &Latencies,
) -> Result<()> {
    log.append("service_time", offset_ns, length_ns, &latencies.service)?;
    if latencies.response.count() > 0 {
        log.append("response_time", offset_ns, length_ns, &latencies.response)?;
    }
    Ok(())
}
