//! From `ready` to the report: the client's conductor.

use meter::{
    Error, Result, clock,
    crew::Gate,
    histogram::HistogramLog,
    interrupts::Sources,
    runtime::{self, Collector, Interval},
    session::Session,
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
        Latencies, Work,
        flow::{self, tcp_info_of},
        recorder::Measured as Span,
        window::{Moved, Window},
    },
};

/// Longest wait without a look at the stop flag, in nanoseconds.
const TICK_NS: u64 = 50_000_000;

/// Longest wait for the workers' histograms at an edge, in nanoseconds, where a quarter of the interval is not
/// less. One that comes later counts for the next interval.
const COLLECT_NS: u64 = 200_000_000;

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
    /// The time after the last edge, and what moved here in it; its latencies are known when the workers have ended.
    pub last: (Interval, OwnInterval),
}

/// Leads one measurement. It uses the measurement runtime's intervals and recorders, not its loop: the server has
/// its part in the start and the end, and it must be listened to all the time.
pub struct Conductor<'a, 'w, 's, 't> {
    /// What is measured.
    pub config: &'a ProbeConfig,
    /// What the workers share.
    pub work: &'a Work<'w>,
    /// The other end.
    pub server: &'a mut Server,
    /// Where records go.
    pub session: &'a mut Session<'s>,
    /// Where the workers' latencies come from.
    pub collector: &'a mut Collector<Latencies>,
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
        let (mut failure, mut start_ns) = (None, clock::now_ns());
        if !first || self.session.ready()? {
            match self.start(gate) {
                Ok(gate_ns) => start_ns = gate_ns,
                Err(error) => failure = Some(error),
            }
        }
        if failure.is_some() || self.session.stop().is_raised() {
            self.work.stop.raise();
            start_ns = clock::now_ns();
            gate.open(start_ns);
        }
        let (own, moved, last) = self.measure(start_ns, sources, &mut failure)?;
        flow::finish(self.work.flows, self.work.stop);
        let peer = if failure.is_none() { self.ask_for_report(&mut failure) } else { None };
        self.tell_intervals()?;
        Ok(Measured { own, moved, peer, failure, last })
    }

    /// Lets the server begin, then this end; a receiver's time begins when the sender does. Gives that time.
    fn start(&mut self, gate: &Gate) -> Result<u64> {
        self.server.send(&Request::Start)?;
        let receives_only =
            matches!(self.work.order.workload, Workload::Stream { direction: Direction::Receive, .. });
        let mut start_ns = clock::now_ns();
        if !receives_only {
            gate.open(start_ns);
        }
        let Reply::Started = self.server.answer()? else { return Err(self.server.out_of_turn()) };
        if receives_only {
            start_ns = clock::now_ns();
            gate.open(start_ns);
        }
        Ok(start_ns)
    }

    fn measure(
        &mut self,
        start_ns: u64,
        sources: Sources,
        failure: &mut Option<Error>,
    ) -> Result<(EndReport, Moved, (Interval, OwnInterval))> {
        let order = self.work.order;
        let from_ns = start_ns.saturating_add(order.warmup_ns);
        self.wait_until(from_ns, failure);
        // The workers note transactions of exactly this time; a stream is measured from one look to the next.
        let span = Span { from_ns, until_ns: from_ns.saturating_add(order.duration_ns) };
        let span = Some(span).filter(|_| !matches!(order.workload, Workload::Stream { .. }));
        let window = Window::open(self.work.flows, self.work.placements, sources, span)?;
        let until_ns = window.opened_ns().saturating_add(order.duration_ns);
        let mut intervals = runtime::Intervals::new(window.opened_ns(), order.interval_ns, until_ns);
        let before = self.sample(&window, &mut intervals, until_ns, failure)?;
        self.wait_until(until_ns, failure);
        let opened = window.before();
        let (own, moved, closed_ns) = window.close(self.work.flows, order)?;
        let interval = intervals.finish(closed_ns);
        let tcp = tcp_info_of(self.work.flows, order);
        let last = OwnInterval::new(&interval, opened.plus(moved).since(before), tcp);
        if !order.is_closed_loop() {
            self.wait_until(clock::now_ns() + GRACE_NS, failure);
        }
        Ok((own, moved, (interval, last)))
    }

    /// Gives a sample per interval until the last one begins; gives what had moved then.
    fn sample(
        &mut self,
        window: &Window,
        intervals: &mut runtime::Intervals,
        until_ns: u64,
        failure: &mut Option<Error>,
    ) -> Result<Moved> {
        let mut before = window.before();
        while let Some(edge_ns) = intervals.next_edge_ns() {
            self.wait_until(edge_ns, failure);
            self.wait_for_workers();
            let (moved, now_ns) = window.look(self.work.flows);
            if now_ns < edge_ns || now_ns >= until_ns || self.is_over() {
                break;
            }
            let interval = intervals.end(now_ns);
            let tcp = tcp_info_of(self.work.flows, self.work.order);
            let mut own = OwnInterval::new(&interval, moved.since(before), tcp);
            own.latencies = self.collect(&interval)?;
            before = moved;
            self.intervals.push_own(own);
            self.tell_intervals()?;
        }
        Ok(before)
    }

    /// The workers' latencies of the interval that ends now; `None` for streams.
    fn collect(&mut self, interval: &Interval) -> Result<Option<Latencies>> {
        if matches!(self.work.order.workload, Workload::Stream { .. }) {
            return Ok(None);
        }
        let mut latencies = Latencies::new();
        latencies.merge(self.collector.collect(interval, [])?);
        if let Some(log) = self.log.as_mut() {
            let offset_ns = self.offset_ns + (interval.from_ns - interval.zero_ns);
            write_log(log, offset_ns, interval.elapsed_ns(), &latencies)?;
        }
        Ok(Some(latencies))
    }

    /// Gives workers that have not handed over at the edge a little more time: one that waits for a response does so
    /// with the response.
    fn wait_for_workers(&self) {
        let interval_ns = self.work.order.interval_ns.unwrap_or(0);
        let deadline_ns = clock::now_ns() + COLLECT_NS.min(interval_ns / 4);
        while self.collector.is_waiting() && clock::now_ns() < deadline_ns && !self.is_over() {
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
    }

    fn tell_intervals(&mut self) -> Result<()> {
        self.intervals.tell(self.work.order, &self.config.percentiles, self.session)
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
