//! What the methods with frames of their own have in common: the interface, and a builder per flow.

use std::net::IpAddr;

use meter::{Error, Result};

use crate::{
    frame::{FrameBuilder, Headers, LinkEnds},
    method::transmit::TransmitConfig,
    netlink::{Link, Netlink},
    socket::Flow,
};

/// Time to live where none was asked for: the kernel's own default (ip-sysctl, `ip_default_ttl`).
const HOP_LIMIT: u8 = 64;

/// The flows of a worker that builds its own frames.
pub struct RawFlows {
    /// The one interface that all flows leave through.
    pub link: Link,
    /// Bytes of the largest frame.
    pub largest_frame: usize,
    /// One for each flow.
    pub builders: Vec<FrameBuilder>,
    /// Sockets that hold the source ports, so that nobody else gets them.
    _flows: Vec<Flow>,
}

impl RawFlows {
    /// Finds the interface and the next hop of each flow.
    pub fn new(flows: Vec<Flow>, config: &TransmitConfig<'_>) -> Result<Self> {
        let mut netlink = Netlink::open()?;
        let mut raw =
            Self { link: Link::default(), largest_frame: 0, builders: Vec::new(), _flows: Vec::new() };
        for flow in &flows {
            let builder = raw.builder(flow, &mut netlink, config)?;
            let largest_frame = builder.header_bytes() + config.largest;
            raw.largest_frame = raw.largest_frame.max(largest_frame);
            raw.builders.push(builder);
        }
        raw._flows = flows;
        Ok(raw)
    }

    fn builder(
        &mut self,
        flow: &Flow,
        netlink: &mut Netlink,
        config: &TransmitConfig<'_>,
    ) -> Result<FrameBuilder> {
        let (method, target) = (config.method, flow.target);
        let route = netlink.route(target, config.socket.device.as_deref())?;
        let link = netlink.link(route.interface)?;
        let Some(source) = link.address.filter(|address| *address != [0; 6]) else {
            return Err(Error::bad_arguments(format!(
                "{target} is reached through {}, which is no Ethernet: --method {method} can't be used there",
                link.name
            )));
        };
        if self.link.index != 0 && self.link.index != link.index {
            return Err(Error::bad_arguments(format!(
                "--method {method} needs all targets of a worker behind one interface; {target} is behind {}",
                link.name
            )));
        }
        let headers = Headers {
            source: flow.source,
            target,
            traffic_class: config.socket.traffic_class.unwrap_or(0),
            hop_limit: config.socket.hop_limit.unwrap_or(HOP_LIMIT),
            dont_fragment: config.socket.dont_fragment || matches!(target.ip(), IpAddr::V4(_)),
        };
        let target_address = netlink.neighbour(route.interface, route.next_hop, config.stop)?;
        let builder = FrameBuilder::new(LinkEnds { source, target: target_address }, &headers, config.origin);
        let packet_bytes = builder.header_bytes() - crate::frame::ETHERNET + config.largest;
        if packet_bytes > link.mtu_bytes as usize {
            return Err(Error::bad_arguments(format!(
                "a packet of {packet_bytes} bytes does not fit the MTU of {} ({}): --method {method} can't fragment it",
                link.name, link.mtu_bytes
            )));
        }
        self.link = link;
        Ok(builder)
    }
}
