//! The open sessions: where a data connection finds its own.

use std::{
    collections::HashMap,
    net::{IpAddr, Shutdown, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, SyncSender},
    },
};

use crate::peers::same_host;
use crate::protocol::hello::Cookie;

/// A data connection with the number of its flow.
pub type Delivery = (u32, TcpStream);

#[derive(Debug)]
struct Entry {
    peer: IpAddr,
    /// The session's control connection, to wake it.
    control: TcpStream,
    /// `None` while no data connections are expected.
    deliveries: Option<(Cookie, SyncSender<Delivery>)>,
}

/// The sessions of a server, at most a fixed number.
#[derive(Clone, Debug)]
pub struct Roster {
    entries: Arc<Mutex<HashMap<u64, Entry>>>,
    limit: usize,
}

/// A place in the roster; it is given back when dropped.
#[derive(Debug)]
pub struct Place {
    roster: Roster,
    number: u64,
}

impl Roster {
    /// An empty roster with room for `limit` sessions.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self { entries: Arc::default(), limit: limit as usize }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a session with `peer` over `control`; `number` must be new. `None` when all are
    /// taken.
    #[must_use]
    pub fn take_place(&self, number: u64, peer: IpAddr, control: TcpStream) -> Option<Place> {
        let mut entries = self.lock();
        if entries.len() >= self.limit {
            return None;
        }
        entries.insert(number, Entry { peer, control, deliveries: None });
        Some(Place { roster: self.clone(), number })
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there is no session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Wakes all sessions that wait for their clients: they find that these say no more.
    pub fn wake_all(&self) {
        for entry in self.lock().values() {
            // One whose client is gone is awake already.
            let _ = entry.control.shutdown(Shutdown::Read);
        }
    }

    /// Hands a data connection to the session that `cookie` names, if that one has the same peer and
    /// still waits for connections; says whether it was taken.
    #[must_use]
    pub fn deliver(&self, cookie: &Cookie, flow: u32, stream: TcpStream, peer: IpAddr) -> bool {
        let entries = self.lock();
        let found = entries.values().find_map(|entry| match &entry.deliveries {
            Some((own, sender)) if own == cookie && same_host(entry.peer, peer) => Some(sender),
            _ => None,
        });
        // A full queue means more connections than flows: a client that breaks the protocol.
        found.is_some_and(|sender| sender.try_send((flow, stream)).is_ok())
    }
}

impl Place {
    /// Expects up to `connections` data connections that name `cookie`.
    #[must_use]
    pub fn expect(&self, cookie: Cookie, connections: usize) -> Receiver<Delivery> {
        let (sender, receiver) = mpsc::sync_channel(connections);
        if let Some(entry) = self.roster.lock().get_mut(&self.number) {
            entry.deliveries = Some((cookie, sender));
        }
        receiver
    }

    /// Expects no more data connections.
    pub fn expect_no_more(&self) {
        if let Some(entry) = self.roster.lock().get_mut(&self.number) {
            entry.deliveries = None;
        }
    }

    /// How many sessions there are beside this one.
    #[must_use]
    pub fn others(&self) -> u32 {
        (self.roster.len() as u32).saturating_sub(1)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.roster.lock().remove(&self.number);
    }
}
