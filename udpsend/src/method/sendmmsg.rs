//! `sendmmsg`: one system call for a batch; the kernel still walks its whole stack for each datagram.

use std::os::fd::AsFd;

use crate::{
    method::{
        outgoing::Outgoing,
        transmit::{Datagram, Outcome, Transmit, TransmitConfig, wait_for_flow},
    },
    payload::{self, Origin},
    socket::Flow,
};

pub struct Sendmmsg {
    flows: Vec<Flow>,
    origin: Origin,
    outgoing: Outgoing,
}

impl Sendmmsg {
    pub fn new(flows: Vec<Flow>, config: &TransmitConfig<'_>) -> Self {
        let outgoing = Outgoing::new(config.batch_size, config.largest);
        let launch = config.socket.launch_lead_ns.is_some();
        Self {
            flows,
            origin: config.origin,
            outgoing: if launch { outgoing.with_launch_times() } else { outgoing },
        }
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

    fn wait_for_room(&self, flow: usize, timeout_ns: u64) -> bool {
        wait_for_flow(&self.flows, flow, timeout_ns)
    }
}
