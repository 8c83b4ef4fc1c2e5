//! The flows of a session: how the server gets them, of each kind from its client alone.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::mpsc::Receiver,
    time::Duration,
};

use meter::{Error, Result, clock};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::roster::{Delivery, Place};
use crate::{
    peers::same_host,
    protocol::{
        hello::{self, Cookie, Hello},
        order::{Order, Transport, Workload},
    },
    workload::{
        connections,
        flow::{End, Flow, Link, Role},
        transfer::again,
    },
};

/// Longest wait for one flow before the control connection is looked at.
const TICK: Duration = Duration::from_millis(20);

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// The way by which the flows of one session come.
pub enum Gathering {
    /// As connections to the server's own port, through the roster.
    Connections {
        /// Where they are delivered.
        deliveries: Receiver<Delivery>,
        /// Those that have come.
        sockets: Vec<Option<TcpStream>>,
    },
    /// As datagrams that carry the cookie, each to a socket of its own.
    Datagrams {
        /// The sockets, and whether each has met its client.
        sockets: Vec<(UdpSocket, bool)>,
    },
    /// One by one during the measurement, at a listener.
    Listener(TcpListener),
}

/// Whose flows are awaited.
#[derive(Clone, Copy)]
pub struct Client {
    /// Its address.
    pub peer: IpAddr,
    /// Address of this end to which it connected.
    pub local: SocketAddr,
    /// What its flows must name.
    pub cookie: Cookie,
}

impl Gathering {
    /// Prepares for the flows of `order`.
    ///
    /// # Errors
    /// When a socket can't be made, or refuses its options.
    pub fn new(order: &Order, client: Client, place: &Place) -> Result<Self> {
        let flows = order.all_flows() as usize;
        let bound = |kind, protocol| bind(kind, protocol, client.local, order);
        match order.workload {
            Workload::Transactions { transport: Transport::Udp, .. } => {
                let sockets = (0..flows).map(|_| Ok((bound(Type::DGRAM, Protocol::UDP)?.into(), false)));
                Ok(Self::Datagrams { sockets: sockets.collect::<Result<_>>()? })
            }
            Workload::Connections { .. } => {
                let listener = bound(Type::STREAM, Protocol::TCP)?;
                let failed = |error| Error::system("listen for the session's connections", error);
                listener.listen(BACKLOG).map_err(failed)?;
                connections::prepare_listener(&listener).map_err(failed)?;
                Ok(Self::Listener(listener.into()))
            }
            Workload::Stream { .. } | Workload::Transactions { .. } => Ok(Self::Connections {
                deliveries: place.expect(client.cookie, flows),
                sockets: (0..flows).map(|_| None).collect(),
            }),
        }
    }

    /// Ports that the client must be told.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        let port = |address: io::Result<SocketAddr>| address.ok().map(|address| address.port());
        match self {
            Self::Connections { .. } => Vec::new(),
            Self::Datagrams { sockets } => {
                sockets.iter().filter_map(|(socket, _)| port(socket.local_addr())).collect()
            }
            Self::Listener(listener) => port(listener.local_addr()).into_iter().collect(),
        }
    }

    /// Waits a little for flows; says how many are missing.
    ///
    /// # Errors
    /// When a flow comes twice, or is one too many.
    pub fn wait(&mut self, client: Client) -> Result<usize> {
        match self {
            Self::Listener(_) => Ok(0),
            Self::Connections { deliveries, sockets } => {
                if let Ok((flow, socket)) = deliveries.recv_timeout(TICK) {
                    match sockets.get_mut(flow as usize) {
                        Some(place @ None) => *place = Some(socket),
                        _ => {
                            return Err(Error::bad_arguments(format!(
                                "flow {flow} came twice, or is one too many"
                            )));
                        }
                    }
                }
                Ok(sockets.iter().filter(|socket| socket.is_none()).count())
            }
            Self::Datagrams { sockets } => {
                for (flow, (socket, met)) in sockets.iter_mut().enumerate() {
                    if !*met {
                        *met = meet(socket, flow as u32, client)
                            .map_err(|error| Error::system("wait for a flow", error))?;
                    }
                }
                Ok(sockets.iter().filter(|(_, met)| !met).count())
            }
        }
    }

    /// The flows, once none is missing.
    ///
    /// # Errors
    /// When a socket refuses its options.
    pub fn finish(self, order: &Order) -> Result<Vec<Flow>> {
        let flow = |(number, link)| Flow::new(link, Role::new(End::Server, order, number));
        let links: Vec<Link> = match self {
            Self::Connections { sockets, .. } => {
                let sockets = sockets.into_iter().flatten().map(Socket::from);
                sockets
                    .map(|socket| order.socket.apply(&socket).map(|()| Link::Connected(socket)))
                    .collect::<Result<_>>()?
            }
            Self::Datagrams { sockets } => sockets
                .into_iter()
                .map(|(socket, _)| drain(&socket).map(|()| Link::Connected(socket.into())))
                .collect::<io::Result<_>>()
                .map_err(|error| Error::system("prepare a UDP socket", error))?,
            Self::Listener(listener) => (0..order.flows)
                .map(|_| listener.try_clone().map(|listener| Link::Listening(listener.into())))
                .collect::<io::Result<_>>()
                .map_err(|error| Error::system("share the listener", error))?,
        };
        Ok(links.into_iter().enumerate().map(flow).collect())
    }
}

/// A socket at this end's address, at any port.
fn bind(kind: Type, protocol: Protocol, local: SocketAddr, order: &Order) -> Result<Socket> {
    let failed = |error| Error::system(format!("make a socket at {}", local.ip()), error);
    let mut address = local;
    address.set_port(0);
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol)).map_err(failed)?;
    order.socket.apply(&socket)?;
    socket.bind(&SockAddr::from(address)).map_err(failed)?;
    Ok(socket)
}

/// Waits a little for the hello of a flow's client, and connects the socket to it: from then on the kernel
/// lets no one else in, and nothing goes anywhere else. Says whether it came.
fn meet(socket: &UdpSocket, flow: u32, client: Client) -> io::Result<bool> {
    socket.set_read_timeout(Some(TICK))?;
    let mut bytes = [0; hello::LENGTH + 1];
    let (count, from) = match socket.recv_from(&mut bytes) {
        Ok(received) => received,
        Err(error) if again(&error) => return Ok(false),
        Err(error) => return Err(error),
    };
    let hello = bytes.first_chunk().filter(|_| count == hello::LENGTH).map(Hello::decode);
    let is_ours = hello == Some(Ok(Hello::Data { cookie: client.cookie, flow }));
    if is_ours && same_host(from.ip(), client.peer) {
        socket.connect(from)?;
        return Ok(true);
    }
    Ok(false)
}

/// Throws away hellos that came again.
fn drain(socket: &UdpSocket) -> io::Result<()> {
    socket.set_read_timeout(None)?;
    socket.set_nonblocking(true)?;
    let begun_ns = clock::now_ns();
    // Bounded, for a client may go on sending.
    while clock::now_ns() < begun_ns + 1_000_000 && socket.recv(&mut [0; hello::LENGTH]).is_ok() {}
    socket.set_nonblocking(false)
}
