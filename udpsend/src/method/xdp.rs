//! `xdp`: whole frames through an AF_XDP socket in copy mode: no system call per frame, no routing, no
//! UDP layer, no queueing discipline. Each worker has a transmit queue of its own.
//!
//! A frame counts as sent when the kernel completes it, which may be in a later call. One that the driver
//! drops is refused, and the frames behind it in the ring get their numbers anew.

use std::{
    io,
    os::fd::AsFd,
    thread,
    time::{Duration, Instant},
};

use meter::{Error, Result};

use crate::{
    method::{
        raw::RawFlows,
        transmit::{Datagram, Outcome, Returned, Transmit, TransmitConfig},
        xsk::TransmitRing,
    },
    netlink::Netlink,
    socket::Flow,
    sys,
};

pub struct Xdp {
    flows: RawFlows,
    ring: TransmitRing,
    batch_size: usize,
    /// The flow of the frames in the ring.
    flow: usize,
    /// What the frame in each slot carries.
    datagrams: Vec<Datagram>,
}

/// How often the kernel is asked to go on with a batch before the rest stays in the ring.
const KICKS_MAX: u32 = 1000;
/// How long to rest while the ring is full, in nanoseconds.
const ROOM_CHECK_NS: u64 = 50_000;
/// How long the driver may take to complete the last frames.
const LAST_FRAMES: Duration = Duration::from_millis(10);

impl Xdp {
    pub fn new(flows: Vec<Flow>, config: &TransmitConfig<'_>) -> Result<Self> {
        check_queues(&flows, config)?;
        let flows = RawFlows::new(flows, config)?;
        let slots = (config.batch_size * 2).next_power_of_two();
        let ring = TransmitRing::open(&flows.link, config.worker as u32, slots, flows.largest_frame)?;
        let datagrams = vec![Datagram::default(); slots];
        Ok(Self { flows, ring, batch_size: config.batch_size, flow: 0, datagrams })
    }

    /// Writes the frame of the datagram that belongs in a slot, and gives its length.
    #[inline]
    fn build(&mut self, slot: usize) -> usize {
        let Datagram { sequence, intended_ns, size } = self.datagrams[slot];
        self.flows.builders[self.flow].build(self.ring.frame(slot), size as usize, sequence, intended_ns)
    }

    /// Counts frames that the kernel has completed, and frees their slots.
    #[inline]
    fn reap(&mut self, outcome: &mut Outcome) {
        let datagrams = &self.datagrams;
        self.ring.reap(|slot| outcome.add_sent(&datagrams[slot]));
    }

    /// Lets the kernel send what is in the ring.
    #[inline]
    fn drive(&mut self, mut outcome: Outcome) -> Outcome {
        for _ in 0..KICKS_MAX {
            outcome = outcome.and_calls(1);
            let kicked = self.ring.kick();
            self.reap(&mut outcome);
            match kicked {
                Ok(()) => {}
                // The kernel sends a limited number of frames in one call.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    outcome = self.close_ranks(outcome).and_refused(error);
                }
                Err(error) => return outcome.and_refused(error),
            }
            if self.ring.is_idle() {
                break;
            }
        }
        outcome
    }

    /// The frame that the kernel took last was completed, but the driver dropped it: takes it back from
    /// what was sent, and gives its number to the next.
    #[cold]
    fn close_ranks(&mut self, mut outcome: Outcome) -> Outcome {
        let dropped = self.datagrams[self.ring.last_taken()];
        outcome.sent -= 1;
        outcome.sent_bytes -= u64::from(dropped.size);
        if !dropped.is_numbered() {
            // It had no number that could go to the next.
            outcome.unnumbered -= 1;
            return outcome;
        }
        for step in 0..self.ring.waiting() {
            let slot = self.ring.waiting_slot(step);
            self.datagrams[slot].sequence -= 1;
            self.build(slot);
        }
        let numbers = 1 + outcome.returned.map_or(0, |returned| returned.numbers);
        outcome.returned = Some(Returned { flow: self.flow, numbers });
        outcome
    }
}

/// Refuses more workers than the interface has transmit queues: a queue takes one socket.
fn check_queues(flows: &[Flow], config: &TransmitConfig<'_>) -> Result<()> {
    let workers = config.workers;
    let Some(flow) = flows.first().filter(|_| workers > 1) else {
        return Ok(());
    };
    let mut netlink = Netlink::open()?;
    let route = netlink.route(flow.target, config.socket.device.as_deref())?;
    let link = netlink.link(route.interface)?;
    // A driver that does not tell how many of them are in use has all of them in use.
    let in_use = sys::transmit_channels(flow.socket.as_fd(), &link.name).unwrap_or(link.transmit_queues);
    let queues = if in_use == 0 { link.transmit_queues } else { in_use };
    if config.worker < queues as usize {
        return Ok(());
    }
    Err(Error::unavailable(format!(
        "--method xdp needs a transmit queue for each of {workers} threads, and {name} has {queues}; pass fewer \
         --cpus, or try `ethtool -L {name} tx {workers}`, or `combined {workers}`",
        name = link.name
    )))
}

impl Transmit for Xdp {
    fn batch_size(&self) -> usize {
        self.batch_size
    }

    fn transmit(&mut self, flow: usize, batch: &[Datagram]) -> Outcome {
        let mut outcome = Outcome::default();
        if flow != self.flow {
            // Numbers are taken back for one flow at a time.
            if !self.ring.is_idle() {
                outcome = self.drive(outcome);
            }
            if !self.ring.is_idle() {
                return outcome;
            }
            self.flow = flow;
        }
        for datagram in batch {
            let Some(slot) = self.ring.free_slot() else {
                break;
            };
            self.datagrams[slot] = *datagram;
            let len = self.build(slot);
            self.ring.push(slot, len);
            outcome.consumed += 1;
        }
        outcome = self.drive(outcome);
        outcome.is_full = outcome.consumed == 0 && outcome.sent == 0 && outcome.error.is_none();
        outcome
    }

    fn finish(&mut self) -> Outcome {
        let (mut outcome, deadline) = (Outcome::default(), Instant::now() + LAST_FRAMES);
        while !self.ring.is_idle() && Instant::now() < deadline {
            self.reap(&mut outcome);
        }
        outcome.unsent = self.ring.in_flight() as u64;
        outcome
    }

    fn wait_for_room(&self, _: usize, timeout_ns: u64) -> bool {
        // A ring tells no room but by its completions, which the next call reaps.
        thread::sleep(Duration::from_nanos(timeout_ns.min(ROOM_CHECK_NS)));
        true
    }
}
