//! `gso`: many equal datagrams in one send; the stack is walked once and the kernel, or the device,
//! cuts them apart (UDP_SEGMENT, udp(7)).

use std::os::fd::AsFd;

use meter::{Error, Result};

use crate::{
    method::transmit::{Datagram, Outcome, Transmit, TransmitConfig, wait_for_flow},
    payload::{self, FILLER, Origin},
    sizes::LARGEST_PAYLOAD,
    socket::Flow,
    sys,
};

/// Most segments that every kernel with UDP_SEGMENT takes in one send (`UDP_MAX_SEGMENTS`).
pub const SEGMENTS_MAX: usize = 64;

pub struct Gso {
    flows: Vec<Flow>,
    origin: Origin,
    batch_size: usize,
    buffer: Vec<u8>,
    /// The segment size that each flow's socket is set to.
    segment_sizes: Vec<u32>,
}

impl Gso {
    pub fn new(flows: Vec<Flow>, config: &TransmitConfig<'_>) -> Result<Self> {
        for flow in &flows {
            set_segment_size(flow, 0).map_err(|error| {
                Error::unavailable("this kernel has no UDP_SEGMENT (Linux 4.18); use --method sendmmsg")
                    .with_source(error)
            })?;
        }
        let segment_sizes = vec![0; flows.len()];
        let buffer = vec![FILLER; LARGEST_PAYLOAD as usize];
        // Not more than fits one send, so that none is left over for a short one.
        let batch_size = config.batch_size.min(SEGMENTS_MAX).min(buffer.len() / config.largest).max(1);
        Ok(Self { flows, origin: config.origin, batch_size, buffer, segment_sizes })
    }

    /// Stamps the leading datagrams that can go in one send: equal in size, the last one perhaps
    /// smaller, together no larger than a datagram may be. Gives their number and bytes.
    #[inline]
    fn gather(&mut self, batch: &[Datagram]) -> (usize, usize) {
        let segment_size = batch[0].size;
        let (mut count, mut end) = (0, 0);
        for datagram in batch {
            let size = datagram.size as usize;
            if datagram.size > segment_size || end + size > self.buffer.len() {
                break;
            }
            let payload = &mut self.buffer[end..end + size];
            payload::stamp(payload, datagram.sequence, datagram.intended_ns, self.origin);
            (count, end) = (count + 1, end + size);
            if datagram.size < segment_size {
                break;
            }
        }
        (count, end)
    }

    /// Whether the flow's socket has to be told the size: a lone datagram goes as it is while it is no
    /// larger than what the socket was told last.
    #[inline]
    fn must_set(&self, flow: usize, size: u32, count: usize) -> bool {
        let set = self.segment_sizes[flow];
        set != size && (count > 1 || (set != 0 && size > set))
    }
}

fn set_segment_size(flow: &Flow, segment_size: u32) -> std::io::Result<()> {
    sys::setsockopt(flow.socket.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, segment_size as i32)
}

impl Transmit for Gso {
    fn batch_size(&self) -> usize {
        self.batch_size
    }

    fn transmit(&mut self, flow: usize, batch: &[Datagram]) -> Outcome {
        let mut outcome = Outcome::default();
        while outcome.consumed < batch.len() && outcome.error.is_none() && !outcome.is_full {
            let rest = &batch[outcome.consumed..];
            let (count, bytes) = self.gather(rest);
            let mut result = Ok(());
            if self.must_set(flow, rest[0].size, count) {
                outcome = outcome.and_calls(1);
                result = set_segment_size(&self.flows[flow], rest[0].size);
                self.segment_sizes[flow] = rest[0].size;
            }
            let sent = result.and_then(|()| self.flows[flow].socket.send(&self.buffer[..bytes]));
            outcome = outcome.and_calls(1);
            outcome = match sent {
                Ok(_) => outcome.and_taken(&rest[..count]),
                Err(error) => outcome.and_refused(error),
            };
        }
        outcome
    }

    fn wait_for_room(&self, flow: usize, timeout_ns: u64) -> bool {
        wait_for_flow(&self.flows, flow, timeout_ns)
    }
}
