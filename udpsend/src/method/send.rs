//! `send`: one system call for each datagram. What most programs do, and the measure for the rest.

use crate::{
    method::transmit::{Datagram, Outcome, Transmit, TransmitConfig, wait_for_flow},
    payload::{self, Origin},
    socket::Flow,
};

pub struct Send {
    flows: Vec<Flow>,
    origin: Origin,
    buffer: Vec<u8>,
}

impl Send {
    pub fn new(flows: Vec<Flow>, config: &TransmitConfig<'_>) -> Self {
        Self { flows, origin: config.origin, buffer: vec![payload::FILLER; config.largest] }
    }
}

impl Transmit for Send {
    fn batch_size(&self) -> usize {
        1
    }

    fn transmit(&mut self, flow: usize, batch: &[Datagram]) -> Outcome {
        let datagram = &batch[0];
        let payload = &mut self.buffer[..datagram.size as usize];
        payload::stamp(payload, datagram.sequence, datagram.intended_ns, self.origin);
        Outcome::front(batch, self.flows[flow].socket.send(payload).map(|_| 1))
    }

    fn wait_for_room(&self, flow: usize, timeout_ns: u64) -> bool {
        wait_for_flow(&self.flows, flow, timeout_ns)
    }
}
