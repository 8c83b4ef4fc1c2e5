//! The way to a server: control connection, challenge, order, flows.

use std::{
    io::{self, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

use meter::{Error, ErrorKind, Result, clock, clock::SECOND_NS, control::Stop};

use crate::{
    config::ProbeConfig,
    protocol::{
        channel::Channel,
        frame::{self, Assembler},
        hello::{Cookie, Hello},
        message::{Order, Refusal, Reply, Request},
        token::{Nonce, Side, Token},
    },
    sys,
    workload::{End, Flow, Role},
};

/// How long the server may take for one answer, in nanoseconds.
const PATIENCE_NS: u64 = 10 * SECOND_NS;
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
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
        let (stream, address) = connect(&config.server)?;
        let broke = |error| Error::system(format!("talk to {}", config.server), error);
        (&stream).write_all(&Hello::Control.encode()).map_err(broke)?;
        let channel = Channel::new(stream, Assembler::new(frame::REPLY_LIMIT)).map_err(broke)?;
        let mut server = Self { channel, name: config.server.clone(), address, stop };
        server.authenticate(token.as_ref())?;
        Ok(server)
    }

    /// The server's name, as typed.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
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
    pub fn open(&mut self, order: &Order) -> Result<Vec<Flow>> {
        self.send(&Request::Open(order.clone()))?;
        let Reply::Opened { cookie } = self.answer()? else { return Err(self.out_of_turn()) };
        let Some(cookie) = parse_cookie(&cookie) else { return Err(self.out_of_turn()) };
        let flows = (0..order.connections())
            .map(|flow| self.connect_flow(order, cookie, flow))
            .collect::<Result<_>>()?;
        let Reply::Ready = self.answer()? else { return Err(self.out_of_turn()) };
        Ok(flows)
    }

    fn connect_flow(&self, order: &Order, cookie: Cookie, flow: u32) -> Result<Flow> {
        let failed = |error| Error::system(format!("connect flow {flow} to {}", self.name), error);
        let socket = TcpStream::connect_timeout(&self.address, CONNECT_LIMIT).map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        (&socket).write_all(&Hello::Data { cookie, flow }.encode()).map_err(failed)?;
        Ok(Flow::new(socket, Role::new(End::Client, order, flow as usize)))
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
        Err(Error::failed(format!("{} does not answer", self.name)))
    }

    /// The end's report after `stop`, whatever else was on its way. Waits even when this end is stopped.
    ///
    /// # Errors
    /// When the server refuses, goes away, or takes longer than 10 s.
    pub fn report(&mut self) -> Result<crate::protocol::message::EndReport> {
        let deadline_ns = clock::now_ns() + PATIENCE_NS;
        while let Some(reply) = self.receive(deadline_ns)? {
            match reply {
                Reply::Report(report) => return Ok(*report),
                Reply::Interval(_) | Reply::Started => {}
                _ => return Err(self.out_of_turn()),
            }
        }
        Err(Error::failed(format!("{} gives no report", self.name)))
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

/// Connects to the first address of `server` that answers.
fn connect(server: &str) -> Result<(TcpStream, SocketAddr)> {
    let addresses = server.to_socket_addrs().map_err(|error| {
        Error::bad_arguments(format!("`{server}` is no HOST:PORT that can be found")).with_source(error)
    })?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => last = Some(error),
        }
    }
    let told = format!("connect to {server}; is `netprobe serve` running there?");
    Err(match last {
        Some(error) => Error::system(told, error),
        None => Error::bad_arguments(format!("`{server}` has no address")),
    })
}

fn parse_cookie(text: &str) -> Option<Cookie> {
    let value = (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok())??;
    Some(value.to_be_bytes())
}
