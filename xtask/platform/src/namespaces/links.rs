//! The wires: a load network that every domain is on, and one measured link that attachments switch.
//!
//! The load network (10.77.0.0/24) reaches guests through a bridge in the control domain, or directly
//! where the plan says so. The measured link (10.77.1.0/24) is one interface, `eth1`: moved into the
//! measured domain, or left with the control domain, which bridges it to a virtual interface.

use std::{
    collections::BTreeMap,
    os::fd::{AsRawFd, OwnedFd},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use domain::{local::enter, shell::run};
use plan::{DomainSpec, Plan};

use super::settings::{At, Link};

/// Longest that a batch of `ip` may take.
const LIMIT: Duration = Duration::from_secs(30);
/// The outside machine's address on the measured link.
const PEER: &str = "10.77.1.1";
/// The measured domain's address there.
const MEASURED: &str = "10.77.1.2";

/// What the plan says of where a domain is.
fn at(domain: &DomainSpec) -> Result<At> {
    plan::section(&domain.at).context("a domain's `at`")
}

/// The namespaces and what is plugged into them.
pub(super) struct Links {
    networks: BTreeMap<String, Arc<OwnedFd>>,
    control: String,
    outside: String,
    /// Addresses on the load network.
    addresses: BTreeMap<String, String>,
    /// The measured domain and the kind of its link, once attached.
    attached: Option<(String, Link)>,
}

impl Links {
    /// Sets up loopback and the load network.
    pub(super) fn prepare(plan: &Plan, networks: BTreeMap<String, Arc<OwnedFd>>) -> Result<Self> {
        let control = plan.platform.control.get_ref().clone();
        let outside = plan.platform.outside.get_ref().clone();
        let mut links = Self { networks, control, outside, addresses: BTreeMap::new(), attached: None };
        for name in links.networks.keys() {
            links.ip(name, "link set lo up")?;
        }
        links.load_network(plan)?;
        Ok(links)
    }

    /// One address a domain; bridged ones share the wire between the outside and the control domain.
    fn load_network(&mut self, plan: &Plan) -> Result<()> {
        let (control, outside) = (self.control.clone(), self.outside.clone());
        self.ip(
            &control,
            &format!(
                "link add load-br type bridge forward_delay 0 stp_state 0\nlink set load-br up\n\
                 link add load-port type veth peer name load0 netns {}\n\
                 link set load-port master load-br\nlink set load-port up",
                self.path(&outside)
            ),
        )?;
        self.ip(&outside, "address add 10.77.0.1/24 dev load0\nlink set load0 up")?;
        self.addresses.insert(outside.clone(), "10.77.0.1".into());
        let others = plan.domains.iter().filter(|(name, _)| **name != outside);
        for (host, (name, domain)) in (2..).zip(others) {
            ensure!(host < 255, "the plan has more domains than the load network has addresses");
            let address = format!("10.77.0.{host}");
            let own = self.path(name);
            if *name == control {
                self.ip(name, &format!("address add {address}/24 dev load-br"))?;
            } else if at(domain)?.link == Link::Bridge {
                self.ip(
                    &control,
                    &format!(
                        "link add vif{host} type veth peer name eth0 netns {own}\n\
                         link set vif{host} master load-br\nlink set vif{host} up"
                    ),
                )?;
                self.ip(name, &format!("address add {address}/24 dev eth0\nlink set eth0 up"))?;
            } else {
                self.ip(
                    &outside,
                    &format!(
                        "link add load{host} type veth peer name eth0 netns {own}\nlink set load{host} up\n\
                         route add {address}/32 dev load{host} src 10.77.0.1"
                    ),
                )?;
                self.ip(
                    name,
                    &format!(
                        "address add {address}/32 dev eth0\nlink set eth0 up\nroute add 10.77.0.0/24 dev eth0"
                    ),
                )?;
            }
            self.addresses.insert(name.clone(), address);
        }
        Ok(())
    }

    /// Gives `measured` its link of that kind, and the words for arguments.
    pub(super) fn attach(&mut self, measured: &str, link: Link) -> Result<BTreeMap<String, String>> {
        let wanted = (measured.to_owned(), link);
        if self.attached.as_ref() != Some(&wanted) {
            self.detach()?;
            self.connect(measured, link)
                .with_context(|| format!("attach the measured link of `{measured}`"))?;
            self.attached = Some(wanted);
        }
        let mut words: BTreeMap<String, String> = self
            .addresses
            .iter()
            .map(|(name, address)| (format!("address.{name}"), address.clone()))
            .collect();
        words.insert("peer".into(), PEER.into());
        Ok(words)
    }

    /// Pulls the measured link's plug at the outside machine: both ends go, and the bridge with them.
    fn detach(&mut self) -> Result<()> {
        let Some((_, link)) = self.attached.take() else { return Ok(()) };
        self.ip(&self.outside, "link delete probe0")?;
        if link == Link::Bridge {
            self.ip(&self.control, "link delete vif1\nlink delete probe-br")?;
        }
        Ok(())
    }

    fn connect(&self, measured: &str, link: Link) -> Result<()> {
        let own = self.path(measured);
        let nic_owner = match link {
            Link::Direct => own.clone(),
            Link::Bridge => self.path(&self.control),
        };
        self.ip(
            &self.outside,
            &format!(
                "link add probe0 type veth peer name eth1 netns {nic_owner}\n\
                 address add {PEER}/24 dev probe0\nlink set probe0 up"
            ),
        )?;
        if link == Link::Bridge {
            self.ip(
                &self.control,
                &format!(
                    "link add probe-br type bridge forward_delay 0 stp_state 0\nlink set probe-br up\n\
                     link set eth1 master probe-br\nlink set eth1 up\n\
                     link add vif1 type veth peer name vif-eth1 netns {own}\n\
                     link set vif1 master probe-br\nlink set vif1 up"
                ),
            )?;
        }
        let interface = if link == Link::Bridge { "vif-eth1" } else { "eth1" };
        self.ip(measured, &format!("address add {MEASURED}/24 dev {interface}\nlink set {interface} up"))
    }

    /// A path under which `ip` finds a domain's namespace.
    fn path(&self, domain: &str) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.networks[domain].as_raw_fd())
    }

    /// Runs a batch of `ip` commands inside a domain.
    fn ip(&self, domain: &str, batch: &str) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(["-batch", "-"]);
        enter(&mut command, Some(&self.networks[domain]), &[]);
        let said = run(&mut command, format!("{batch}\n").as_bytes(), LIMIT)
            .context("set up links; `ip` is part of iproute2")?;
        if said.code != Some(0) {
            bail!("`ip` in domain `{domain}`: {}", said.complaint());
        }
        Ok(())
    }
}
