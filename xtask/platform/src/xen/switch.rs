//! Where the measured devices are, and how they get elsewhere.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use meter::stderr::print_status;

use super::{Xen, xl::QUESTION};
use crate::find::{self, Mark};
use domain::shell::Shell;
use plan::Device;

/// The name of the virtual disk in the measured guest.
const VIRTUAL_DISK: &str = "xvdm";
/// The address of the virtual interface, in Xen's own range.
const VIRTUAL_MAC: &str = "00:16:3e:69:6f:6d";
/// The bridge between the measured interface and the virtual one.
const BRIDGE: &str = "iomatrix0";
/// How long a device that comes back may take to be seen by the control domain.
const COME_BACK: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 25 });
/// How long the control domain may take to look its PCI bus through.
const RESCAN: Duration = Duration::from_secs(90);
/// How long the control domain may take to answer again, at the end.
const RECONNECT: Duration = Duration::from_secs(60);
/// How long a link may take to come up.
const CARRIER: Duration = Duration::from_secs(30);

/// Where a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// With the control domain's own driver.
    Control,
    /// There, with a virtual device of this domain in front of it.
    Virtual(String),
    /// Passed through to this domain.
    Passed(String),
}

/// A measured device.
#[derive(Clone, Debug)]
pub struct Held {
    mark: Mark,
    /// Its PCI function, known once the device was seen.
    function: Option<String>,
    at: At,
    /// Whether xen-pciback had it before.
    was_assignable: bool,
}

impl Held {
    /// A device not yet seen.
    pub fn new(mark: Mark) -> Self {
        Self { mark, function: None, at: At::Control, was_assignable: false }
    }
}

impl Xen {
    fn held(&self, device: Device) -> &Held {
        match device {
            Device::Disk => &self.disk,
            Device::Network => &self.nic,
        }
    }

    fn held_mut(&mut self, device: Device) -> &mut Held {
        match device {
            Device::Disk => &mut self.disk,
            Device::Network => &mut self.nic,
        }
    }

    /// The outside machine's address on the measured link, and the length of its network.
    pub(super) fn peer(&self) -> (&str, &str) {
        self.settings.peer.split_once('/').unwrap_or((&self.settings.peer, "24"))
    }

    /// Brings `device` to where it is `wanted`, seen from the domain that is `measured`; gives the path
    /// of a disk there.
    pub(super) fn switch(&mut self, measured: &str, device: Device, wanted: &At) -> Result<Option<String>> {
        let own = self.own_mark(measured, device);
        if own.is_none() {
            // Two functions passed through at once are not reliable: the other one goes back first.
            let other = if device == Device::Disk { Device::Network } else { Device::Disk };
            if matches!(self.held(other).at, At::Passed(_)) {
                self.timed("switch", |xen| xen.release(other))?;
            }
            if self.held(device).at != *wanted {
                self.timed("switch", |xen| {
                    xen.release(device)?;
                    xen.take(device, wanted).with_context(|| format!("switch the {device:?} to {wanted:?}"))
                })?;
                self.held_mut(device).at = wanted.clone();
            }
        }
        let mark = own.unwrap_or_else(|| match (wanted, device) {
            (At::Virtual(_), Device::Disk) => Mark::Named(VIRTUAL_DISK.into()),
            (At::Virtual(_), Device::Network) => Mark::Mac(VIRTUAL_MAC.into()),
            _ => self.held(device).mark.clone(),
        });
        self.timed("appear", |xen| xen.wait_for_device(measured, device, wanted, &mark))
            .with_context(|| format!("in `{measured}`"))
    }

    /// Waits until the domain that is `measured` can use the device; gives the path of a disk there.
    fn wait_for_device(
        &self,
        measured: &str,
        device: Device,
        wanted: &At,
        mark: &Mark,
    ) -> Result<Option<String>> {
        let place = self.place(measured)?;
        let name = find::wait(place, mark)?;
        match device {
            Device::Disk => Ok(Some(format!("/dev/{name}"))),
            Device::Network => {
                let address = self.link_address(measured, wanted)?;
                link_up(place, &name, Some(&address))?;
                Ok(None)
            }
        }
    }

    /// The mark of a device that a machine beside the Xen host has for itself.
    fn own_mark(&self, domain: &str, device: Device) -> Option<Mark> {
        let at = &self.at[domain];
        match device {
            Device::Disk => at.disk.clone().map(Mark::Serial),
            Device::Network => at.nic.clone().map(Mark::Mac),
        }
    }

    /// An address on the measured link that only this way to it has: no one's neighbour table is stale.
    fn link_address(&self, domain: &str, at: &At) -> Result<String> {
        let (peer, length) = self.peer();
        let (network, host) = peer.rsplit_once('.').context("the peer's address is not IPv4")?;
        let host: usize = host.parse().context("the peer's address is not IPv4")?;
        let place = self.at.keys().position(|name| name == domain).unwrap_or_default();
        let way = usize::from(matches!(at, At::Virtual(_)));
        let own = (host + 1 + 2 * place + way) % 255;
        Ok(format!("{network}.{own}/{length}"))
    }

    /// Gives a device that the control domain has to where it is wanted.
    fn take(&mut self, device: Device, wanted: &At) -> Result<()> {
        let name = find::wait(self.control(), &self.held(device).mark)?;
        let class = if device == Device::Disk { "block" } else { "net" };
        let function = find::pci_function(self.control(), class, &name)?;
        self.held_mut(device).function = Some(function.clone());
        match (wanted, device) {
            (At::Control, _) => Ok(()),
            (At::Passed(domain), _) => {
                let guest = self.guest_of(domain)?;
                self.xl().make_assignable(&function)?;
                self.xl().pci_attach(&guest, &function)
            }
            (At::Virtual(domain), Device::Disk) => {
                let script = self.settings.block_script.as_ref().map(|path| format!("script={path},"));
                let script = script.unwrap_or_default();
                let device = format!("vdev={VIRTUAL_DISK},access=rw,{script}target=/dev/{name}");
                self.xl().switch("block-attach", &self.guest_of(domain)?, &[device])
            }
            (At::Virtual(domain), Device::Network) => {
                let bridge = format!(
                    "ip link show {BRIDGE} >/dev/null 2>&1 || ip link add {BRIDGE} type bridge forward_delay 0\n\
                     ip addr flush dev {name}; ip link set {name} master {BRIDGE} && ip link set {BRIDGE} up"
                );
                self.control().ask(&bridge, QUESTION)?;
                link_up(self.control(), &name, None)?;
                let mut device = vec![format!("mac={VIRTUAL_MAC}"), format!("bridge={BRIDGE}")];
                device.extend(self.settings.vif_script.as_ref().map(|path| format!("script={path}")));
                self.xl().switch("network-attach", &self.guest_of(domain)?, &device)
            }
        }
    }

    fn guest_of(&self, domain: &str) -> Result<String> {
        self.at[domain].guest.clone().with_context(|| format!("`{domain}` is no guest"))
    }

    /// Brings a device back to the control domain's own driver.
    fn release(&mut self, device: Device) -> Result<()> {
        let held = self.held(device).clone();
        match (&held.at, device) {
            (At::Control, Device::Disk) => {}
            (At::Control, Device::Network) => self.forget_link()?,
            (At::Virtual(domain), Device::Disk) => {
                let guest = self.guest_of(domain)?;
                self.xl().switch("block-detach", &guest, &[VIRTUAL_DISK.into()])?;
                self.wait_until_gone(domain, &Mark::Named(VIRTUAL_DISK.into()))?;
            }
            (At::Virtual(domain), Device::Network) => {
                let guest = self.guest_of(domain)?;
                self.xl().switch("network-detach", &guest, &[VIRTUAL_MAC.into()])?;
                self.wait_until_gone(domain, &Mark::Mac(VIRTUAL_MAC.into()))?;
                self.forget_link()?;
            }
            (At::Passed(domain), _) => {
                let function = held.function.context("its PCI function is not known")?;
                let guest = self.guest_of(domain)?;
                self.let_go(domain, device, &held.mark)?;
                self.xl().pci_detach(&guest, &function)?;
                self.xl().make_own(&function)?;
                self.come_home(device)?;
            }
        }
        self.held_mut(device).at = At::Control;
        Ok(())
    }

    /// Waits until the control domain has the device; gives its name there. A disk must also be readable:
    /// a controller that lost its interrupts on the way is taken off the bus and found again.
    fn come_home(&self, device: Device) -> Result<String> {
        let held = self.held(device);
        let look = |limit| -> Result<String> {
            let name = find::wait_for(self.control(), &held.mark, limit)?;
            if device == Device::Disk {
                find::prove_readable(self.control(), &name)?;
            }
            Ok(name)
        };
        let broken = match look(COME_BACK) {
            Ok(name) => return Ok(name),
            Err(error) => error.context("in the control domain"),
        };
        let Some(function) = &held.function else { return Err(broken) };
        print_status(format_args!(
            "{function} does not work ({broken:#}): it is taken off the bus and found again"
        ));
        let devices = "/sys/bus/pci";
        let script = format!(
            "if [ -e {devices}/devices/{function} ]; then echo 1 >{devices}/devices/{function}/remove; fi; \
             sleep 1; echo 1 >{devices}/rescan"
        );
        self.control().ask(&script, RESCAN).context("in the control domain")?;
        look(COME_BACK).context("in the control domain, after its bus was looked through again")
    }

    /// Unbinds the guest's driver: it switches the function's interrupts off itself, which after the
    /// detachment nobody could; the control domain's driver would then wait for interrupts in vain.
    fn let_go(&self, domain: &str, device: Device, mark: &Mark) -> Result<()> {
        let place = self.place(domain)?;
        let Some(name) = find::look(place, mark)? else { return Ok(()) };
        let class = if device == Device::Disk { "block" } else { "net" };
        let function = find::pci_function(place, class, &name)?;
        place
            .ask(&format!("echo {function} >/sys/bus/pci/devices/{function}/driver/unbind"), QUESTION)
            .map(drop)
    }

    /// Takes addresses and bridge off the measured interface in the control domain.
    fn forget_link(&self) -> Result<()> {
        if let Some(name) = find::look(self.control(), &self.nic.mark)? {
            let script = format!(
                "ip addr flush dev {name}; ip link set {name} nomaster; ip link del {BRIDGE} 2>&1 || true"
            );
            self.control().ask(&script, QUESTION)?;
        }
        Ok(())
    }

    fn wait_until_gone(&self, domain: &str, mark: &Mark) -> Result<()> {
        let deadline = Instant::now() + CARRIER;
        while find::look(self.place(domain)?, mark)?.is_some() {
            if Instant::now() > deadline {
                bail!("the virtual device does not leave `{domain}`");
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Takes the devices back that a destroyed guest had.
    pub(super) fn take_back_from(&mut self, domain: &str) -> Result<()> {
        for device in [Device::Disk, Device::Network] {
            let held = self.held(device).clone();
            match &held.at {
                At::Passed(owner) if owner == domain => {
                    if let Some(function) = &held.function {
                        self.xl().make_own(function)?;
                    }
                    self.come_home(device)?;
                }
                At::Virtual(owner) if owner == domain => {
                    if device == Device::Network {
                        self.forget_link()?;
                    }
                }
                _ => continue,
            }
            self.held_mut(device).at = At::Control;
        }
        Ok(())
    }

    /// Brings both devices to the control domain, wherever an earlier run or a broken switch left them.
    pub(super) fn reclaim(&mut self) -> Result<()> {
        let guests: Vec<(String, String)> =
            self.at.iter().filter_map(|(name, at)| Some((name.clone(), at.guest.clone()?))).collect();
        for (domain, guest) in &guests {
            if !self.xl().exists(guest)? {
                continue;
            }
            // A function that a guest has for itself is none of ours as long as ours are at home.
            let mut away = false;
            for device in [Device::Disk, Device::Network] {
                away |= find::look(self.control(), &self.held(device).mark)?.is_none();
            }
            let number = vdev_number(VIRTUAL_DISK).to_string();
            let occupied = self.xl().shows("block-list", guest, &number)?
                || self.xl().shows("network-list", guest, VIRTUAL_MAC)?
                || away && !self.xl().pci_list(guest)?.is_empty();
            if occupied {
                self.revive(domain).with_context(|| format!("`{domain}` had a measured device already"))?;
            }
        }
        for device in [Device::Disk, Device::Network] {
            self.held_mut(device).at = At::Control;
            self.find_home(device)?;
        }
        self.forget_link()
    }

    /// Sees to it that the control domain has the device; also when xen-pciback held it.
    fn find_home(&mut self, device: Device) -> Result<()> {
        let mark = self.held(device).mark.clone();
        if find::look(self.control(), &mark)?.is_none() {
            for function in &self.xl().assignable()? {
                self.xl().make_own(function)?;
                thread::sleep(Duration::from_millis(500));
                if find::look(self.control(), &mark)?.is_some() {
                    self.held_mut(device).was_assignable = self.held(device).function.is_none();
                    break;
                }
                self.xl().make_assignable(function)?;
            }
        }
        let name = self.come_home(device)?;
        let class = if device == Device::Disk { "block" } else { "net" };
        self.held_mut(device).function = Some(find::pci_function(self.control(), class, &name)?);
        Ok(())
    }

    /// Counters of the back ends in the control domain: what went through virtual devices.
    pub(super) fn backends(&self, seen: &mut BTreeMap<String, f64>) -> Result<()> {
        let script = "for f in /sys/bus/xen-backend/devices/vbd-*/statistics/??_sect \
                      /sys/class/net/vif*/statistics/[rt]x_packets; do [ -r $f ] && echo $f $(cat $f); done; true";
        let text = self.control().ask(script, QUESTION)?;
        for (path, count) in text.lines().filter_map(|line| line.split_once(' ')) {
            let parts: Vec<&str> = path.split('/').collect();
            if let ([.., owner, _, key], Ok(count)) = (&parts[..], count.parse()) {
                seen.insert(format!("{owner}.{key}"), count);
            }
        }
        Ok(())
    }

    /// Puts devices and pinning back to where they were before. Failure is no reason to leave it at that:
    /// what can't be released in order is looked for and taken.
    pub(super) fn restore(&mut self) -> Result<()> {
        if let Some(gone) = &self.gone {
            bail!("{gone}");
        }
        self.wait_for_control(RECONNECT)?;
        let in_order = !self.unsure && {
            let released = self.release(Device::Disk).and_then(|()| self.release(Device::Network));
            if let Err(error) = &released {
                print_status(format_args!("the measured devices are looked for and taken back: {error:#}"));
            }
            released.is_ok()
        };
        if !in_order {
            self.reclaim()?;
        }
        for device in [Device::Disk, Device::Network] {
            let held = self.held(device).clone();
            if let (true, Some(function)) = (held.was_assignable, &held.function) {
                self.xl().make_assignable(function)?;
            }
        }
        let now = self.xl().vcpus()?;
        for vcpu in &self.before {
            let same = |other: &&super::Vcpu| (&other.guest, other.number) == (&vcpu.guest, vcpu.number);
            if now.iter().find(same).is_some_and(|other| other.affinity != vcpu.affinity) {
                self.xl().pin(&vcpu.guest, vcpu.number, &vcpu.affinity)?;
            }
        }
        Ok(())
    }
}

/// The number of a virtual disk on Xen's bus (xen-vbd-interface(7)): `xvdb` is 51728.
fn vdev_number(name: &str) -> u32 {
    let letter = name.bytes().last().unwrap_or(b'a');
    202 << 8 | u32::from(letter - b'a') << 4
}

/// Gives an interface its address and waits for its link.
fn link_up(place: &dyn Shell, name: &str, address: Option<&str>) -> Result<()> {
    let address = address.map(|address| format!("ip addr add {address} dev {name};")).unwrap_or_default();
    let flush = if address.is_empty() { String::new() } else { format!("ip addr flush dev {name};") };
    place.ask(&format!("{flush} {address} ip link set {name} up"), QUESTION)?;
    let deadline = Instant::now() + CARRIER;
    while place.ask(&format!("cat /sys/class/net/{name}/carrier"), QUESTION)? != "1" {
        if Instant::now() > deadline {
            bail!("{name} has no link after {} s", CARRIER.as_secs());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
