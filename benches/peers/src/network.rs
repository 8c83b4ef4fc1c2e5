//! Two network namespaces with a veth pair between them, held by file descriptor: nothing of them
//! outlives this process, whatever happens to it.
#![allow(unsafe_code)] // A thread enters a namespace to read its counters: setns(2).

use std::{
    fs, io,
    io::Write,
    os::fd::{AsRawFd, OwnedFd},
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::workbench::{Lacking, Workbench};
use domain::local::{enter, new_network_namespace};

/// Address of the sending end.
pub const NEAR_ADDRESS: &str = "10.79.0.1";
/// Address of the receiving end.
pub const FAR_ADDRESS: &str = "10.79.0.2";
/// Name of the interface at either end.
pub const INTERFACE: &str = "veth0";
/// How long a server may take to listen.
const LISTEN_PATIENCE: Duration = Duration::from_secs(5);

/// What may be on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packets {
    /// Segmentation offload is off: every datagram is a packet of its own, as on a real wire.
    Real,
    /// As a veth pair is: many segments may cross in one frame.
    Offloaded,
}

/// A transport protocol, as the file in /proc/net is called.
#[derive(Clone, Copy, Debug)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// The two ends.
pub struct Wire {
    /// The sending end.
    pub near: Arc<OwnedFd>,
    /// The receiving end; the same namespace for a loopback.
    pub far: Arc<OwnedFd>,
    /// The address under which the far end is reached.
    pub address: &'static str,
    /// The interface on which the far end receives.
    pub interface: &'static str,
}

impl Wire {
    /// A veth pair between two new namespaces.
    pub fn veth(packets: Packets) -> Result<Self> {
        let (near, far) = (namespace()?, namespace()?);
        let peer = format!("/proc/{}/fd/{}", std::process::id(), far.as_raw_fd());
        ip(
            &near,
            &format!(
                "link set lo up\nlink add {INTERFACE} type veth peer name {INTERFACE} netns {peer}\n\
                 address add {NEAR_ADDRESS}/24 dev {INTERFACE}\nlink set {INTERFACE} up"
            ),
        )?;
        ip(
            &far,
            &format!("link set lo up\naddress add {FAR_ADDRESS}/24 dev {INTERFACE}\nlink set {INTERFACE} up"),
        )?;
        if packets == Packets::Real {
            for end in [&near, &far] {
                ip(end, &format!("link set {INTERFACE} gso_max_segs 1"))?;
            }
        }
        Ok(Self { near, far, address: FAR_ADDRESS, interface: INTERFACE })
    }

    /// The loopback of a new namespace: both ends are the same place.
    pub fn loopback() -> Result<Self> {
        let near = namespace()?;
        ip(&near, "link set lo up")?;
        Ok(Self { far: Arc::clone(&near), near, address: "127.0.0.1", interface: "lo" })
    }

    /// Packets that the far end's interface has received.
    pub fn packets_received(&self) -> Result<u64> {
        let table = read_inside(&self.far, "/proc/thread-self/net/dev")?;
        received(&table, self.interface)
            .with_context(|| format!("{} is not in /proc/net/dev", self.interface))
    }

    /// Returns when a socket of the far end listens on `port`; `check` may find that it never will.
    pub fn wait_for_listener(
        &self,
        workbench: &Workbench,
        transport: Transport,
        port: u16,
        check: impl Fn() -> Result<()>,
    ) -> Result<()> {
        let files = match transport {
            Transport::Tcp => ["tcp", "tcp6"],
            Transport::Udp => ["udp", "udp6"],
        };
        let deadline = Instant::now() + LISTEN_PATIENCE;
        while Instant::now() < deadline {
            for file in files {
                // A kernel without IPv6 lacks the second.
                let table =
                    read_inside(&self.far, &format!("/proc/thread-self/net/{file}")).unwrap_or_default();
                if listens(&table, transport, port) {
                    return Ok(());
                }
            }
            check()?;
            workbench.rest(Duration::from_millis(5))?;
        }
        bail!("nothing listened on port {port} within {LISTEN_PATIENCE:?}")
    }
}

fn namespace() -> Result<Arc<OwnedFd>> {
    let refused = |error: &anyhow::Error| {
        let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        error.chain().filter_map(|cause| cause.downcast_ref()).any(denied)
    };
    match new_network_namespace() {
        Ok(namespace) => Ok(Arc::new(namespace)),
        Err(error) if refused(&error) => Err(Lacking(format!("{error:#}")).into()),
        Err(error) => Err(error),
    }
}

/// Runs a batch of `ip` commands inside a namespace.
fn ip(namespace: &Arc<OwnedFd>, batch: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    enter(&mut command, Some(namespace), &[]);
    let mut child = command.spawn().context("run `ip`; install iproute2")?;
    child.stdin.take().context("`ip` has no input")?.write_all(format!("{batch}\n").as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("`ip` said: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Reads a file as it is seen from inside a namespace.
fn read_inside(namespace: &Arc<OwnedFd>, path: &str) -> Result<String> {
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            // SAFETY: the descriptor is open, and only this thread, which ends right after, moves.
            if unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } < 0 {
                return Err(io::Error::last_os_error());
            }
            fs::read_to_string(path)
        });
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
    .with_context(|| format!("read {path} in a namespace"))
}

/// Packets received by an interface, from /proc/net/dev.
fn received(table: &str, interface: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Whether /proc/net/{tcp,udp} shows a socket that waits for anyone on `port`.
fn listens(table: &str, transport: Transport, port: u16) -> bool {
    let state = match transport {
        Transport::Tcp => "0A",
        Transport::Udp => "07",
    };
    table.lines().skip(1).any(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (local, state_there) = (words.next(), words.nth(1));
        local.is_some_and(|local| local.ends_with(&format!(":{port:04X}"))) && state_there == Some(state)
    })
}

#[cfg(test)]
mod tests {
    use meter::control::Stop;

    use super::*;

    #[test]
    fn counters_are_read_by_interface() {
        let table = "Inter-|   Receive\n face |bytes    packets errs\n    lo:     100       7    0 0 0\n veth0: 5 9 0\n";
        assert_eq!(
            (received(table, "lo"), received(table, "veth0"), received(table, "eth0")),
            (Some(7), Some(9), None)
        );
    }

    #[test]
    fn a_listener_is_told_from_a_connection() {
        let head = "  sl  local_address rem_address   st\n";
        let listener = format!("{head}   0: 0100007F:1451 00000000:0000 0A 0:0\n");
        let connection = format!("{head}   0: 0100007F:1451 0100007F:9999 01 0:0\n");
        assert!(listens(&listener, Transport::Tcp, 0x1451));
        assert!(!listens(&listener, Transport::Tcp, 0x1452));
        assert!(!listens(&connection, Transport::Tcp, 0x1451));
    }

    #[test]
    fn a_datagram_crosses_the_wire_and_is_counted() {
        let wire = match Wire::veth(Packets::Real) {
            Ok(wire) => wire,
            Err(error) => {
                println!("skipped: {error:#}");
                return;
            }
        };
        let before = wire.packets_received().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let workbench = Workbench::new(folder.path(), folder.path().into(), Stop::new()).unwrap();
        let ping =
            workbench.program("ping").words("-c 3 -i 0.01 -W 1").args([wire.address]).inside(&wire.near);
        if let Err(error) = ping.run() {
            println!("skipped: {error:#}");
            return;
        }
        assert!(wire.packets_received().unwrap() >= before + 3);
    }
}
