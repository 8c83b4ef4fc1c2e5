//! The way to a server: control connection, challenge, order, flows.

use std::{
    io::{self, Write},
    net::{SocketAddr, TcpStream},
    os::fd::AsFd,
};

use meter::{
    Error, ErrorKind, Result,
    address::{lacks_scope, scope_missing},
    clock,
    clock::SECOND_NS,
    control::Stop,
    tool::tell_people,
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{
    config::ProbeConfig,
    options::LocalOptions,
    protocol::{
        channel::{Channel, LONGEST_SILENCE},
        frame::{self, Assembler},
        hello::{Cookie, Hello},
        message::{Refusal, Reply, Request},
        order::{Order, Transport, Workload},
        report::{EndReport, IntervalReport},
        token::{Nonce, Side, Token},
    },
    sys::{self, WRITABLE, Waiting},
    workload::flow::{End, Flow, Link, Role},
};

/// How long the server may take for one answer, in nanoseconds.
const PATIENCE_NS: u64 = 10 * SECOND_NS;
/// Time between two hellos of a UDP flow, in nanoseconds.
const GREETING_NS: u64 = 50_000_000;
/// Longest wait without a look at the stop flag, in nanoseconds.
const TICK_NS: u64 = 20_000_000;

/// A server that has let this client in.
pub struct Server {
    channel: Channel,
    name: String,
    address: SocketAddr,
    stop: Stop,
}

impl Server {
    /// Connects and, where the server asks for it, proves that this end knows the token.
    ///
    /// # Errors
    /// When there is no server, or the token is missing or wrong.
    pub fn connect(config: &ProbeConfig, stop: Stop) -> Result<Self> {
        let token = config.token_file.as_deref().map(Token::read).transpose()?;
        if let Some(told) = config.token_file.as_deref().and_then(Token::exposure) {
            tell_people(format_args!("netprobe: warning: {told}"));
        }
        let (stream, address) = connect(&config.server, &stop)?;
        let broke = |error| Error::system(format!("talk to {}", config.server), error);
        (&stream).write_all(&Hello::Control.encode()).map_err(broke)?;
        let assembler = Assembler::new(frame::REPLY_LIMIT);
        let channel = Channel::new(stream, assembler, LONGEST_SILENCE).map_err(broke)?;
        let mut server = Self { channel, name: config.server.clone(), address, stop };
        server.authenticate(token.as_ref())?;
        Ok(server)
    }

    /// The server's name, as typed.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Address of this end of the control connection.
    #[must_use]
    pub fn local(&self) -> Option<SocketAddr> {
        self.channel.local().ok()
    }

    fn authenticate(&mut self, token: Option<&Token>) -> Result<()> {
        let Reply::Challenge { nonce: theirs, token_needed } = self.answer()? else {
            return Err(self.out_of_turn());
        };
        if !token_needed {
            return Ok(());
        }
        let Some(token) = token else {
            return Err(Error::unavailable(format!("{} needs a token: give --token-file FILE", self.name)));
        };
        let mut nonce = Nonce::default();
        sys::getrandom(&mut nonce.0).map_err(|error| Error::system("make a nonce", error))?;
        let proof = token.prove(Side::Client, &theirs, &nonce);
        self.send(&Request::Authenticate { nonce, proof })?;
        let Reply::Authenticated { proof } = self.answer()? else { return Err(self.out_of_turn()) };
        if token.verify(Side::Server, &theirs, &nonce, &proof) {
            return Ok(());
        }
        Err(Error::failed(format!(
            "{} does not know the token itself: not the server it should be",
            self.name
        )))
    }

    /// Orders a session and connects its flows; returns when the server is ready.
    ///
    /// # Errors
    /// When the server refuses, or goes away.
    pub fn open(&mut self, order: &Order, local: &LocalOptions) -> Result<Vec<Flow>> {
        self.send(&Request::Open(order.clone()))?;
        let Reply::Opened { cookie, ports } = self.answer()? else { return Err(self.out_of_turn()) };
        let Some(cookie) = parse_cookie(&cookie) else { return Err(self.out_of_turn()) };
        let Self { name, address, stop, .. } = &*self;
        let doors = Doors { name, address: *address, ports: &ports, cookie, order, local, stop };
        let flows = doors.flows().ok_or_else(|| self.out_of_turn())??;
        let deadline_ns = clock::now_ns() + PATIENCE_NS;
        while clock::now_ns() < deadline_ns {
            greet(&flows, order, cookie);
            match self.receive(clock::now_ns() + GREETING_NS)? {
                Some(Reply::Ready) => return Ok(flows),
                Some(_) => return Err(self.out_of_turn()),
                None if self.stop.is_raised() => break,
                None => {}
            }
        }
        Err(Error::failed(format!("{} did not become ready", self.name)))
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn send(&mut self, request: &Request) -> Result<()> {
        self.channel.send(request).map_err(|error| self.broke(error))
    }

    /// The server's answer to a request.
    ///
    /// # Errors
    /// When it refuses, goes away, takes longer than 10 s, or this end is stopped meanwhile.
    pub fn answer(&mut self) -> Result<Reply> {
        let deadline_ns = clock::now_ns() + PATIENCE_NS;
        while clock::now_ns() < deadline_ns {
            if let Some(reply) = self.receive(clock::now_ns() + TICK_NS)? {
                return Ok(reply);
            }
            if self.stop.is_raised() {
                return Err(Error::failed(format!("stopped before {} was ready", self.name)));
            }
        }
        Err(Error::failed(format!(
            "{} does not answer for 10 s: is `netprobe serve` what listens there?",
            self.name
        )))
    }

    /// The end's report after `stop`; intervals that were still on their way go to `interval`. Waits even when this end is stopped.
    ///
    /// # Errors
    /// When the server refuses, goes away, or takes longer than 10 s.
    pub fn report(&mut self, mut interval: impl FnMut(IntervalReport)) -> Result<EndReport> {
        let deadline_ns = clock::now_ns() + PATIENCE_NS;
        while let Some(reply) = self.receive(deadline_ns)? {
            match reply {
                Reply::Report(report) => return Ok(*report),
                Reply::Interval(late) => interval(late),
                Reply::Started => {}
                _ => return Err(self.out_of_turn()),
            }
        }
        Err(Error::failed(format!("{} gives no report for 10 s: is the link down?", self.name)))
    }

    /// What the server says next, if it says something before `deadline_ns`.
    ///
    /// # Errors
    /// When it refuses or goes away.
    pub fn receive(&mut self, deadline_ns: u64) -> Result<Option<Reply>> {
        match self.channel.receive(deadline_ns).map_err(|error| self.broke(error))? {
            Some(Reply::Refused { because, reason }) => Err(refused(&self.name, because, &reason)),
            reply => Ok(reply),
        }
    }

    /// An error for an answer that does not belong here.
    #[must_use]
    pub fn out_of_turn(&self) -> Error {
        Error::failed(format!(
            "{} does not follow the protocol: use the same version at both ends",
            self.name
        ))
    }

    fn broke(&self, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                Error::failed(format!("{} closed the control connection", self.name))
            }
            io::ErrorKind::TimedOut => Error::failed(format!(
                "{} was not heard of for {} s: is the link down?",
                self.name,
                LONGEST_SILENCE.as_secs()
            )),
            _ => Error::system(format!("the control connection to {} broke", self.name), error)
                .with_kind(ErrorKind::Failed),
        }
    }
}

fn refused(name: &str, because: Refusal, reason: &str) -> Error {
    let told = format!("{name} refuses: {reason}");
    match because {
        Refusal::Order => Error::bad_arguments(told),
        Refusal::Token | Refusal::Unavailable => Error::unavailable(told),
        Refusal::Busy | Refusal::Failed => Error::failed(told),
    }
}

/// Connects to `server`, a HOST:PORT as [`meter::address`] reads it.
fn connect(server: &str, stop: &Stop) -> Result<(TcpStream, SocketAddr)> {
    let address = meter::address::resolve(server)?;
    let connected = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
        .and_then(|socket| establish(&socket, address, stop).map(|()| socket));
    match connected {
        Ok(socket) => Ok((socket.into(), address)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            Err(Error::failed(format!("stopped before {server} was reached")))
        }
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) && lacks_scope(address) => {
            Err(scope_missing(address))
        }
        Err(error) => {
            Err(Error::system(format!("connect to {server}; is `netprobe serve` running there?"), error))
        }
    }
}

/// Connects `socket`, which blocks afterwards, and looks at the stop flag meanwhile.
///
/// # Errors
/// `Interrupted` when the flag was raised, `TimedOut` after 10 s, and what connect(2) gives.
fn establish(socket: &Socket, address: SocketAddr, stop: &Stop) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::from(address)) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
            let deadline_ns = clock::now_ns() + PATIENCE_NS;
            while sys::poll(&mut [Waiting::new(socket.as_fd(), WRITABLE)], TICK_NS)? == 0 {
                if stop.is_raised() {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                if clock::now_ns() >= deadline_ns {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
            socket.take_error()?.map_or(Ok(()), Err)?;
        }
        outcome => outcome?,
    }
    socket.set_nonblocking(false)
}

fn parse_cookie(text: &str) -> Option<Cookie> {
    let value = (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok())??;
    Some(value.to_be_bytes())
}

/// Where the flows of a session go.
struct Doors<'a> {
    name: &'a str,
    address: SocketAddr,
    ports: &'a [u16],
    cookie: Cookie,
    order: &'a Order,
    local: &'a LocalOptions,
    stop: &'a Stop,
}

impl Doors<'_> {
    /// All flows; `None` when the server named too few ports.
    fn flows(&self) -> Option<Result<Vec<Flow>>> {
        let to_port = |flow: u32| {
            let mut address = self.address;
            address.set_port(*self.ports.get(flow as usize)?);
            Some(address)
        };
        let links: Option<Vec<Result<Link>>> = (0..self.order.all_flows())
            .map(|flow| {
                Some(match self.order.workload {
                    Workload::Transactions { transport: Transport::Udp, .. } => {
                        self.datagrams(flow, to_port(flow)?)
                    }
                    Workload::Connections { .. } => Ok(Link::Address(to_port(0)?)),
                    Workload::Stream { .. } | Workload::Transactions { .. } => self.connection(flow),
                })
            })
            .collect();
        let flow = |(number, link)| Flow::new(link, Role::new(End::Client, self.order, number));
        Some(
            links?
                .into_iter()
                .collect::<Result<Vec<Link>>>()
                .map(|links| links.into_iter().enumerate().map(flow).collect()),
        )
    }

    fn connection(&self, flow: u32) -> Result<Link> {
        let failed = |error| Error::system(format!("connect flow {flow} to {}", self.name), error);
        let socket = self.socket(Type::STREAM, Protocol::TCP, flow, self.address)?;
        establish(&socket, self.address, self.stop).map_err(failed)?;
        (&socket).write_all(&Hello::Data { cookie: self.cookie, flow }.encode()).map_err(failed)?;
        Ok(Link::Connected(socket))
    }

    fn datagrams(&self, flow: u32, address: SocketAddr) -> Result<Link> {
        let failed = |error| Error::system(format!("connect flow {flow} to {address}"), error);
        let socket = self.socket(Type::DGRAM, Protocol::UDP, flow, address)?;
        socket.connect(&SockAddr::from(address)).map_err(failed)?;
        Ok(Link::Connected(socket))
    }

    fn socket(&self, kind: Type, protocol: Protocol, flow: u32, peer: SocketAddr) -> Result<Socket> {
        let socket = Socket::new(Domain::for_address(peer), kind, Some(protocol))
            .map_err(|error| Error::system(format!("make the socket of flow {flow}"), error))?;
        self.order.socket.apply(&socket)?;
        self.local.apply(&socket, peer, flow)?;
        Ok(socket)
    }
}

/// Says the hello of each UDP flow, as often as it takes: a datagram may get lost.
fn greet(flows: &[Flow], order: &Order, cookie: Cookie) {
    if !matches!(order.workload, Workload::Transactions { transport: Transport::Udp, .. }) {
        return;
    }
    for (flow, socket) in
        flows.iter().enumerate().filter_map(|(number, flow)| Some((number as u32, flow.connected()?)))
    {
        // What goes wrong here shows as a server that does not become ready.
        let _ = socket.send(&Hello::Data { cookie, flow }.encode());
    }
}
