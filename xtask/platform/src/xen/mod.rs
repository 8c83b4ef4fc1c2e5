//! A Xen host: Domain-0 here or over SSH, guests over SSH, one disk and one interface that are switched
//! between Domain-0, a virtual device of the measured guest, and PCI passthrough to it.
//!
//! Devices are switched while the guest runs, one passed through at a time; a guest that does not
//! answer is destroyed and created again. At the end everything is where it was.

mod doctor;
#[cfg(test)]
mod fake;
mod health;
mod lab;
mod settings;
mod switch;
#[cfg(test)]
mod tests;
mod xl;

use std::{collections::BTreeMap, path::Path, time::Instant};

use anyhow::{Context, Result, bail};
use meter::stderr::print_status;
use settings::{Devices, Parts, Settings, Way};
use switch::{At, Held};
use xl::{Vcpu, Xl};

use super::{
    Kind, Lab, Observed, Platform,
    doctor::Finding,
    find,
    place::{self, Place},
};
use domain::{Domain, Process, RunContext, shell::Shell};
use plan::{AttachmentSpec, Cell, Device, Plan, Sources};

/// The least CPU time that a domain with a load must have got while the probe ran, in seconds.
const LEAST_VCPU_S: f64 = 0.05;

/// The platform's entry in the registry.
pub(crate) struct XenHost;

impl Kind for XenHost {
    fn name(&self) -> &'static str {
        "xen"
    }

    fn check(&self, plan: &Plan, sources: &Sources) -> Result<()> {
        settings::check(plan, sources)
    }

    fn prepare(&self, plan: &Plan, context: &RunContext, folder: &Path) -> Result<Box<dyn Platform>> {
        Ok(Box::new(Xen::prepare(plan, context, folder)?))
    }

    fn doctor(&self, plan: &Plan, cells: &[Cell]) -> Result<Vec<Finding>> {
        doctor::look(plan, cells)
    }

    fn lab(&self) -> Option<&dyn Lab> {
        Some(&lab::XenLab)
    }
}

/// A Xen host, the guests of a plan, and machines beside it.
pub struct Xen {
    settings: Settings,
    control: String,
    outside: String,
    places: BTreeMap<String, Box<dyn Place>>,
    /// Holds this Xen host's lock.
    turn: Option<Box<dyn Process>>,
    at: BTreeMap<String, settings::At>,
    /// CPUs of the host, as the plan wants them for each domain.
    pinning: BTreeMap<String, Vec<usize>>,
    /// CPUs inside of each domain.
    cpus: BTreeMap<String, String>,
    disk: Held,
    nic: Held,
    /// Whether a switch broke off, so that nobody knows where the devices are.
    unsure: bool,
    /// Why the control domain can't be had any more, if so.
    gone: Option<String>,
    /// How long the parts of the last switch took, in seconds.
    parts: BTreeMap<&'static str, f64>,
    /// Domains that can't be had any more, and why.
    lost: BTreeMap<String, String>,
    before: Vec<Vcpu>,
    /// What the control domain's kernel said last when memory ran out.
    out_of_memory: Vec<String>,
    label: String,
    notes: Vec<String>,
}

impl Xen {
    /// Connects to every domain, finds the measured devices, pins the virtual CPUs. `folder` gets the
    /// host's own account of itself.
    pub fn prepare(plan: &Plan, context: &RunContext, folder: &Path) -> Result<Self> {
        let parts = Parts::of(plan)?;
        let mut places = BTreeMap::new();
        for (name, at) in &parts.at {
            let config = parts.settings.ssh_config.as_deref();
            let place = place::open(at.ssh.as_deref(), at.namespace.as_deref(), config, context)
                .with_context(|| format!("domain `{name}`"))?;
            places.insert(name.clone(), place);
        }
        let mut xen = Self::with_places(plan, places)?;
        xen.describe(folder)?;
        Ok(xen)
    }

    /// The platform on places that are connected.
    fn with_places(plan: &Plan, places: BTreeMap<String, Box<dyn Place>>) -> Result<Self> {
        let Parts { settings, at, .. } = Parts::of(plan)?;
        let mut pinning = BTreeMap::new();
        for (name, domain) in &plan.domains {
            let cpus: meter::cpulist::CpuList = domain.cpus.parse().map_err(anyhow::Error::msg)?;
            pinning.insert(name.clone(), cpus.cpus().to_vec());
        }
        let disk = Held::new(find::Mark::Serial(settings.disk.clone()));
        let nic = Held::new(find::Mark::Mac(settings.nic.clone()));
        let (control, outside) =
            (plan.platform.control.get_ref().clone(), plan.platform.outside.get_ref().clone());
        let mut xen = Self {
            settings,
            control,
            outside,
            places,
            turn: None,
            at,
            pinning,
            cpus: BTreeMap::new(),
            disk,
            nic,
            unsure: false,
            gone: None,
            parts: BTreeMap::new(),
            lost: BTreeMap::new(),
            before: Vec::new(),
            out_of_memory: Vec::new(),
            label: String::new(),
            notes: Vec::new(),
        };
        xen.places[&xen.control].ensure_alive().with_context(|| health::unreachable(&xen.control))?;
        xen.take_turn()?;
        xen.before = xen.xl().vcpus().context("ask the toolstack; is this a Xen control domain?")?;
        xen.out_of_memory = xen.last_out_of_memory()?;
        xen.find_everyone()?;
        xen.reclaim()?;
        for name in xen.at.keys() {
            xen.pin(name)?;
        }
        for (name, place) in &xen.places {
            xen.cpus.insert(name.clone(), place.cpus()?.to_string());
        }
        Ok(xen)
    }

    /// Label and notes from what the host tells of itself; all of it goes into `xen.txt`.
    fn describe(&mut self, folder: &Path) -> Result<()> {
        let info = self.xl().info()?;
        let word = |key: &str| info.get(key).cloned().unwrap_or_else(|| "?".into());
        let version = format!("Xen {}.{}", word("xen_major"), word("xen_minor"));
        let vendor = self.control().ask("cat /sys/class/dmi/id/sys_vendor || true", xl::QUESTION)?;
        self.label = if vendor.contains("QEMU") {
            format!("{version} EMULATED by QEMU: the paths are real, the times are an emulator's")
        } else {
            format!("{version}, guests over SSH")
        };
        self.notes.push(format!("{version}, scheduler {}, {} CPUs", word("xen_scheduler"), word("nr_cpus")));
        for vcpu in self.xl().vcpus()? {
            self.notes.push(format!("vCPU {} of {} on CPU {}", vcpu.number, vcpu.guest, vcpu.affinity));
        }
        let all = "xl info; xl vcpu-list; xl list -v; xl sched-credit2 2>/dev/null; \
                   echo 'assignable, and held by xen-pciback:'; xl pci-assignable-list; \
                   cat /sys/bus/pci/drivers/pciback/slots 2>/dev/null; cat /proc/cmdline; uname -a";
        let mut text = self.control().ask(all, xl::QUESTION)?;
        for config in self.at.values().filter_map(|at| at.config.as_ref()) {
            let config = domain::shell::quote(config);
            text += &self.control().ask(&format!("echo; echo {config}:; cat {config}"), xl::QUESTION)?;
        }
        std::fs::write(folder.join("xen.txt"), text + "\n").context("write xen.txt")
    }

    fn place(&self, name: &str) -> Result<&dyn Place> {
        let place = self.places.get(name).with_context(|| format!("no domain is named `{name}`"))?;
        match self.lost.get(name) {
            Some(reason) => bail!("domain `{name}` is lost: {reason}"),
            None => Ok(&**place),
        }
    }

    /// Does `work`, whose time is part of the switch.
    fn timed<T>(&mut self, part: &'static str, work: impl FnOnce(&mut Self) -> T) -> T {
        let began = Instant::now();
        let done = work(self);
        *self.parts.entry(part).or_default() += began.elapsed().as_secs_f64();
        done
    }

    /// How an attachment gives a device.
    fn way(&self, attachment: &AttachmentSpec, device: Device) -> Result<Way> {
        let devices: Devices = plan::section(&attachment.device).context("an attachment's `device`")?;
        Ok(devices.way(device))
    }

    fn control(&self) -> &dyn Shell {
        &*self.places[&self.control]
    }

    fn xl(&self) -> Xl<'_> {
        Xl(self.control())
    }

    /// The toolstack's name of a domain of the plan; machines beside the Xen host have none.
    fn guest_name(&self, domain: &str) -> Option<&str> {
        if domain == self.control { Some("Domain-0") } else { self.at[domain].guest.as_deref() }
    }

    /// Gives the vCPUs of a domain one CPU of the plan each, in turn.
    fn pin(&self, domain: &str) -> Result<()> {
        let Some(guest) = self.guest_name(domain) else { return Ok(()) };
        let cpus = &self.pinning[domain];
        for vcpu in self.xl().vcpus()?.iter().filter(|vcpu| vcpu.guest == guest) {
            let cpu = cpus[vcpu.number % cpus.len()].to_string();
            if vcpu.affinity != cpu {
                self.xl().pin(guest, vcpu.number, &cpu)?;
            }
        }
        Ok(())
    }
}

impl Platform for Xen {
    fn label(&self) -> String {
        self.label.clone()
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn domain_cpus(&self) -> BTreeMap<String, String> {
        self.cpus.clone()
    }

    fn domain(&self, name: &str) -> Result<&dyn Domain> {
        Ok(self.place(name)?)
    }

    fn lacks(&self, attachment: &AttachmentSpec, _: Device) -> Option<String> {
        let measured = attachment.measured.get_ref();
        if let Some(reason) = self.lost.get(measured) {
            return Some(format!("domain `{measured}` is lost: {reason}"));
        }
        None
    }

    fn attach(&mut self, attachment: &AttachmentSpec, device: Device) -> Result<BTreeMap<String, String>> {
        self.parts.clear();
        self.timed("check", |xen| {
            xen.heal()?;
            if xen.unsure {
                xen.reclaim().context("find out where the devices are")?;
                xen.unsure = false;
            }
            anyhow::Ok(())
        })?;
        let mut words: BTreeMap<String, String> = self
            .at
            .iter()
            .filter_map(|(name, at)| Some((format!("address.{name}"), at.address.clone()?)))
            .collect();
        words.insert("peer".into(), self.peer().0.to_owned());
        let measured = attachment.measured.get_ref().clone();
        self.place(&measured)?;
        let wanted = match self.way(attachment, device)? {
            Way::Native => At::Control,
            Way::Virtual => At::Virtual(measured.clone()),
            Way::Passthrough => At::Passed(measured.clone()),
        };
        let mut switched = self.switch(&measured, device, &wanted);
        if let Err(error) = &switched {
            print_status(format_args!("switching failed, once more from a known state: {error:#}"));
            self.unsure = true;
            if self.timed("check", |xen| xen.heal().and_then(|()| xen.reclaim())).is_ok() {
                switched = self.switch(&measured, device, &wanted);
            }
        }
        self.unsure = switched.is_err();
        if let Some(disk) = switched? {
            words.insert("disk".into(), disk);
        }
        Ok(words)
    }

    fn attach_parts(&self) -> BTreeMap<&'static str, f64> {
        self.parts.clone()
    }

    fn halted(&self, domain: &str) -> Result<Option<String>> {
        self.at[domain].guest.as_deref().map_or(Ok(None), |guest| self.guest_halted(guest))
    }

    fn lost(&self) -> Option<&str> {
        self.gone.as_deref()
    }

    fn troubles(&mut self) -> Vec<String> {
        self.look_for_troubles()
            .unwrap_or_else(|error| vec![format!("and the control domain does not say why: {error:#}")])
    }

    fn proof_of_work(&self, domain: &str, gained: &BTreeMap<String, f64>) -> Option<Observed> {
        let measured = *gained.get(&format!("{domain}.vcpu_s"))?;
        Some(Observed { key: "vcpu_s", measured, required: LEAST_VCPU_S })
    }

    fn observe(&self) -> Result<BTreeMap<String, f64>> {
        let mut seen = BTreeMap::new();
        let vcpus = self.xl().vcpus()?;
        for domain in self.at.keys().filter(|domain| **domain != self.outside) {
            let Some(guest) = self.guest_name(domain) else { continue };
            let time_s: f64 = vcpus.iter().filter(|vcpu| vcpu.guest == guest).map(|vcpu| vcpu.time_s).sum();
            seen.insert(format!("{domain}.vcpu_s"), time_s);
        }
        self.backends(&mut seen)?;
        Ok(seen)
    }
}

impl Drop for Xen {
    fn drop(&mut self) {
        if let Err(error) = self.restore() {
            print_status(format_args!("warning: the Xen host is not as it was: {error:#}"));
        }
    }
}
