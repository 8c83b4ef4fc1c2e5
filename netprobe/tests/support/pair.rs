//! Two namespaces with a link between them.

use std::{net::SocketAddr, process::Command};

use super::{
    Server, Told, probe_through,
    tun::{Disturbance, Wire},
};

/// Two namespaces with a link between them, gone when dropped.
pub struct Pair {
    pub names: [String; 2],
    _wire: Option<Wire>,
}

pub fn run(words: &[&str]) -> bool {
    Command::new(words[0]).args(&words[1..]).output().is_ok_and(|output| output.status.success())
}

impl Pair {
    /// Two namespaces without a link; `None`, with the reason on standard error, where they can't be made.
    pub fn unlinked(tag: &str) -> Option<Self> {
        let pid = std::process::id();
        let names = [format!("np{tag}a{pid}"), format!("np{tag}b{pid}")];
        if !run(&["ip", "netns", "add", &names[0]]) {
            eprintln!("skipped: network namespaces need root and ip(8)");
            return None;
        }
        assert!(run(&["ip", "netns", "add", &names[1]]));
        Some(Self { names, _wire: None })
    }

    /// Linked by a veth pair.
    pub fn veth(tag: &str) -> Option<Self> {
        let pair = Self::unlinked(tag)?;
        let [one, other] = &pair.names;
        assert!(run(&[
            "ip", "-n", one, "link", "add", "v", "type", "veth", "peer", "name", "v", "netns", other
        ]));
        pair.bring_up();
        Some(pair)
    }

    /// Linked by a wire in user space that disturbs what the first one sends.
    pub fn disturbed(tag: &str, disturbance: Disturbance) -> Option<Self> {
        let mut pair = Self::unlinked(tag)?;
        let devices = pair.names.clone();
        match Wire::new([&devices[0], &devices[1]], disturbance) {
            Ok(wire) => pair._wire = Some(wire),
            Err(error) => {
                eprintln!("skipped: no tun device: {error}");
                return None;
            }
        }
        for device in &devices {
            assert!(run(&["ip", "link", "set", device, "netns", device]));
            assert!(run(&["ip", "-n", device, "link", "set", device, "name", "v"]));
        }
        pair.bring_up();
        Some(pair)
    }

    fn bring_up(&self) {
        for (name, address) in self.names.iter().zip(["10.99.7.1/24", "10.99.7.2/24"]) {
            assert!(run(&["ip", "-n", name, "addr", "add", address, "dev", "v"]));
            assert!(run(&["ip", "-n", name, "link", "set", "v", "up"]));
            assert!(run(&["ip", "-n", name, "link", "set", "lo", "up"]));
        }
    }

    pub fn server(&self, flags: &[&str]) -> Server {
        let address: SocketAddr = "10.99.7.2:12865".parse().unwrap();
        Server::start_at(address, &["ip", "netns", "exec", &self.names[1]], flags)
    }

    pub fn probe(&self, words: &[&str]) -> Told {
        probe_through(&["ip", "netns", "exec", &self.names[0]], words)
    }

    /// Sets the interface of end `end` "up" or "down".
    pub fn set_link(&self, end: usize, state: &str) {
        assert!(run(&["ip", "-n", &self.names[end], "link", "set", "v", state]));
    }

    /// Bytes that end `end` has received by its interface's own count.
    pub fn received_bytes(&self, end: usize) -> u64 {
        let words = ["netns", "exec", &self.names[end], "cat", "/sys/class/net/v/statistics/rx_bytes"];
        let output = Command::new("ip").args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for name in &self.names {
            run(&["ip", "netns", "del", name]);
        }
    }
}
