//! What the interfaces carried, by their own counters: frames, where a frame may be many datagrams.

use std::fmt;

use meter::Result;
use serde::Serialize;

use crate::netlink::{Link, Netlink};

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
    /// Frames received.
    pub rx_frames: u64,
    /// Bytes of the frames received, headers included.
    pub rx_bytes: u64,
    /// Frames dropped on receiving.
    pub rx_dropped: u64,
}

impl fmt::Display for InterfaceTraffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} frames sent ({} dropped), {} received ({} dropped)",
            self.name, self.tx_frames, self.tx_dropped, self.rx_frames, self.rx_dropped
        )
    }
}

/// Remembers the counters of all interfaces of this network namespace.
pub struct TrafficMeter(Vec<Link>);

impl TrafficMeter {
    /// Begins now.
    ///
    /// # Errors
    /// When the interfaces can't be listed.
    pub fn start() -> Result<Self> {
        Netlink::open()?.links().map(Self)
    }

    /// What each interface has carried since; those that carried nothing are left out, and so are those
    /// that were not there at the start.
    ///
    /// # Errors
    /// When the interfaces can't be listed.
    pub fn read(&self) -> Result<Vec<InterfaceTraffic>> {
        let links = Netlink::open()?.links()?;
        let pairs = links.iter().filter_map(|now| {
            let before = self.0.iter().find(|before| before.index == now.index)?;
            Some((&before.counters, &now.counters, &now.name))
        });
        let traffic = pairs.map(|(before, now, name)| InterfaceTraffic {
            name: name.clone(),
            tx_frames: now.tx_frames.saturating_sub(before.tx_frames),
            tx_bytes: now.tx_bytes.saturating_sub(before.tx_bytes),
            tx_dropped: now.tx_dropped.saturating_sub(before.tx_dropped),
            rx_frames: now.rx_frames.saturating_sub(before.rx_frames),
            rx_bytes: now.rx_bytes.saturating_sub(before.rx_bytes),
            rx_dropped: now.rx_dropped.saturating_sub(before.rx_dropped),
        });
        Ok(traffic.filter(|traffic| traffic.tx_frames + traffic.rx_frames > 0).collect())
    }
}
