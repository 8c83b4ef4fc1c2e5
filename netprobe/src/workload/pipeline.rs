//! Requests on several flows, several under way, or at intended times: whatever is more than one
//! request after the other.

use std::{
    io::{self, Read, Write},
    os::fd::AsFd,
};

use meter::{clock, control::Stop, pacer::Schedule};
use socket2::Socket;

use super::{
    ask::LOST_AFTER_NS,
    flow::Flow,
    in_flight::{InFlight, Sent},
    recorder::Recorder,
    transfer::again,
    waiting,
};
use crate::{
    protocol::order::Wait,
    sys::{READABLE, WRITABLE, Waiting},
};

/// Longest sleep, in nanoseconds, before the stop flag is looked at again.
const TICK_NS: u64 = 20_000_000;

/// Most that is read from one connection at a time, in bytes, where responses are shorter.
const READ_BYTES: usize = 16 << 10;

/// Slots for requests over UDP, at least: lost ones keep theirs until they are given up.
const WINDOW: usize = 1024;

/// What each request and response is.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Bytes of a request.
    pub request_bytes: usize,
    /// Bytes of a response.
    pub response_bytes: usize,
    /// Bytes of a datagram that number it; `None` over TCP.
    pub tag: Option<usize>,
    /// Most requests of a flow under way.
    pub outstanding: u32,
}

/// When requests are sent.
#[derive(Debug)]
pub enum Timing {
    /// As soon as one fewer is under way than there may be.
    Closed,
    /// At the schedule's times, counted from the start.
    Paced {
        /// Intended times.
        schedule: Schedule,
        /// Time from the start to the schedule's zero, in nanoseconds.
        offset_ns: u64,
        /// The next slot's flow.
        turn: usize,
        /// How long before an intended time sleeping ends and spinning begins, in nanoseconds.
        margin_ns: u64,
    },
}

struct Lane<'a> {
    flow: &'a Flow,
    socket: &'a Socket,
    in_flight: InFlight,
    /// Bytes of the last request that could not be sent yet; 0 when it is out.
    unsent: usize,
    /// Bytes of the next response that have come.
    got: usize,
}

/// A worker that keeps requests under way; its sockets must not block.
pub struct Pipeline<'a> {
    lanes: Vec<Lane<'a>>,
    waiting: Vec<Waiting<'a>>,
    shape: Shape,
    timing: Timing,
    wait: Wait,
    request: Vec<u8>,
    incoming: Vec<u8>,
}

impl<'a> Pipeline<'a> {
    /// A worker on `flows`.
    #[must_use]
    pub fn new(flows: &[(&'a Flow, &'a Socket)], shape: Shape, timing: Timing, wait: Wait) -> Self {
        let window = match shape.tag {
            None => (shape.outstanding as usize).next_power_of_two(),
            Some(tag) => {
                let all = 1_usize << (8 * tag.min(4));
                (2 * shape.outstanding as usize).next_power_of_two().max(WINDOW).min(all)
            }
        };
        let lane = |&(flow, socket): &(&'a Flow, &'a Socket)| Lane {
            flow,
            socket,
            in_flight: InFlight::new(shape.outstanding, window),
            unsent: 0,
            got: 0,
        };
        let incoming =
            if shape.tag.is_some() { shape.response_bytes + 1 } else { shape.response_bytes.max(READ_BYTES) };
        Self {
            lanes: flows.iter().map(lane).collect(),
            waiting: flows.iter().map(|&(_, socket)| Waiting::new(socket.as_fd(), READABLE)).collect(),
            shape,
            timing,
            wait,
            request: vec![0x5a; shape.request_bytes],
            incoming: vec![0x5a; incoming],
        }
    }

    /// Asks from `start_ns` (CLOCK_MONOTONIC) on until `stop` is raised.
    ///
    /// # Errors
    /// When a connection broke, or the peer closed it, before `stop` was raised.
    pub fn run(&mut self, start_ns: u64, recorder: &mut Recorder, stop: &Stop) -> io::Result<()> {
        let start_ns = start_ns + self.offset_ns();
        let mut give_up_at_ns = start_ns + LOST_AFTER_NS;
        while !stop.is_raised() {
            self.flush()?;
            let now_ns = clock::now_ns();
            let sent = match self.timing {
                Timing::Closed => self.fill()?,
                Timing::Paced { .. } => self.send_due(start_ns, now_ns)?,
            };
            if self.shape.tag.is_some() && now_ns >= give_up_at_ns {
                self.give_up(now_ns - LOST_AFTER_NS);
                give_up_at_ns = now_ns + LOST_AFTER_NS / 10;
            }
            self.wait(start_ns, sent)?;
            self.receive(recorder)?;
        }
        Ok(())
    }

    /// Requests that were meant to be sent in the measured time and have no response: under way, or due
    /// and not even sent.
    pub fn unanswered(&mut self, start_ns: u64, recorder: &Recorder) -> u64 {
        let start_ns = start_ns + self.offset_ns();
        let Timing::Paced { schedule, .. } = &mut self.timing else { return 0 };
        let (from, until) = (recorder.measured.from_ns, recorder.measured.until_ns.min(clock::now_ns()));
        schedule.skip_until(from.saturating_sub(start_ns), u64::MAX);
        let not_sent = schedule.skip_until(until.saturating_sub(start_ns), u64::MAX);
        let open = self.lanes.iter().flat_map(|lane| lane.in_flight.intended_of_open());
        not_sent + open.filter(|&intended| (from..until).contains(&intended)).count() as u64
    }

    fn offset_ns(&self) -> u64 {
        match self.timing {
            Timing::Closed => 0,
            Timing::Paced { offset_ns, .. } => offset_ns,
        }
    }

    /// Sends the rest of requests that had no room before.
    fn flush(&mut self) -> io::Result<()> {
        self.lanes.iter_mut().filter(|lane| lane.unsent > 0).try_for_each(|lane| lane.flush(&self.request))
    }

    /// Closed loop: sends on every flow that may have more under way; says whether all was sent.
    fn fill(&mut self) -> io::Result<bool> {
        for lane in &mut self.lanes {
            while lane.is_ready() {
                let now_ns = clock::now_ns();
                let sent = Sent { intended_ns: now_ns, begun_ns: now_ns };
                if !lane.send(&mut self.request, self.shape.tag, sent)? {
                    break;
                }
            }
        }
        Ok(true)
    }

    /// Paced loop: sends what is due; says whether all of it could be sent.
    fn send_due(&mut self, start_ns: u64, mut now_ns: u64) -> io::Result<bool> {
        let Timing::Paced { schedule, turn, .. } = &mut self.timing else { return Ok(true) };
        while start_ns + schedule.peek() <= now_ns {
            // The flow whose turn it is, or the next one with room.
            let lanes = self.lanes.len();
            let ready = (0..lanes).map(|step| (*turn + step) % lanes);
            let Some(index) = ready.into_iter().find(|&index| self.lanes[index].is_ready()) else {
                return Ok(false);
            };
            let sent = Sent { intended_ns: start_ns + schedule.peek(), begun_ns: now_ns };
            if !self.lanes[index].send(&mut self.request, self.shape.tag, sent)? {
                return Ok(false);
            }
            schedule.take();
            *turn = index + 1;
            now_ns = clock::now_ns();
        }
        Ok(true)
    }

    /// Sleeps until something can be done, but not when this worker spins or the next intended time is near.
    fn wait(&mut self, start_ns: u64, all_sent: bool) -> io::Result<()> {
        let mut wait_ns = TICK_NS;
        if let Timing::Paced { schedule, margin_ns, .. } = &self.timing
            && all_sent
        {
            let due_ns = start_ns + schedule.peek();
            wait_ns = due_ns.saturating_sub(*margin_ns).saturating_sub(clock::now_ns()).min(TICK_NS);
        }
        if self.wait == Wait::Spin {
            wait_ns = 0;
        }
        // With one flow, reading is as good a look as asking whether there is something to read.
        if wait_ns == 0 && self.lanes.len() == 1 {
            self.waiting[0].assume();
            return Ok(());
        }
        for (lane, waiting) in self.lanes.iter().zip(&mut self.waiting) {
            waiting.set_events(if lane.unsent > 0 { READABLE | WRITABLE } else { READABLE });
        }
        waiting::poll(&mut self.waiting, self.wait, wait_ns)
    }

    fn receive(&mut self, recorder: &mut Recorder) -> io::Result<()> {
        for (lane, waiting) in self.lanes.iter_mut().zip(&self.waiting) {
            if waiting.happened() {
                lane.receive(&mut self.incoming, self.shape, recorder)?;
            }
        }
        Ok(())
    }

    fn give_up(&mut self, before_ns: u64) {
        for lane in &mut self.lanes {
            lane.flow.lost.add(lane.in_flight.give_up(before_ns));
        }
    }
}

impl Lane<'_> {
    /// Whether the next request may be sent: the last one is out, and not too many are under way.
    #[inline]
    fn is_ready(&mut self) -> bool {
        self.unsent == 0 && self.in_flight.has_room()
    }

    /// Sends the next request, or its beginning; says whether there was room for any of it.
    fn send(&mut self, request: &mut [u8], tag: Option<usize>, sent: Sent) -> io::Result<bool> {
        if let Some(tag) = tag {
            // A number is skipped while a request that looks like it is under way.
            request[..tag].copy_from_slice(&self.in_flight.next_number().to_le_bytes()[..tag]);
        }
        let mut socket = self.socket;
        match socket.write(request) {
            Ok(count) => self.unsent = request.len() - count,
            Err(error) if again(&error) => return Ok(false),
            Err(error) if tag.is_none() => return Err(error),
            // A datagram that the network refuses is a request that gets no response: lost.
            Err(error) => self.flow.troubles.count(error)?,
        }
        self.in_flight.push(sent);
        Ok(true)
    }

    /// Sends more of the last request.
    fn flush(&mut self, request: &[u8]) -> io::Result<()> {
        let mut socket = self.socket;
        match socket.write(&request[request.len() - self.unsent..]) {
            Ok(count) => self.unsent -= count,
            Err(error) if again(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Reads once and notes the responses that are complete.
    fn receive(&mut self, incoming: &mut [u8], shape: Shape, recorder: &mut Recorder) -> io::Result<()> {
        let mut socket = self.socket;
        let count = match socket.read(incoming) {
            Ok(0) if shape.tag.is_none() => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if again(&error) => return Ok(()),
            Err(error) if shape.tag.is_none() => return Err(error),
            Err(error) => return self.flow.troubles.count(error),
        };
        let now_ns = clock::now_ns();
        if let Some(tag) = shape.tag {
            let is_response = count == shape.response_bytes;
            match is_response.then(|| self.in_flight.close_tagged(&incoming[..tag])).flatten() {
                Some(sent) => self.note(sent, now_ns, recorder),
                None => self.flow.stray.add(1),
            }
            return Ok(());
        }
        self.got += count;
        while self.got >= shape.response_bytes {
            self.got -= shape.response_bytes;
            let Some(sent) = self.in_flight.close_first() else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            self.note(sent, now_ns, recorder);
        }
        Ok(())
    }

    #[inline]
    fn note(&self, sent: Sent, now_ns: u64, recorder: &mut Recorder) {
        self.flow.transactions.add(1);
        recorder.note(sent.intended_ns, sent.begun_ns, now_ns);
    }
}
