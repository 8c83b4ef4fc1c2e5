//! `packet`: whole frames through an AF_PACKET socket, past routing, the UDP layer and the queueing
//! discipline (PACKET_QDISC_BYPASS, packet(7)).
//!
//! Frames are copied by sendmmsg(2) and not lent in a TX ring. On virtual links the kernel gives a slot
//! of that ring back when the receiving stack takes the frame over, while its pages are still to be
//! read: the next datagram would be written over one that has not been received yet.

use std::os::fd::AsFd;

use meter::{Error, Result};
use socket2::{Domain, Socket, Type};

use crate::{
    method::{
        outgoing::Outgoing,
        raw::RawFlows,
        transmit::{Datagram, Outcome, Transmit, TransmitConfig, wait_for_room},
    },
    socket::Flow,
    sys,
};

pub struct Packet {
    flows: RawFlows,
    socket: Socket,
    outgoing: Outgoing,
}

impl Packet {
    pub fn new(flows: Vec<Flow>, config: &TransmitConfig<'_>) -> Result<Self> {
        let refused = |what: &'static str| move |error| Error::system(what, error);
        let socket = Socket::new(Domain::from(libc::AF_PACKET), Type::RAW, None)
            .map_err(refused("open an AF_PACKET socket; run as root or with CAP_NET_RAW"))?;
        let flows = RawFlows::new(flows, config)?;
        socket.set_nonblocking(true).map_err(refused("let an AF_PACKET socket not block"))?;
        sys::setsockopt(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1)
            .map_err(refused("pass the queueing discipline by (PACKET_QDISC_BYPASS)"))?;
        sys::bind_packet(socket.as_fd(), flows.link.index)
            .map_err(refused("bind an AF_PACKET socket to its interface"))?;
        let outgoing = Outgoing::new(config.batch_size, flows.largest_frame);
        Ok(Self { flows, socket, outgoing })
    }
}

impl Transmit for Packet {
    fn batch_size(&self) -> usize {
        self.outgoing.slots()
    }

    fn transmit(&mut self, flow: usize, batch: &[Datagram]) -> Outcome {
        let builder = &self.flows.builders[flow];
        for (slot, datagram) in batch.iter().enumerate() {
            let size = datagram.size as usize;
            let frame = self.outgoing.slot(slot, builder.header_bytes() + size);
            builder.build(frame, size, datagram.sequence, datagram.intended_ns);
        }
        Outcome::front(batch, self.outgoing.send(self.socket.as_fd(), batch.len()))
    }

    fn wait_for_room(&self, _: usize, timeout_ns: u64) -> bool {
        wait_for_room(self.socket.as_fd(), timeout_ns)
    }
}
