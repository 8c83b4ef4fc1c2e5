//! What one thread does: chosen by the order, this end's role and the number of its flows.

use std::{io, net::SocketAddr, os::fd::AsFd, time::Duration};

use meter::{Error, Result, control::Stop, crew::Worker, pacer::Arrivals, wait::Waiter};
use socket2::Socket;

use super::{
    Outcome, Work,
    answer::{self, Responder},
    ask,
    connections::{self, Maker},
    flow::{Flow, Link, Role},
    pipeline::{Pipeline, Shape, Timing},
    recorder::{Measured, Recorder},
    stream::Pump,
};
use crate::{
    protocol::order::{Order, Pace, Transport, Wait, Workload, tag_bytes},
    sys::{READABLE, WRITABLE, Waiting},
};

/// Longest sleep of a thread with several flows, in nanoseconds, before it looks at the stop flag.
const TICK_NS: u64 = 20_000_000;

/// A flow with its connected socket.
type Connected<'a> = (&'a Flow, &'a Socket);

/// Everything that a thread needs, allocated and faulted in.
pub(super) struct Task<'a> {
    kind: Kind<'a>,
    recorder: Option<Recorder>,
}

enum Kind<'a> {
    /// Nothing: more CPUs than flows.
    Idle,
    Stream {
        pump: Pump,
        flow: Connected<'a>,
    },
    Streams {
        pump: Pump,
        flows: Vec<Connected<'a>>,
        waiting: Vec<Waiting<'a>>,
        wait_ns: u64,
    },
    AskTcp {
        flow: Connected<'a>,
        request: Vec<u8>,
        response: Vec<u8>,
    },
    AskUdp {
        flow: Connected<'a>,
        request: Vec<u8>,
        response: Vec<u8>,
        tag: usize,
    },
    AskMany(Box<Pipeline<'a>>),
    Connect {
        flow: &'a Flow,
        maker: Maker,
        request: Vec<u8>,
        response: Vec<u8>,
    },
    AnswerTcp {
        flow: Connected<'a>,
        request: Vec<u8>,
        response: Vec<u8>,
    },
    AnswerUdp {
        flow: Connected<'a>,
        request: Vec<u8>,
        response: Vec<u8>,
        tag: usize,
    },
    AnswerMany {
        responder: Responder<'a>,
    },
    Accept {
        flow: Connected<'a>,
        request: Vec<u8>,
        response: Vec<u8>,
    },
}

/// A buffer whose pages have been written to, so that they are there before the work begins.
fn buffer(bytes: u64) -> Vec<u8> {
    vec![0x5a; bytes as usize]
}

impl<'a> Task<'a> {
    /// Prepares the thread `worker` for `flows`.
    pub(super) fn prepare(
        work: &Work<'a>,
        flows: &[&'a Flow],
        worker: Worker,
        recorder: Option<Recorder>,
    ) -> Result<Self> {
        let asks = flows.first().is_some_and(|flow| flow.role == Role::Ask);
        let recorder = recorder.filter(|_| asks);
        Ok(Self { kind: Kind::prepare(work, flows, worker)?, recorder })
    }

    /// Works until the stop is raised, or something breaks.
    pub(super) fn work(mut self, work: &Work<'_>, start_ns: u64, measured: Measured) -> Outcome {
        if let Some(recorder) = &mut self.recorder {
            recorder.begin(measured);
        }
        let worked = self.kind.work(self.recorder.as_mut(), work, start_ns);
        let mut outcome = Outcome { error: worked.err(), ..Outcome::default() };
        if let (Kind::AskMany(pipeline), Some(recorder)) = (&mut self.kind, &self.recorder) {
            outcome.unanswered = pipeline.unanswered(start_ns, recorder);
        }
        outcome.latencies = self.recorder.map(Recorder::into_rest);
        outcome
    }
}

impl<'a> Kind<'a> {
    fn prepare(work: &Work<'a>, flows: &[&'a Flow], worker: Worker) -> Result<Self> {
        let Some(first) = flows.first().copied() else { return Ok(Self::Idle) };
        let order = work.order;
        match order.workload {
            Workload::Stream { write_bytes, read_bytes, send_with, receive_with, .. } => Self::stream(
                order,
                Pump::new(write_bytes, send_with, read_bytes, receive_with)?,
                connected(flows),
            ),
            Workload::Transactions { .. } if first.role == Role::Ask => {
                Self::ask(order, &connected(flows), worker)
            }
            Workload::Transactions { .. } => Self::answer(order, &connected(flows)),
            Workload::Connections { request_bytes, response_bytes } => match &first.link {
                Link::Address(address) => Ok(Self::Connect {
                    flow: first,
                    maker: maker(work, *address),
                    request: buffer(request_bytes),
                    response: buffer(response_bytes),
                }),
                Link::Listening(socket) | Link::Connected(socket) => Ok(Self::Accept {
                    flow: (first, socket),
                    request: buffer(request_bytes),
                    response: buffer(response_bytes),
                }),
            },
        }
    }

    fn stream(order: &Order, pump: Pump, flows: Vec<Connected<'a>>) -> Result<Self> {
        for (flow, socket) in &flows {
            if flow.role == Role::Send {
                pump.prepare(socket)?;
            }
        }
        if let [flow] = flows[..] {
            set_blocking(&flows, order.wait != Wait::Spin)?;
            return Ok(Self::Stream { pump, flow });
        }
        set_blocking(&flows, false)?;
        let waits_for = |flow: &Flow| if flow.role == Role::Send { WRITABLE } else { READABLE };
        let waiting =
            flows.iter().map(|&(flow, socket)| Waiting::new(socket.as_fd(), waits_for(flow))).collect();
        Ok(Self::Streams { pump, flows, waiting, wait_ns: sleep_ns(order) })
    }

    fn ask(order: &Order, flows: &[Connected<'a>], worker: Worker) -> Result<Self> {
        let Workload::Transactions { transport, request_bytes, response_bytes, outstanding, ref pace } =
            order.workload
        else {
            return Ok(Self::Idle);
        };
        let tag = tag_bytes(request_bytes, response_bytes);
        if let ([flow], 1, None) = (flows, outstanding, pace) {
            set_blocking(flows, order.wait != Wait::Spin)?;
            let request = buffer(request_bytes);
            return Ok(match transport {
                Transport::Tcp => Self::AskTcp { flow: *flow, request, response: buffer(response_bytes) },
                Transport::Udp => {
                    let timeout = Some(Duration::from_nanos(ask::LOST_AFTER_NS));
                    flow.1
                        .set_read_timeout(timeout)
                        .map_err(|error| Error::system("set a timeout", error))?;
                    // One byte more, so that a longer datagram is told from a response.
                    Self::AskUdp { flow: *flow, request, response: buffer(response_bytes + 1), tag }
                }
            });
        }
        set_blocking(flows, false)?;
        let shape = Shape {
            request_bytes: request_bytes as usize,
            response_bytes: response_bytes as usize,
            tag: (transport == Transport::Udp).then_some(tag),
            outstanding,
        };
        let timing = pace.as_ref().map_or(Timing::Closed, |pace| timing(pace, worker, order));
        Ok(Self::AskMany(Box::new(Pipeline::new(flows, shape, timing, order.wait))))
    }

    fn answer(order: &Order, flows: &[Connected<'a>]) -> Result<Self> {
        let Workload::Transactions { transport, request_bytes, response_bytes, .. } = order.workload else {
            return Ok(Self::Idle);
        };
        let tag = tag_bytes(request_bytes, response_bytes);
        let response = buffer(response_bytes);
        if let [flow] = *flows {
            set_blocking(flows, order.wait != Wait::Spin)?;
            return Ok(match transport {
                Transport::Tcp => Self::AnswerTcp { flow, request: buffer(request_bytes), response },
                Transport::Udp => Self::AnswerUdp { flow, request: buffer(request_bytes + 1), response, tag },
            });
        }
        set_blocking(flows, false)?;
        let tag = (transport == Transport::Udp).then_some(tag);
        let responder = Responder::new(flows, request_bytes as usize, response, tag);
        Ok(Self::AnswerMany { responder })
    }

    fn work(&mut self, recorder: Option<&mut Recorder>, work: &Work<'_>, start_ns: u64) -> io::Result<()> {
        let stop: &Stop = work.stop;
        match (self, recorder) {
            (Self::Idle, _) => Ok(()),
            (Self::Stream { pump, flow }, _) => pump.run(flow.0, flow.1, stop),
            (Self::Streams { pump, flows, waiting, wait_ns }, _) => {
                pump.run_many(flows, waiting, *wait_ns, stop)
            }
            (Self::AskTcp { flow, request, response }, Some(recorder)) => {
                ask::over_tcp(*flow, request, response, work.order, recorder, stop)
            }
            (Self::AskUdp { flow, request, response, tag }, Some(recorder)) => {
                ask::over_udp(*flow, request, response, *tag, work.order.wait, recorder, stop)
            }
            (Self::AskMany(pipeline), Some(recorder)) => pipeline.run(start_ns, recorder, stop),
            (Self::Connect { flow, maker, request, response }, Some(recorder)) => {
                connections::ask(flow, maker, request, response, recorder, stop)
            }
            (Self::AnswerTcp { flow, request, response }, _) => {
                answer::over_tcp(*flow, request, response, work.order, stop)
            }
            (Self::AnswerUdp { flow, request, response, tag }, _) => {
                answer::over_udp(*flow, request, response, *tag, work.order.wait, stop)
            }
            (Self::AnswerMany { responder }, _) => responder.run(work.order.wait, TICK_NS, stop),
            (Self::Accept { flow, request, response }, _) => {
                connections::answer(*flow, work.peer, request, response, stop)
            }
            // Whoever asks was given a recorder.
            (Self::AskTcp { .. } | Self::AskUdp { .. } | Self::AskMany(_) | Self::Connect { .. }, None) => {
                Ok(())
            }
        }
    }
}

fn connected<'a>(flows: &[&'a Flow]) -> Vec<Connected<'a>> {
    flows.iter().filter_map(|&flow| Some((flow, flow.connected()?))).collect()
}

fn set_blocking(flows: &[Connected<'_>], blocking: bool) -> Result<()> {
    flows
        .iter()
        .try_for_each(|(_, socket)| socket.set_nonblocking(!blocking))
        .map_err(|error| Error::system("let a socket block or not", error))
}

fn sleep_ns(order: &Order) -> u64 {
    if order.wait == Wait::Spin { 0 } else { TICK_NS }
}

fn maker(work: &Work<'_>, address: SocketAddr) -> Maker {
    Maker { address, options: work.order.socket.clone(), local: work.local.clone() }
}

/// The schedule of one of several threads: each has its part of the load, begun at its own fraction of a
/// gap, so that all together keep the gaps of the whole.
fn timing(pace: &Pace, worker: Worker, order: &Order) -> Timing {
    let (index, of) = (worker.index as u64, worker.of as u64);
    let arrivals = if pace.poisson { Arrivals::Poisson } else { Arrivals::Fixed };
    let (schedule, offset_ns) = pace.rate.schedule(index, of, 1, arrivals, pace.seed);
    let margin_ns = if order.wait == Wait::Spin { u64::MAX } else { Waiter::calibrate().margin_ns };
    Timing::Paced { schedule, offset_ns, turn: 0, margin_ns }
}
