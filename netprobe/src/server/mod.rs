//! The server: one thread waits on all the connections that are not yet part of a session; each
//! session has threads of its own.

pub mod door;
pub mod gather;
pub mod roster;
pub mod session;
pub mod tally;

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::SocketAddr,
    sync::Arc,
    thread,
    time::Duration,
};

use meter::{Error, Result, address, clock, control::Stop, session::Session as Telling, tool::tell_people};
use mio::{
    Events, Interest, Poll, Token as Id,
    net::{TcpListener, TcpStream},
};

use crate::{
    config::{Access, ServeConfig},
    peers,
    protocol::{
        channel::Channel,
        frame::Assembler,
        message::Refusal,
        order::Order,
        token::{Nonce, Token},
    },
    sys,
};
use door::{Decision, Door};
use roster::Roster;
use session::Session;
use tally::{ServeSummary, Tally};

/// How often the stop flag and the deadlines are looked at.
const TICK: Duration = Duration::from_millis(50);
/// Connections accepted before those that are pending, the deadlines and the stop flag are looked at again: a
/// flood of connections must not keep the server from them.
const ACCEPT_AT_ONCE: usize = 64;
const LISTENER: Id = Id(usize::MAX);

/// Listens until stopped.
///
/// # Errors
/// When it can't listen at the address, or the token can't be read.
pub fn serve(config: &ServeConfig, telling: &mut Telling<'_>) -> Result<()> {
    let mut config = config.clone();
    // Any free port is chosen before `start`, which tells it.
    let chosen = (config.listen.port() == 0).then(|| Server::listen(&config, telling.stop())).transpose()?;
    if let Some(server) = &chosen {
        config.listen = server.address()?;
    }
    if !telling.start(&config)? {
        return Ok(());
    }
    if let Access::Token { file } = &config.access
        && let Some(told) = Token::exposure(file)
    {
        tell_people(format_args!("netprobe: warning: {told}"));
    }
    sys::raise_file_limit();
    let mut server = chosen.map_or_else(|| Server::listen(&config, telling.stop()), Ok)?;
    telling.ready()?;
    let begun_ns = clock::now_ns();
    let outcome = server.run(config.duration_ns.map(|duration| begun_ns.saturating_add(duration)));
    server.wait_for_sessions();
    let elapsed_s = (clock::now_ns() - begun_ns) as f64 / 1e9;
    let summary = ServeSummary { elapsed_s, counts: server.tally.counts() };
    telling.summary(&summary, Vec::new(), Vec::new())?;
    outcome
}

/// A connection that has not said all yet.
struct Pending {
    stream: TcpStream,
    peer: SocketAddr,
    door: Door,
    deadline_ns: u64,
}

struct Server {
    config: ServeConfig,
    token: Option<Arc<Token>>,
    poll: Poll,
    listener: TcpListener,
    /// By number of arrival: the first is the oldest.
    pending: BTreeMap<usize, Pending>,
    arrivals: usize,
    roster: Roster,
    tally: Arc<Tally>,
    stop: Stop,
}

impl Server {
    fn listen(config: &ServeConfig, stop: Stop) -> Result<Self> {
        let token = match &config.access {
            Access::Token { file } => Some(Arc::new(Token::read(file)?)),
            Access::Loopback | Access::ClosedNetwork => None,
        };
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::InvalidInput if address::lacks_scope(config.listen) => {
                address::scope_missing(config.listen)
            }
            io::ErrorKind::AddrInUse => Error::system(
                format!("listen on {}; another server may run there: choose another --listen", config.listen),
                error,
            ),
            _ => Error::system(format!("listen on {}", config.listen), error),
        };
        let poll = Poll::new().map_err(failed)?;
        let mut listener = TcpListener::bind(config.listen).map_err(failed)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(failed)?;
        Ok(Self {
            config: config.clone(),
            token,
            poll,
            listener,
            pending: BTreeMap::new(),
            arrivals: 0,
            roster: Roster::new(config.limits.sessions),
            tally: Arc::default(),
            stop,
        })
    }

    /// Where it listens.
    fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(|error| Error::system("tell where the server listens", error))
    }

    fn run(&mut self, until_ns: Option<u64>) -> Result<()> {
        let mut events = Events::with_capacity(256);
        let mut more_wait = false;
        while !self.stop.is_raised() && until_ns.is_none_or(|until| clock::now_ns() < until) {
            match self.poll.poll(&mut events, Some(if more_wait { Duration::ZERO } else { TICK })) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(Error::system("wait for connections", error));
                }
                _ => {}
            }
            // Every time, not only on its event: after a failed accept there would be none.
            more_wait = self.accept_waiting();
            for event in events.iter().filter(|event| event.token() != LISTENER) {
                self.listen_to(event.token().0);
            }
            self.turn_away_the_slow();
        }
        Ok(())
    }

    /// Accepts what waits, [`ACCEPT_AT_ONCE`] at most; says whether there may be more.
    fn accept_waiting(&mut self) -> bool {
        for _ in 0..ACCEPT_AT_ONCE {
            match self.listener.accept() {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // The client gave up while it waited: the next one may not have.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    self.tally.count(|counts| &mut counts.accept_errors);
                    return false;
                }
            }
        }
        true
    }

    fn admit(&mut self, mut stream: TcpStream, peer: SocketAddr) {
        self.tally.count(|counts| &mut counts.connections);
        let allowed = match self.config.access {
            Access::Token { .. } => true,
            Access::Loopback | Access::ClosedNetwork => peers::is_closed_network(peer.ip()),
        };
        if !allowed {
            self.tally.count(|counts| &mut counts.foreign);
            return;
        }
        if self.pending.len() >= self.config.limits.pending_connections as usize {
            self.pending.pop_first();
            self.tally.count(|counts| &mut counts.displaced);
        }
        let mut nonce = Nonce::default();
        let number = self.arrivals;
        self.arrivals += 1;
        let registered = sys::getrandom(&mut nonce.0)
            .and_then(|()| self.poll.registry().register(&mut stream, Id(number), Interest::READABLE));
        if registered.is_err() {
            self.tally.count(|counts| &mut counts.accept_errors);
            return;
        }
        let door = Door::new(self.token.clone(), nonce);
        let deadline_ns = clock::now_ns().saturating_add(self.config.limits.hello_ns);
        self.pending.insert(number, Pending { stream, peer, door, deadline_ns });
        // What came with the connection has been reported to nobody.
        self.listen_to(number);
    }

    /// Reads what a pending connection has sent, until there is no more or it is decided.
    fn listen_to(&mut self, number: usize) {
        let Some(mut pending) = self.pending.remove(&number) else { return };
        loop {
            let mut bytes = [0; 4096];
            let appetite = pending.door.appetite();
            let count = match pending.stream.read(&mut bytes[..appetite]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.pending.insert(number, pending);
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(0) | Err(_) => return self.tally.count(|counts| &mut counts.malformed),
                Ok(count) => count,
            };
            match pending.door.receive(&bytes[..count]) {
                Decision::Wait => {}
                Decision::Say(words) => {
                    if !say(&pending.stream, &words) {
                        return self.tally.count(|counts| &mut counts.malformed);
                    }
                }
                Decision::Refuse(because, words) => return self.refuse(&pending.stream, because, &words),
                Decision::Hang => return self.tally.count(|counts| &mut counts.malformed),
                Decision::Data { cookie, flow } => {
                    let peer = pending.peer.ip();
                    if !self.roster.deliver(&cookie, flow, self.release(pending.stream), peer) {
                        self.tally.count(|counts| &mut counts.foreign);
                    }
                    return;
                }
                Decision::Open(order, assembler) => return self.open(number, pending, *order, assembler),
            }
        }
    }

    /// Starts the thread of a session.
    fn open(&mut self, number: usize, pending: Pending, order: Order, assembler: Assembler) {
        let control = self.release(pending.stream);
        let Ok(waker) = control.try_clone() else {
            return self.tally.count(|counts| &mut counts.broken);
        };
        let Some(place) = self.roster.take_place(number as u64, pending.peer.ip(), waker) else {
            let limit = self.config.limits.sessions;
            let reason = format!("all {limit} sessions of this server are taken; try again later");
            if let Decision::Refuse(because, words) = door::refuse(Refusal::Busy, reason) {
                self.refuse(&control, because, &words);
            }
            return;
        };
        let idle = Duration::from_nanos(self.config.limits.idle_ns);
        let Ok(channel) = Channel::new(control, assembler, idle) else {
            return self.tally.count(|counts| &mut counts.broken);
        };
        let (config, stop, tally) = (self.config.clone(), self.stop.clone(), Arc::clone(&self.tally));
        let spawned = thread::Builder::new()
            .name(format!("session {number}"))
            .stack_size(256 << 10)
            .spawn(move || Session::new(config, channel, place, stop, tally).serve(order));
        if spawned.is_err() {
            self.tally.count(|counts| &mut counts.broken);
        }
    }

    fn refuse(&self, stream: impl Write, because: Refusal, words: &[u8]) {
        say(stream, words);
        self.tally.count(|counts| match because {
            Refusal::Token => &mut counts.refused_token,
            Refusal::Busy => &mut counts.refused_busy,
            Refusal::Order | Refusal::Unavailable | Refusal::Failed => &mut counts.refused_order,
        });
    }

    /// Takes a connection out of the poll.
    fn release(&self, mut stream: TcpStream) -> std::net::TcpStream {
        // It can only fail for a socket that was never registered.
        let _ = self.poll.registry().deregister(&mut stream);
        stream.into()
    }

    fn turn_away_the_slow(&mut self) {
        let now = clock::now_ns();
        while let Some(oldest) = self.pending.first_entry().filter(|oldest| oldest.get().deadline_ns < now) {
            oldest.remove();
            self.tally.count(|counts| &mut counts.too_slow);
        }
    }

    /// The sessions see the stop flag by themselves; this gives them the time to say so.
    fn wait_for_sessions(&self) {
        self.stop.raise();
        self.roster.wake_all();
        let patience = clock::now_ns() + clock::SECOND_NS;
        while !self.roster.is_empty() && clock::now_ns() < patience {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Sends a few words to a connection whose buffer is empty; one that has no room for them is not worth
/// waiting for.
fn say(mut stream: impl Write, words: &[u8]) -> bool {
    matches!(stream.write(words), Ok(count) if count == words.len())
}
