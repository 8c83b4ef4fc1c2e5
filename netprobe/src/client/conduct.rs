//! From `ready` to the report: the client's conductor.

use std::collections::VecDeque;

use meter::{Error, Result, clock, control::Stop, crew::Gate, interrupts::Sources, session::Session};

use super::{Measured, connect::Server};
use crate::{
    config::ProbeConfig,
    interface,
    protocol::message::{Direction, IntervalReport, Reply, Request, Workload},
    record::StreamSample,
    workload::{
        self, Flow,
        window::{Moved, Window},
    },
};

/// Longest wait without a look at the stop flag, in nanoseconds.
const TICK_NS: u64 = 20_000_000;

/// Leads one measurement.
pub struct Conductor<'a> {
    config: &'a ProbeConfig,
    flows: &'a [Flow],
    server: &'a mut Server,
    finish: &'a Stop,
    early: &'a Stop,
    stop: Stop,
    failure: Option<Error>,
    intervals: Intervals,
}

impl<'a> Conductor<'a> {
    /// A conductor for `flows`; `finish` ends the workers, `early` says that one ended by itself.
    pub fn new(
        config: &'a ProbeConfig,
        flows: &'a [Flow],
        server: &'a mut Server,
        finish: &'a Stop,
        early: &'a Stop,
    ) -> Self {
        let intervals = Intervals::default();
        Self { config, flows, server, finish, early, stop: Stop::new(), failure: None, intervals }
    }

    /// Starts both ends, gives the samples, stops both ends.
    ///
    /// # Errors
    /// When records can't be written or /proc can't be read. What the server does wrong is kept in
    /// [`Measured::failure`], beside what was seen.
    pub fn conduct(&mut self, gate: &Gate, session: &mut Session<'_>) -> Result<Measured> {
        self.stop = session.stop();
        let sources = interface::interrupt_sources(self.server.local().map(|address| address.ip()));
        if session.ready()? {
            self.start(gate);
        } else {
            self.finish.raise();
            gate.open(clock::now_ns());
        }
        let own = self.measure(sources, session)?;
        workload::finish(self.flows, self.finish);
        let peer = match self.failure {
            None => self.ask_for_report(),
            Some(_) => None,
        };
        Ok(Measured { own, peer, failure: self.failure.take() })
    }

    /// Lets the server begin, then this end: the receiving end's time begins when the sender does.
    fn start(&mut self, gate: &Gate) {
        let started = self.server.send(&Request::Start);
        if self.sends() && started.is_ok() {
            gate.open(clock::now_ns());
        }
        let outcome = started.and_then(|()| match self.server.answer()? {
            Reply::Started => Ok(()),
            _ => Err(self.server.out_of_turn()),
        });
        if let Err(error) = outcome {
            self.failure = Some(error);
            self.finish.raise();
        }
        if !self.sends() {
            gate.open(clock::now_ns());
        }
    }

    fn sends(&self) -> bool {
        !matches!(self.config.order.workload, Workload::Stream { direction: Direction::Receive, .. })
    }

    fn measure(
        &mut self,
        sources: Sources,
        session: &mut Session<'_>,
    ) -> Result<crate::protocol::message::EndReport> {
        let order = &self.config.order;
        self.wait_until(clock::now_ns() + order.warmup_ns);
        let window = Window::open(self.flows, &self.config.cpus, sources)?;
        let until_ns = window.opened_ns() + order.duration_ns;
        match order.interval_ns {
            Some(interval_ns) if matches!(order.workload, Workload::Stream { .. }) => {
                self.sample(window.opened_ns(), until_ns, interval_ns, session)?;
            }
            _ => self.wait_until(until_ns),
        }
        window.close(self.flows, &self.config.cpus, self.flows.len())
    }

    /// Gives a sample per interval until the measured time is over.
    fn sample(
        &mut self,
        opened_ns: u64,
        until_ns: u64,
        interval_ns: u64,
        session: &mut Session<'_>,
    ) -> Result<()> {
        let (mut before, mut edge_ns) = (Moved::of(self.flows), opened_ns);
        for index in 1.. {
            let next_ns = opened_ns + index * interval_ns;
            if next_ns > until_ns || self.is_over() {
                break;
            }
            self.wait_until(next_ns);
            let (moved, now_ns) = (Moved::of(self.flows), clock::now_ns());
            let length_ns = now_ns - edge_ns;
            self.intervals.own.push_back((edge_ns - opened_ns, length_ns, moved.since(before)));
            (before, edge_ns) = (moved, now_ns);
            self.tell_intervals(session)?;
        }
        self.wait_until(until_ns);
        self.tell_intervals(session)
    }

    fn tell_intervals(&mut self, session: &mut Session<'_>) -> Result<()> {
        while let Some(sample) = self.intervals.next(self.sends()) {
            session.sample(&sample)?;
        }
        Ok(())
    }

    /// Whether there is a reason to end before the time.
    fn is_over(&self) -> bool {
        self.stop.is_raised() || self.early.is_raised() || self.finish.is_raised()
    }

    /// Listens to the server until `deadline_ns`, or until there is a reason to end.
    fn wait_until(&mut self, deadline_ns: u64) {
        while !self.is_over() {
            let now_ns = clock::now_ns();
            if now_ns >= deadline_ns {
                return;
            }
            match self.server.receive(deadline_ns.min(now_ns + TICK_NS)) {
                Ok(None) => {}
                Ok(Some(Reply::Interval(interval))) => self.intervals.theirs.push_back(interval),
                Ok(Some(_)) => self.fail(self.server.out_of_turn()),
                Err(error) => self.fail(error),
            }
        }
    }

    fn fail(&mut self, error: Error) {
        self.failure = Some(error);
        self.finish.raise();
    }

    fn ask_for_report(&mut self) -> Option<crate::protocol::message::EndReport> {
        match self.server.send(&Request::Stop).and_then(|()| self.server.report()) {
            Ok(report) => Some(report),
            Err(error) => {
                self.failure = Some(error);
                None
            }
        }
    }
}

/// Intervals of both ends that wait for each other.
#[derive(Default)]
struct Intervals {
    /// Offset and length in nanoseconds, and what moved.
    own: VecDeque<(u64, u64, Moved)>,
    theirs: VecDeque<IntervalReport>,
}

impl Intervals {
    /// The next sample for which everything is known: the server's part as well, where it receives.
    fn next(&mut self, server_receives: bool) -> Option<StreamSample> {
        if server_receives && self.theirs.is_empty() {
            return None;
        }
        let (offset_ns, own_length_ns, moved) = self.own.pop_front()?;
        let theirs = self.theirs.pop_front();
        let their_bytes = theirs.as_ref().map_or(0, |theirs| theirs.received_bytes);
        let length_ns = match &theirs {
            Some(theirs) if server_receives => theirs.length_ns,
            _ => own_length_ns,
        };
        let received_bytes = moved.received_bytes + their_bytes;
        let length_s = length_ns as f64 / 1e9;
        Some(StreamSample {
            offset_s: offset_ns as f64 / 1e9,
            length_s,
            received_bytes,
            goodput_bps: received_bytes as f64 * 8.0 / length_s,
        })
    }
}
