//! Machines without a hypervisor, reached over SSH: each measures with its own devices and drivers, and
//! nothing is switched. Addresses and routes are as their owner made them.

mod settings;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use domain::{Domain, RunContext, shell::quote};
use meter::cpulist::CpuList;
use plan::{AttachmentSpec, Cell, Device, Plan, Sources};
use settings::{At, Parts, Settings};

use super::{
    Kind, Platform,
    doctor::{Finding, Survey, asked, device, examine},
    find::{self, Mark},
    place::{self, Place},
};

/// The platform's entry in the registry.
pub(crate) struct Machines;

impl Kind for Machines {
    fn name(&self) -> &'static str {
        "ssh"
    }

    fn check(&self, plan: &Plan, sources: &Sources) -> Result<()> {
        settings::check(plan, sources)
    }

    fn prepare(&self, plan: &Plan, context: &RunContext, _: &Path) -> Result<Box<dyn Platform>> {
        Ok(Box::new(Ssh::prepare(plan, context)?))
    }

    fn doctor(&self, plan: &Plan, cells: &[Cell]) -> Result<Vec<Finding>> {
        let Parts { settings, at } = Parts::of(plan)?;
        let survey = Survey::new(plan, cells, BTreeSet::new());
        let mut findings = Vec::new();
        for (name, at) in &at {
            let shell = match place::shell(at.ssh.as_deref(), settings.ssh_config.as_deref()) {
                Ok(shell) => shell,
                Err(error) => {
                    findings.push(Finding::unreachable(&survey, name, &error));
                    continue;
                }
            };
            findings.extend(examine(&survey, name, &*shell, true));
            let marks = [at.disk.clone().map(Mark::Serial), at.nic.clone().map(Mark::Mac)];
            let look = |mark: &Mark| device(name, &*shell, mark, "", || survey.all_of(name));
            findings.extend(marks.iter().flatten().map(look));
            findings.extend(at.file.as_ref().map(|path| {
                let path = quote(path);
                let script = format!("test -f {path} && echo is there || test -w \"$(dirname {path})\"");
                let fix = "name a file in a folder that exists and can be written to";
                asked(name, &*shell, &format!("measured file {path}"), &script, fix, || survey.disks_of(name))
            }));
        }
        Ok(findings)
    }
}

/// The machines of a plan.
struct Ssh {
    settings: Settings,
    at: BTreeMap<String, At>,
    places: BTreeMap<String, Box<dyn Place>>,
    cpus: BTreeMap<String, String>,
}

impl Ssh {
    /// Connects to every machine, and looks whether it has the CPUs that the plan names.
    fn prepare(plan: &Plan, context: &RunContext) -> Result<Self> {
        let Parts { settings, at } = Parts::of(plan)?;
        let (mut places, mut cpus) = (BTreeMap::new(), BTreeMap::new());
        for (name, at) in &at {
            let lacking = || format!("domain `{name}` can't be used; `cargo xtask doctor` says more");
            let place = place::open(at.ssh.as_deref(), None, settings.ssh_config.as_deref(), context)
                .with_context(lacking)?;
            place.ensure_alive().with_context(lacking)?;
            let (wanted, there) = (&plan.domains[name].cpus, place.cpus().with_context(lacking)?);
            let list: CpuList = wanted.parse().map_err(anyhow::Error::msg)?;
            ensure!(
                list.cpus().iter().all(|cpu| there.cpus().contains(cpu)),
                "domain `{name}` has the CPUs {there}, and the plan names {wanted}; name those that there are"
            );
            cpus.insert(name.clone(), wanted.clone());
            places.insert(name.clone(), place);
        }
        Ok(Self { settings, at, places, cpus })
    }

    fn place(&self, name: &str) -> Result<&dyn Place> {
        Ok(&**self.places.get(name).with_context(|| format!("no domain is named `{name}`"))?)
    }

    /// The measured disk of a machine, or the file in its place; nothing where the plan names none.
    fn disk(&self, domain: &str) -> Result<Option<String>> {
        let at = &self.at[domain];
        match &at.disk {
            Some(serial) => {
                let name = find::wait(self.place(domain)?, &Mark::Serial(serial.clone()))?;
                Ok(Some(format!("/dev/{name}")))
            }
            None => Ok(at.file.clone()),
        }
    }
}

impl Platform for Ssh {
    fn label(&self) -> String {
        "machines without a hypervisor, over SSH".into()
    }

    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    fn domain_cpus(&self) -> BTreeMap<String, String> {
        self.cpus.clone()
    }

    fn domain(&self, name: &str) -> Result<&dyn Domain> {
        Ok(self.place(name)?)
    }

    fn lacks(&self, attachment: &AttachmentSpec, device: Device) -> Option<String> {
        let measured = attachment.measured.get_ref();
        let at = &self.at[measured];
        match device {
            Device::Disk if at.disk.is_none() && at.file.is_none() => {
                Some(format!("the plan names neither `disk` nor `file` of `{measured}`"))
            }
            Device::Network if self.settings.peer.is_none() => Some(
                "the plan's [platform.settings] has no `peer`, the address of the machine outside".into(),
            ),
            _ => None,
        }
    }

    fn attach(&mut self, attachment: &AttachmentSpec, device: Device) -> Result<BTreeMap<String, String>> {
        let measured = attachment.measured.get_ref();
        let place = self.place(measured)?;
        place.ensure_alive().with_context(|| format!("domain `{measured}`"))?;
        let address = |(name, at): (&String, &At)| Some((format!("address.{name}"), at.address.clone()?));
        let mut words: BTreeMap<String, String> = self.at.iter().filter_map(address).collect();
        words.extend(self.settings.peer.clone().map(|peer| ("peer".to_owned(), peer)));
        match (device, &self.at[measured].nic) {
            (Device::Disk, _) => words.extend(self.disk(measured)?.map(|disk| ("disk".to_owned(), disk))),
            (Device::Network, Some(mac)) => {
                find::wait(place, &Mark::Mac(mac.clone())).with_context(|| format!("in `{measured}`"))?;
            }
            (Device::Network, None) => {}
        }
        Ok(words)
    }
}
