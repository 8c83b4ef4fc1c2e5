//! A server at one end of a wire and a client at the other, each on its own CPU.

use anyhow::{Context, Result};

use super::{
    network::{Transport, Wire},
    process::{Finished, Job},
    workbench::Workbench,
};

/// How a server ends.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// With its only client.
    ByItself,
    /// At this signal.
    AtSignal(libc::c_int),
}

/// Both programs and where they meet.
pub struct Duo<'a> {
    /// The wire.
    pub wire: &'a Wire,
    /// Where the server listens: it is ready when it does.
    pub listens: (Transport, u16),
    /// The server, which is put at the far end.
    pub server: Job,
    /// How it ends.
    pub end: End,
    /// The client, which is put at the near end.
    pub client: Job,
}

/// Both programs after their end.
pub struct Ended<T> {
    /// The server.
    pub server: Finished,
    /// The client.
    pub client: Finished,
    /// What was looked at meanwhile.
    pub seen: T,
}

impl Duo<'_> {
    /// Lets both work.
    pub fn run(self, workbench: &Workbench) -> Result<Ended<()>> {
        self.run_while(workbench, || Ok(()))
    }

    /// Lets both work and looks at something while the client runs.
    pub fn run_while<T>(self, workbench: &Workbench, look: impl FnOnce() -> Result<T>) -> Result<Ended<T>> {
        let server = self.server.inside(&self.wire.far).on_cpus(&[workbench.far_cpu]).start()?;
        let (transport, port) = self.listens;
        self.wire.wait_for_listener(workbench, transport, port, || server.check_alive())?;
        let client = self.client.inside(&self.wire.near).on_cpus(&[workbench.near_cpu]).start()?;
        let seen = look()?;
        let client = client.wait()?.succeeded()?;
        let server = match self.end {
            End::ByItself => server.wait()?.succeeded(),
            // Whatever a server of others makes of a signal: the client had what it wanted.
            End::AtSignal(signal) => server.finish(signal),
        };
        Ok(Ended { server: server.context("the server")?, client, seen })
    }
}
