//! What the interfaces carried, by their own counters: frames, where a frame may be many datagrams.

use std::fmt;

use meter::Result;
use serde::Serialize;

use crate::netlink::{Link, Netlink, Queue};

/// What one interface carried in a stretch of time, for whomever.
///
/// With segmentation offload a virtual interface counts one frame where a wire would carry many packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct InterfaceTraffic {
    /// Name of the interface.
    pub name: String,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes of the frames sent, headers included.
    pub tx_bytes: u64,
    /// Frames dropped on sending.
    pub tx_dropped: u64,
    /// Packets that its queueing discipline dropped: taken from a sender, and never frames of this interface.
    pub queue_dropped: u64,
    /// Frames received.
    pub rx_frames: u64,
    /// Bytes of the frames received, headers included.
    pub rx_bytes: u64,
    /// Frames dropped on receiving.
    pub rx_dropped: u64,
}

impl fmt::Display for InterfaceTraffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} frames sent ({} dropped", self.name, self.tx_frames, self.tx_dropped)?;
        if self.queue_dropped > 0 {
            write!(f, ", {} by its queueing discipline", self.queue_dropped)?;
        }
        write!(f, "), {} received ({} dropped)", self.rx_frames, self.rx_dropped)
    }
}

/// Remembers the counters of all interfaces of this network namespace.
pub struct TrafficMeter {
    links: Vec<Link>,
    queues: Vec<Queue>,
}

/// What the interfaces have carried, and what still waits in front of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Those that carried or dropped something.
    pub interfaces: Vec<InterfaceTraffic>,
    /// Packets in the queueing discipline of each interface, by its name.
    pub waiting: Vec<(String, u64)>,
}

impl TrafficMeter {
    /// Begins now.
    ///
    /// # Errors
    /// When the interfaces can't be listed.
    pub fn start() -> Result<Self> {
        let mut netlink = Netlink::open()?;
        Ok(Self { links: netlink.links()?, queues: netlink.queues()? })
    }

    /// What each interface has carried since; those that carried nothing are left out, and so are those
    /// that were not there at the start.
    ///
    /// # Errors
    /// When the interfaces can't be listed.
    pub fn read(&self) -> Result<Traffic> {
        let now = Self::start()?;
        let pairs = now.links.iter().filter_map(|link| {
            let before = self.links.iter().find(|before| before.index == link.index)?;
            Some((link, &before.counters, &link.counters))
        });
        let interfaces = pairs.map(|(link, before, counters)| InterfaceTraffic {
            name: link.name.clone(),
            tx_frames: counters.tx_frames.saturating_sub(before.tx_frames),
            tx_bytes: counters.tx_bytes.saturating_sub(before.tx_bytes),
            tx_dropped: counters.tx_dropped.saturating_sub(before.tx_dropped),
            queue_dropped: now.root(link).map_or(0, |queue| {
                // One that was exchanged meanwhile counts from zero.
                let before = self.root(link).map_or(0, |before| before.dropped);
                queue.dropped.checked_sub(before).unwrap_or(queue.dropped).into()
            }),
            rx_frames: counters.rx_frames.saturating_sub(before.rx_frames),
            rx_bytes: counters.rx_bytes.saturating_sub(before.rx_bytes),
            rx_dropped: counters.rx_dropped.saturating_sub(before.rx_dropped),
        });
        let is_of_use = |traffic: &InterfaceTraffic| {
            traffic.tx_frames + traffic.rx_frames + traffic.tx_dropped + traffic.queue_dropped > 0
        };
        let waiting = |link: &Link| {
            Some((link.name.clone(), u64::from(now.root(link)?.waiting))).filter(|(_, packets)| *packets > 0)
        };
        Ok(Traffic {
            interfaces: interfaces.filter(is_of_use).collect(),
            waiting: now.links.iter().filter_map(waiting).collect(),
        })
    }

    /// The root of an interface's queueing disciplines; `None` where it has none.
    fn root(&self, link: &Link) -> Option<&Queue> {
        self.queues.iter().find(|queue| queue.interface == link.index && queue.is_root)
    }
}
