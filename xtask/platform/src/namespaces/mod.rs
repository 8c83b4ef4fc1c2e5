//! Network namespaces of one kernel as domains: no hypervisor, nothing but Rust and iproute2 needed.
//!
//! `virtual` is a bridge in the control domain and a loop device, `passthrough` the interface or file
//! itself. Everything is held by open descriptors of this process — anonymous namespaces, a loop
//! device with autoclear — so nothing outlives it, whatever ends it.

mod disks;
mod image;
mod links;
mod loop_device;
mod settings;
mod userns;

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use disks::Disks;
use links::Links;
use meter::cpulist::CpuList;

use settings::{Devices, DiskPath, Settings};

use super::{
    Kind, Platform,
    doctor::{Finding, Survey, examine},
    place,
};
use domain::{
    Domain, RunContext,
    local::{LocalDomain, new_network_namespace},
};
use plan::{AttachmentSpec, Cell, Device, Plan, Sources};

/// The platform's entry in the registry.
pub(crate) struct NetworkNamespaces;

impl Kind for NetworkNamespaces {
    fn name(&self) -> &'static str {
        "namespaces"
    }

    fn check(&self, plan: &Plan, sources: &Sources) -> Result<()> {
        settings::check(plan, sources)
    }

    fn before_threads(&self) {
        userns::become_root_if_possible();
    }

    fn prepare(&self, plan: &Plan, context: &RunContext, folder: &Path) -> Result<Box<dyn Platform>> {
        Ok(Box::new(Namespaces::prepare(plan, context, folder)?))
    }

    fn doctor(&self, plan: &Plan, cells: &[Cell]) -> Result<Vec<Finding>> {
        let survey = Survey::new(plan, cells, BTreeSet::new());
        let shell = place::shell(None, None)?;
        Ok(plan.domains.keys().flat_map(|name| examine(&survey, name, &*shell, false)).collect())
    }
}

/// One kernel, a namespace a domain.
pub struct Namespaces {
    domains: BTreeMap<String, LocalDomain>,
    links: Links,
    disks: Disks,
    notes: Vec<String>,
}

impl Namespaces {
    /// Makes the namespaces, their fixed links and the disks.
    pub fn prepare(plan: &Plan, context: &RunContext, folder: &Path) -> Result<Self> {
        let mut notes = Vec::new();
        if let Some(note) = userns::note() {
            notes.push(note);
        }
        let cpus = share_cpus(plan, &CpuList::allowed()?, &mut notes)?;
        let mut domains = BTreeMap::new();
        let mut networks: BTreeMap<String, Arc<OwnedFd>> = BTreeMap::new();
        for (name, cpus) in cpus {
            let network = Arc::new(new_network_namespace().with_context(|| format!("domain `{name}`"))?);
            networks.insert(name.clone(), Arc::clone(&network));
            domains.insert(name, LocalDomain { context: context.clone(), cpus, network: Some(network) });
        }
        let links = Links::prepare(plan, networks)?;
        let disks = Disks::prepare(folder, disk_bytes(plan)?, needs_loop(plan)?, &context.stop, &mut notes)?;
        Ok(Self { domains, links, disks, notes })
    }
}

/// Size of the disks; nothing where no cell measures one.
fn disk_bytes(plan: &Plan) -> Result<Option<u64>> {
    let measured = plan::expand(plan)?.iter().any(|cell| plan.probes[&cell.probe].device == Device::Disk);
    let settings: Settings =
        plan::section(&plan.platform.settings).context("the plan's [platform.settings]")?;
    if measured { settings.disk_bytes(plan).map_err(anyhow::Error::msg) } else { Ok(None) }
}

fn devices(attachment: &AttachmentSpec) -> Result<Devices> {
    plan::section(&attachment.device).context("an attachment's `device`")
}

fn needs_loop(plan: &Plan) -> Result<bool> {
    let mut all = plan.attachments.values().map(devices);
    all.try_fold(false, |any, devices| Ok(any || devices?.disk == DiskPath::Loop))
}

/// The CPUs of each domain on this machine. One with fewer than the plan counts on shares them: the
/// plan's number modulo what there is.
fn share_cpus(
    plan: &Plan,
    allowed: &CpuList,
    notes: &mut Vec<String>,
) -> Result<BTreeMap<String, Vec<usize>>> {
    let mut cpus = BTreeMap::new();
    let mut highest = 0;
    for (name, domain) in &plan.domains {
        let asked: CpuList = domain.cpus.parse().map_err(anyhow::Error::msg)?;
        highest = highest.max(asked.cpus().iter().copied().max().unwrap_or(0));
        let given = asked.cpus().iter().map(|cpu| allowed.cpus()[cpu % allowed.cpus().len()]);
        cpus.insert(name.clone(), CpuList::new(given).cpus().to_vec());
    }
    if highest >= allowed.cpus().len() {
        notes.push(format!(
            "the plan counts on {} CPUs, this machine gives {}: domains share CPUs, so loads also take CPU time from the probe",
            highest + 1,
            allowed.cpus().len()
        ));
    }
    Ok(cpus)
}

impl Platform for Namespaces {
    fn label(&self) -> String {
        "network namespaces on one kernel, no hypervisor".into()
    }

    fn boot_id(&self) -> Option<String> {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(id.trim().to_owned())
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn domain_cpus(&self) -> BTreeMap<String, String> {
        self.domains
            .iter()
            .map(|(name, domain)| (name.clone(), CpuList::new(domain.cpus.iter().copied()).to_string()))
            .collect()
    }

    fn domain(&self, name: &str) -> Result<&dyn Domain> {
        Ok(self.domains.get(name).with_context(|| format!("no domain is named `{name}`"))?)
    }

    fn lacks(&self, attachment: &AttachmentSpec, device: Device) -> Option<String> {
        match device {
            Device::Disk => self.disks.lacks(devices(attachment).ok()?.disk),
            Device::Network => None,
        }
    }

    fn attach(&mut self, attachment: &AttachmentSpec, _: Device) -> Result<BTreeMap<String, String>> {
        let devices = devices(attachment)?;
        let mut words = self.links.attach(attachment.measured.get_ref(), devices.network)?;
        if let Some(path) = self.disks.path(devices.disk) {
            words.insert("disk".into(), path_text(path)?);
        }
        Ok(words)
    }
}

fn path_text(path: PathBuf) -> Result<String> {
    path.into_os_string().into_string().ok().context("the results folder's path must be valid UTF-8")
}

#[cfg(test)]
mod tests;
