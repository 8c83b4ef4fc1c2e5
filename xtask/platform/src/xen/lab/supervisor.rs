//! The process that stays: it holds the wires, starts both machines, and ends them — when told, when one
//! of them ends, when their time is over, or with who had them booted. Whatever ends it ends them too.

use std::{
    fs, io,
    net::TcpListener,
    os::fd::AsRawFd,
    path::PathBuf,
    process::Child,
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use meter::control::Control;
use meter::stderr::print_status;

use super::{
    machines::{self, Ports},
    wires::Wires,
};
use lab::folder::Folder;

/// What the supervisor is told once its machines may outlive who had them booted.
pub const STAY: &str = "stay";

/// Runs both machines for at most `limit`, and only as long as standard input is open, unless it says
/// [`STAY`]: Ctrl-C while they boot ends them too.
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
    let (letting_go, gone) = channel();
    thread::spawn(move || {
        let mut said = String::new();
        let stays = io::stdin().read_line(&mut said).is_ok() && said.trim() == STAY;
        letting_go.send(stays)
    });
    let why = loop {
        if gone.try_recv() == Ok(false) {
            break "who had them booted is gone".to_owned();
        }
        if stop.is_raised() {
            break "told to stop".to_owned();
        }
        if Instant::now() > deadline {
            break format!("their {} minutes are over", limit.as_secs() / 60);
        }
        if let Some(name) = machines.ended() {
            break format!("the machine `{name}` ended{}", last_words(folder, name));
        }
        thread::sleep(Duration::from_millis(100));
    };
    print_status(format_args!("the machines end: {why}"));
    drop(machines);
    fs::remove_file(folder.path("running.json")).context("remove running.json")
}

/// What QEMU or else the machine's console said last, and where there is more.
pub fn last_words(folder: &Folder, machine: &str) -> String {
    let paths = [format!("{machine}.qemu"), format!("{machine}.log")].map(|name| folder.path(&name));
    let last = |path: &PathBuf| {
        let text = String::from_utf8_lossy(&fs::read(path).ok()?).trim().to_owned();
        Some(text.lines().last()?.trim().to_owned())
    };
    let said = paths.iter().find_map(last).unwrap_or_else(|| "without a word".to_owned());
    let [qemu, console] = paths.map(|path| path.display().to_string());
    format!(": {said}; see {qemu} and {console}")
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
