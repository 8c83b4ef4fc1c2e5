//! `sendmmsg`: one system call for a batch; the kernel still walks its whole stack for each datagram.

use std::os::fd::AsFd;

use crate::{
    method::{Datagram, Outcome, Transmit, outgoing::Outgoing},
    payload::{self, Origin},
    sender::config::SendConfig,
    socket::Flow,
};

pub struct Sendmmsg {
    flows: Vec<Flow>,
    origin: Origin,
    outgoing: Outgoing,
}

impl Sendmmsg {
    pub fn new(flows: Vec<Flow>, origin: Origin, config: &SendConfig) -> Self {
        let outgoing = Outgoing::new(config.batch_size, config.sizes.largest() as usize);
        let launch = config.socket.launch_lead_ns.is_some();
        Self { flows, origin, outgoing: if launch { outgoing.with_launch_times() } else { outgoing } }
    }
}

impl Transmit for Sendmmsg {
    fn batch_size(&self) -> usize {
        self.outgoing.slots()
    }

    fn transmit(&mut self, flow: usize, batch: &[Datagram]) -> Outcome {
        for (slot, datagram) in batch.iter().enumerate() {
            let payload = self.outgoing.slot(slot, datagram.size as usize);
            payload::stamp(payload, datagram.sequence, datagram.intended_ns, self.origin);
            self.outgoing.launch_at(slot, datagram.intended_ns);
        }
        Outcome::front(batch, self.outgoing.send(self.flows[flow].socket.as_fd(), batch.len()))
    }
}
