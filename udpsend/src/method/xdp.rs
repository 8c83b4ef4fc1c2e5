//! `xdp`: whole frames through an AF_XDP socket in copy mode: no system call per frame, no routing, no
//! UDP layer, no queueing discipline.
//!
//! A frame counts as sent when the kernel completes it, which may be in a later call.

use std::io;

use meter::Result;

use crate::{
    method::{Datagram, Outcome, Transmit, raw::RawFlows, xsk::TransmitRing},
    payload::Origin,
    sender::config::SendConfig,
    socket::Flow,
};

pub struct Xdp {
    flows: RawFlows,
    ring: TransmitRing,
    batch_size: usize,
    /// Payload bytes of the frame in each slot.
    sizes: Vec<u32>,
}

/// How often the kernel is asked to go on with a batch before the rest stays in the ring.
const KICKS_MAX: u32 = 1000;

impl Xdp {
    pub fn new(flows: Vec<Flow>, origin: Origin, config: &SendConfig) -> Result<Self> {
        let flows = RawFlows::new(flows, origin, config)?;
        let slots = (config.batch_size * 2).next_power_of_two();
        let ring = TransmitRing::open(flows.interface, slots, flows.largest_frame)?;
        Ok(Self { flows, ring, batch_size: config.batch_size, sizes: vec![0; slots] })
    }

    /// Counts frames that the kernel has completed, and frees their slots.
    fn reap(&mut self, outcome: &mut Outcome) {
        let sizes = &self.sizes;
        self.ring.reap(|slot| {
            outcome.sent += 1;
            outcome.sent_bytes += u64::from(sizes[slot]);
        });
    }
}

impl Transmit for Xdp {
    fn batch_size(&self) -> usize {
        self.batch_size
    }

    fn transmit(&mut self, flow: usize, batch: &[Datagram]) -> Outcome {
        let builder = &self.flows.builders[flow];
        let mut outcome = Outcome::default();
        for datagram in batch {
            let Some(slot) = self.ring.free_slot() else {
                break;
            };
            let size = datagram.size as usize;
            let len = builder.build(self.ring.frame(slot), size, datagram.sequence, datagram.intended_ns);
            self.sizes[slot] = datagram.size;
            self.ring.push(slot, len);
            outcome.consumed += 1;
        }
        for _ in 0..KICKS_MAX {
            outcome.calls += 1;
            let kicked = self.ring.kick();
            self.reap(&mut outcome);
            match kicked {
                Ok(()) => {}
                // The kernel sends a limited number of frames in one call.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The frame in turn was completed, but dropped by the driver.
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    outcome.sent = outcome.sent.saturating_sub(1);
                    outcome.sent_bytes = outcome.sent_bytes.saturating_sub(batch[0].size.into());
                    outcome = outcome.and_refused(error);
                }
                Err(error) => return outcome.and_refused(error),
            }
            if self.ring.is_idle() {
                break;
            }
        }
        outcome
    }
}
