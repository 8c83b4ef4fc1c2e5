//! The process that stays: it holds the wires, starts both machines, and ends them — when told, when one
//! of them ends, or when their time is over. Whatever ends it ends them too.

use std::{
    fs,
    net::TcpListener,
    os::fd::AsRawFd,
    process::Child,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use meter::control::Control;

use super::{
    folder::Folder,
    machines::{self, Ports},
    wires::Wires,
};

/// Runs both machines for at most `limit`.
pub fn run(folder: &Folder, limit: Duration) -> Result<()> {
    let control = Control::install(false)?;
    let stop = control.stop();
    let wires = Wires::make()?;
    let ports = Ports { dom0: free_port()?, native: free_port()? };
    fs::write(folder.path("ssh_config"), ssh_config(folder, &ports)).context("write ssh_config")?;
    let mut machines = Machines(vec![
        ("xen", machines::start_xen(folder, &wires, &ports)?),
        ("native", machines::start_native(folder, &wires, &ports)?),
    ]);
    folder.announce(wires.network.as_raw_fd())?;
    let deadline = Instant::now() + limit;
    let why = loop {
        if stop.is_raised() {
            break "told to stop".to_owned();
        }
        if Instant::now() > deadline {
            break format!("their {} minutes are over", limit.as_secs() / 60);
        }
        if let Some(name) = machines.ended() {
            break format!("the machine `{name}` ended; see {name}.log and {name}.qemu");
        }
        thread::sleep(Duration::from_millis(100));
    };
    eprintln!("the machines end: {why}");
    drop(machines);
    fs::remove_file(folder.path("running.json")).context("remove running.json")
}

/// The machines; dropping them ends them.
struct Machines(Vec<(&'static str, Child)>);

impl Machines {
    /// One that has ended by itself.
    fn ended(&mut self) -> Option<&'static str> {
        let ended = |(name, child): &mut (&'static str, Child)| match child.try_wait() {
            Ok(None) => None,
            _ => Some(*name),
        };
        self.0.iter_mut().find_map(ended)
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for (_, machine) in &mut self.0 {
            let _ = machine.kill();
            let _ = machine.wait();
        }
    }
}

/// A port of loopback that nobody listens on.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("find a free port on loopback")?;
    Ok(listener.local_addr()?.port())
}

/// How `ssh` reaches the lab: keys of its own, nothing of the user's.
fn ssh_config(folder: &Folder, ports: &Ports) -> String {
    let (key, hosts) = (folder.text("key"), folder.text("known_hosts"));
    let mut text = String::new();
    for (name, address, way) in [
        ("dom0", "127.0.0.1", format!("Port {}", ports.dom0)),
        ("native", "127.0.0.1", format!("Port {}", ports.native)),
        ("a", "10.78.0.3", "ProxyJump xen-lab-dom0".to_owned()),
        ("b", "10.78.0.4", "ProxyJump xen-lab-dom0".to_owned()),
    ] {
        text +=
            &format!("Host xen-lab-{name}\n  HostName {address}\n  HostKeyAlias xen-lab-{name}\n  {way}\n");
    }
    text += &format!(
        "Host xen-lab-*\n  User root\n  IdentityFile \"{key}\"\n  IdentitiesOnly yes\n\
         \x20 UserKnownHostsFile \"{hosts}\"\n  StrictHostKeyChecking yes\n  BatchMode yes\n  LogLevel ERROR\n"
    );
    text
}
