//! The wires of the lab: a network namespace that is the world outside, with a bridge for the load and
//! one for the measured link, and a tap for each plug of the two machines.

use std::{
    io::Write,
    os::fd::OwnedFd,
    process::{Command, Stdio},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};

use domain::local::{enter, new_network_namespace};
use lab::tap;

/// The outside machine on the load network.
pub const OUTSIDE_LOAD: &str = "10.77.0.1/24";
/// The outside machine on the measured link.
pub const OUTSIDE_LINK: &str = "10.77.1.1/24";

/// The namespace and the plugs.
pub struct Wires {
    /// The world outside.
    pub network: Arc<OwnedFd>,
    /// The Xen host's plugs: load, measured link.
    pub xen: [OwnedFd; 2],
    /// The plugs of the machine without Xen: load, measured link.
    pub native: [OwnedFd; 2],
}

impl Wires {
    /// Makes all of it.
    pub fn make() -> Result<Self> {
        let network = Arc::new(new_network_namespace()?);
        let plug = |name: &str| tap::open(name, &network);
        let xen = [plug("xen-load")?, plug("xen-measured")?];
        let native = [plug("native-load")?, plug("native-measured")?];
        let mut batch = String::from("link set lo up\n");
        for (bridge, address) in [("load", OUTSIDE_LOAD), ("measured", OUTSIDE_LINK)] {
            batch += &format!(
                "link add {bridge} type bridge forward_delay 0 stp_state 0\naddress add {address} dev {bridge}\n\
                 link set xen-{bridge} master {bridge}\nlink set xen-{bridge} up\n\
                 link set native-{bridge} master {bridge}\nlink set native-{bridge} up\nlink set {bridge} up\n"
            );
        }
        let mut command = Command::new("ip");
        command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        enter(&mut command, Some(&network), &[]);
        let mut child = command.spawn().context("run `ip`; install iproute2")?;
        child.stdin.take().context("`ip` has no input")?.write_all(batch.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "`ip`: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(Self { network, xen, native })
    }
}
