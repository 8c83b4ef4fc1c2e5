//! Questions to the kernel's routing tables: rtnetlink(7), just enough to find a route, the interface
//! that it leads through, and the next hop's hardware address.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use meter::{Error, Result, address::interface_index, control::Stop};
use socket2::{Domain, Protocol, Socket, Type};

mod message;

use message::{address, attribute, family, find, next_message, number, octets, prefix_bits, short, text};

/// How long the neighbour may take to answer.
const NEIGHBOUR_WAIT: Duration = Duration::from_secs(2);
/// `NTF_USE`: resolve this neighbour, as if something were sent to it (linux/neighbour.h).
const NTF_USE: u8 = 1;
/// Room for one answer: the kernel never sends more at once to a reader that has as much.
const ANSWER_BYTES: usize = 32 << 10;

/// The way to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Number of the interface that it leads through.
    pub interface: u32,
    /// The next hop: a gateway, or the target itself.
    pub next_hop: IpAddr,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address; `None` when it has none of 6 bytes.
    pub address: Option<[u8; 6]>,
    /// Largest IP packet, in bytes.
    pub mtu_bytes: u32,
    /// Transmit queues that it was made with; not all of them need be in use.
    pub transmit_queues: u32,
    /// Frames and bytes since it was made.
    pub counters: LinkCounters,
}

/// Counters of an interface (`struct rtnl_link_stats64`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Frames received.
    pub rx_frames: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes of the frames received.
    pub rx_bytes: u64,
    /// Bytes of the frames sent.
    pub tx_bytes: u64,
    /// Frames that were dropped on receiving.
    pub rx_dropped: u64,
    /// Frames that were dropped on sending.
    pub tx_dropped: u64,
}

/// A queueing discipline of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Number of the interface.
    pub interface: u32,
    /// Its kind, such as `fq`.
    pub kind: String,
    /// Whether it is the interface's root: its counts hold those of its children.
    pub is_root: bool,
    /// Packets that wait in it.
    pub waiting: u32,
    /// Packets that it has dropped since it was made, modulo 2^32.
    pub dropped: u32,
}

/// State of an entry in the neighbor table (`NUD_*`, linux/neighbour.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborState(u16);

impl NeighborState {
    const INCOMPLETE: u16 = 0x01;
    const FAILED: u16 = 0x20;

    /// Whether the neighbor was asked for its hardware address, and its answer is still awaited.
    #[must_use]
    pub fn is_asked(self) -> bool {
        self.0 & Self::INCOMPLETE != 0
    }

    /// Whether its hardware address is unknown: the kernel holds a little of what is sent to it, and drops the rest.
    #[must_use]
    pub fn is_unresolved(self) -> bool {
        self.0 & (Self::INCOMPLETE | Self::FAILED) != 0
    }
}

/// A way to ask.
pub struct Netlink(Socket);

impl Netlink {
    /// Opens it. No permission is needed.
    ///
    /// # Errors
    /// When the kernel has no rtnetlink.
    pub fn open() -> Result<Self> {
        Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(libc::NETLINK_ROUTE)))
            .and_then(|socket| socket.set_read_timeout(Some(Duration::from_secs(1))).map(|()| Self(socket)))
            .map_err(|error| Error::system("ask the kernel for routes (rtnetlink)", error))
    }

    /// The route that the kernel would take to `target`, through `device` if one is named.
    ///
    /// # Errors
    /// When there is none.
    pub fn route(&mut self, target: SocketAddr, device: Option<&str>) -> Result<Route> {
        let ip = target.ip();
        let failed = |error| Error::system(format!("find the route to {ip}"), error);
        let mut body = vec![family(ip), prefix_bits(ip), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        attribute(&mut body, libc::RTA_DST, &octets(ip));
        let scope = match target {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => Some(v6.scope_id()),
            _ => device.and_then(interface_index),
        };
        if let Some(interface) = scope {
            attribute(&mut body, libc::RTA_OIF, &interface.to_ne_bytes());
        }
        let answer = self.ask(libc::RTM_GETROUTE, 0, &body).map_err(failed)?;
        let attributes = answer.get(12..).unwrap_or_default();
        let interface = find(attributes, libc::RTA_OIF)
            .and_then(number)
            .ok_or_else(|| Error::failed(format!("the route to {ip} leads through no interface")))?;
        let next_hop = find(attributes, libc::RTA_GATEWAY).and_then(address).unwrap_or(ip);
        Ok(Route { interface, next_hop })
    }

    /// The interface of that number.
    ///
    /// # Errors
    /// When there is none.
    pub fn link(&mut self, interface: u32) -> Result<Link> {
        let mut body = vec![0_u8; 16];
        body[4..8].copy_from_slice(&interface.to_ne_bytes());
        let answer = self
            .ask(libc::RTM_GETLINK, 0, &body)
            .map_err(|error| Error::system(format!("look at the interface {interface}"), error))?;
        Ok(parse_link(&answer))
    }

    /// All interfaces of this network namespace.
    ///
    /// # Errors
    /// When the kernel does not list them.
    pub fn links(&mut self) -> Result<Vec<Link>> {
        let answers = self
            .list(libc::RTM_GETLINK, &[0; 16])
            .map_err(|error| Error::system("list the network interfaces", error))?;
        Ok(answers.iter().map(|answer| parse_link(answer)).collect())
    }

    /// The queueing disciplines of all interfaces, roots and children.
    ///
    /// # Errors
    /// When the kernel does not list them.
    pub fn queues(&mut self) -> Result<Vec<Queue>> {
        let answers = self
            .list(libc::RTM_GETQDISC, &[0; 20])
            .map_err(|error| Error::system("list the queueing disciplines", error))?;
        Ok(answers.iter().map(|answer| parse_queue(answer)).collect())
    }

    /// What the kernel knows of the hardware address of `ip` behind an interface; `None` when it never heard of it.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn neighbor_state(&mut self, interface: u32, ip: IpAddr) -> Result<Option<NeighborState>> {
        match self.ask(libc::RTM_GETNEIGH, 0, &neighbor(interface, ip)) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(Error::system(format!("look up the neighbor {ip}"), error)),
            // struct ndmsg: family, padding, interface, then the state.
            Ok(answer) => Ok(answer.get(8..).and_then(short).map(NeighborState)),
        }
    }

    /// Hardware address of the neighbour `ip`, resolved now if the kernel does not know it.
    ///
    /// # Errors
    /// When it does not answer, or `stop` is raised first.
    pub fn neighbour(&mut self, interface: u32, ip: IpAddr, stop: &Stop) -> Result<[u8; 6]> {
        let failed = |error| Error::system(format!("find the hardware address of {ip}"), error);
        let deadline = Instant::now() + NEIGHBOUR_WAIT;
        let body = neighbor(interface, ip);
        let mut resolve = Some(body.clone());
        while Instant::now() < deadline {
            if stop.is_raised() {
                return Err(Error::failed(format!("stopped before {ip} told its hardware address")));
            }
            // ENOENT: the kernel has never heard of it.
            let answer = match self.ask(libc::RTM_GETNEIGH, 0, &body) {
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Vec::new(),
                answer => answer.map_err(failed)?,
            };
            let hardware = find(answer.get(12..).unwrap_or_default(), libc::NDA_LLADDR);
            if let Some(address) = hardware.and_then(|bytes| bytes.first_chunk()) {
                return Ok(*address);
            }
            if let Some(mut request) = resolve.take() {
                request[10] = NTF_USE;
                let create = (libc::NLM_F_CREATE | libc::NLM_F_ACK) as u16;
                self.ask(libc::RTM_NEWNEIGH, create, &request).map_err(failed)?;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(Error::failed(format!("{ip} does not answer on this link: its hardware address is unknown")))
    }

    /// Sends one request and gives the body of the answer; an acknowledgement gives an empty one.
    fn ask(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<u8>> {
        self.request(kind, flags, body)?;
        let mut buffer = vec![0; ANSWER_BYTES];
        let len = self.0.read(&mut buffer)?;
        next_message(&mut &buffer[..len])?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Sends one request for a list and gives the bodies of its items.
    fn list(&mut self, kind: u16, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.request(kind, libc::NLM_F_DUMP as u16, body)?;
        let mut items = Vec::new();
        let mut buffer = vec![0; ANSWER_BYTES];
        loop {
            let len = self.0.read(&mut buffer)?;
            let mut messages = &buffer[..len];
            while !messages.is_empty() {
                match next_message(&mut messages)? {
                    Some(item) => items.push(item),
                    None => return Ok(items),
                }
            }
        }
    }

    fn request(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        self.0.write_all(&message::request(kind, flags, body))
    }
}

/// Reads the body of an answer about an interface: `struct ifinfomsg` and attributes.
fn parse_link(answer: &[u8]) -> Link {
    let attributes = answer.get(16..).unwrap_or_default();
    let text = |kind| find(attributes, kind).map(text).unwrap_or_default();
    let hardware = find(attributes, libc::IFLA_ADDRESS).filter(|bytes| bytes.len() == 6);
    let stats = find(attributes, libc::IFLA_STATS64).unwrap_or_default();
    let counter = |index: usize| {
        stats
            .get(index * 8..)
            .and_then(|rest| rest.first_chunk())
            .map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    };
    Link {
        index: answer.get(4..).and_then(number).unwrap_or(0),
        name: text(libc::IFLA_IFNAME),
        address: hardware.and_then(|bytes| bytes.first_chunk()).copied(),
        mtu_bytes: find(attributes, libc::IFLA_MTU).and_then(number).unwrap_or(0),
        transmit_queues: find(attributes, libc::IFLA_NUM_TX_QUEUES).and_then(number).unwrap_or(1),
        counters: LinkCounters {
            rx_frames: counter(0),
            tx_frames: counter(1),
            rx_bytes: counter(2),
            tx_bytes: counter(3),
            rx_dropped: counter(6),
            tx_dropped: counter(7),
        },
    }
}

/// Reads the body of an answer about a queueing discipline: `struct tcmsg` and attributes.
fn parse_queue(answer: &[u8]) -> Queue {
    const TC_H_ROOT: u32 = u32::MAX;
    /// `TCA_STATS_QUEUE` within `TCA_STATS2` (linux/gen_stats.h): qlen, backlog, drops.
    const TCA_STATS_QUEUE: u16 = 3;
    let attributes = answer.get(20..).unwrap_or_default();
    let stats = find(attributes, libc::TCA_STATS2).and_then(|nested| find(nested, TCA_STATS_QUEUE));
    let stat = |at: usize| stats.and_then(|bytes| bytes.get(at..)).and_then(number).unwrap_or(0);
    Queue {
        interface: answer.get(4..).and_then(number).unwrap_or(0),
        kind: find(attributes, libc::TCA_KIND).map(text).unwrap_or_default(),
        is_root: answer.get(12..).and_then(number) == Some(TC_H_ROOT),
        waiting: stat(0),
        dropped: stat(8),
    }
}

/// A question about a neighbor: `struct ndmsg` and its address.
fn neighbor(interface: u32, ip: IpAddr) -> Vec<u8> {
    let mut body = vec![family(ip), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    body[4..8].copy_from_slice(&interface.to_ne_bytes());
    attribute(&mut body, libc::NDA_DST, &octets(ip));
    body
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn loopback_leads_through_lo() {
        let mut netlink = Netlink::open().unwrap();
        let route = netlink.route("127.0.0.1:9".parse().unwrap(), None).unwrap();
        let link = netlink.link(route.interface).unwrap();
        assert_eq!(link.name, "lo");
        assert_eq!(link.address, Some([0; 6]));
        assert!(link.mtu_bytes > 0);
    }

    #[test]
    fn an_interface_that_does_not_exist_is_an_error() {
        assert!(Netlink::open().unwrap().link(987_654).is_err());
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_panic(message in proptest::collection::vec(0_u8..40, 0..300)) {
            let mut rest = message.as_slice();
            while !rest.is_empty() && next_message(&mut rest).is_ok() {}
            let _ = parse_link(&message);
            let _ = parse_queue(&message);
        }
    }
}
