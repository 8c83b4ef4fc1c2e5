//! What only a Xen host must have.

use anyhow::Result;
use domain::shell::{Shell, quote};
use meter::cpulist::CpuList;
use plan::{Cell, Device, Plan};

use super::settings::{Parts, Way};
use crate::{
    doctor::{Finding, Survey, asked, device, examine},
    find::Mark,
    place,
};

/// Who else may have a measured device.
const WHO_ELSE: &str = "; a guest may have it (`xl pci-list`)";

/// Looks at every domain, and asks the control domain for the rest.
pub(super) fn look(plan: &Plan, cells: &[Cell]) -> Result<Vec<Finding>> {
    let parts = Parts::of(plan)?;
    let guests = parts.at.iter().filter(|(_, at)| at.guest.is_some()).map(|(name, _)| name.clone());
    let survey = Survey::new(plan, cells, guests.collect());
    let (mut findings, mut control) = (Vec::new(), None);
    for (name, at) in &parts.at {
        let shell = match place::shell(at.ssh.as_deref(), parts.settings.ssh_config.as_deref()) {
            Ok(shell) => shell,
            Err(error) => {
                findings.push(Finding::unreachable(&survey, name, &error));
                continue;
            }
        };
        // A guest has as many CPUs as its toolstack gave it.
        let beside = at.ssh.is_some() && at.guest.is_none() && at.disk.is_some();
        findings.extend(examine(&survey, name, &*shell, beside));
        let own = [at.disk.clone().map(Mark::Serial), at.nic.clone().map(Mark::Mac)];
        let look = |mark: &Mark| device(name, &*shell, mark, WHO_ELSE, || survey.all_of(name));
        findings.extend(own.iter().flatten().map(look));
        if name == plan.platform.control.get_ref() {
            control = Some(shell);
        }
    }
    if let Some(control) = control {
        findings.extend(Host { survey, parts: &parts, control: &*control }.look());
    }
    Ok(findings)
}

/// The Xen host, seen from its control domain.
struct Host<'a> {
    survey: Survey<'a>,
    parts: &'a Parts,
    control: &'a dyn Shell,
}

impl Host<'_> {
    /// Toolstack, IOMMU, pciback, CPUs, guests and the devices that they share.
    fn look(&self) -> Vec<Finding> {
        let (domain, settings) = (self.domain(), &self.parts.settings);
        let shared = |mark: Mark, kind: Device| {
            let spoiled =
                || self.survey.cells_where(|cell| self.is_here(cell) && self.survey.device(cell) == kind);
            device(domain, self.control, &mark, WHO_ELSE, spoiled)
        };
        let mut findings = vec![
            self.ask(
                "toolstack",
                "xl info | sed -n 's/^xen_version *: //p' | grep .",
                "run in Domain-0 as root; Debian: apt-get install xen-system-amd64, boot with Xen",
                || self.all(),
            ),
            self.ask(
                "passthrough",
                "xl info | grep -qE '^virt_caps.*(pv|hvm)_directio' && echo 'an IOMMU is in use' || \
                 { echo 'xl info shows no pv_directio or hvm_directio' >&2; exit 1; }",
                "switch VT-d or AMD-Vi on in the firmware, and boot Xen with iommu=1",
                || self.passthrough(),
            ),
            self.ask(
                "pciback",
                "modprobe xen-pciback && echo loaded",
                "apt-get install linux-image-amd64",
                || self.passthrough(),
            ),
            shared(Mark::Serial(settings.disk.clone()), Device::Disk),
            shared(Mark::Mac(settings.nic.clone()), Device::Network),
            self.ask(
                "physical CPUs",
                &format!(
                    "n=$(xl info | sed -n 's/^nr_cpus *: //p'); \
                     [ \"$n\" -gt {0} ] && echo \"$n, the plan pins to {0} at most\" \
                     || {{ echo \"$n, and the plan pins to CPU {0}\" >&2; exit 1; }}",
                    self.highest_cpu()
                ),
                "name in the plan's `cpus` those that there are (`xl info`, nr_cpus)",
                || self.all(),
            ),
        ];
        for (name, at) in &self.parts.at {
            if let (Some(guest), Some(config)) = (&at.guest, &at.config) {
                let (guest, config) = (quote(guest), quote(config));
                findings.push(self.ask(
                    &format!("guest {guest}"),
                    &format!(
                        "xl domid {guest} >/dev/null && test -r {config} && echo runs, made from {config}"
                    ),
                    "start it with `xl create`; its configuration is needed to make it again",
                    || self.survey.all_of(name),
                ));
            }
        }
        findings
    }

    fn ask(&self, what: &str, script: &str, fix: &str, spoiled: impl FnOnce() -> Vec<Cell>) -> Finding {
        asked(self.domain(), self.control, what, script, fix, spoiled)
    }

    fn domain(&self) -> &str {
        self.survey.plan.platform.control.get_ref()
    }

    /// Whether a domain is the control domain or a guest of it.
    fn is_on_host(&self, domain: &str) -> bool {
        domain == self.domain() || self.parts.at[domain].guest.is_some()
    }

    /// Whether a cell measures on this host.
    fn is_here(&self, cell: &Cell) -> bool {
        self.is_on_host(self.survey.measured(cell))
    }

    /// Every cell that measures on this host.
    fn all(&self) -> Vec<Cell> {
        self.survey.cells_where(|cell| self.is_here(cell))
    }

    /// Every cell whose device is passed through to a guest.
    fn passthrough(&self) -> Vec<Cell> {
        let way = |cell: &Cell| self.parts.devices[&cell.attachment].way(self.survey.device(cell));
        self.survey.cells_where(|cell| way(cell) == Way::Passthrough)
    }

    /// The highest CPU that a domain of the host is pinned to.
    fn highest_cpu(&self) -> usize {
        let here = self.survey.plan.domains.iter().filter(|(name, _)| self.is_on_host(name));
        here.filter_map(|(_, domain)| domain.cpus.parse::<CpuList>().ok())
            .flat_map(|list| list.cpus().to_vec())
            .max()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use domain::shell::LocalShell;
    use plan::Overrides;

    use super::*;

    #[test]
    fn a_lack_takes_the_cells_that_need_it_and_no_other() {
        let path = plan::plans_folder().join("xen-lab-quick.toml");
        let (plan, _) = plan::load(&path, &Overrides::default()).unwrap();
        let cells = plan::expand(&plan).unwrap();
        let parts = Parts::of(&plan).unwrap();
        let served = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let survey = Survey::new(&plan, &cells, served);
        // disk: 1 of 12; network: 4 of 12.
        assert_eq!(survey.all_of("native").len(), 5);
        assert_eq!(survey.all_of("dom0").len(), 19);
        assert_eq!(survey.all_of("b").len(), 18);
        // Every flood, natively too, and every network probe comes from outside.
        assert_eq!(survey.all_of("generator").len(), 2 + 12);
        assert_eq!(survey.disks_of("b").len(), 10);
        let a = survey.all_of("a");
        assert!(a.contains(&Cell::new("disk", "virtual", "cpu@a")));
        assert!(!a.contains(&Cell::new("disk", "virtual", "cpu@dom0")));
        let host = Host { survey, parts: &parts, control: &LocalShell };
        assert_eq!(host.passthrough().len(), 5 + 4);
        assert_eq!(host.all().len(), 19);
        let of = |kind| host.all().iter().filter(|cell| host.survey.device(cell) == kind).count();
        assert_eq!((of(Device::Disk), of(Device::Network)), (11, 8));
        assert_eq!(host.highest_cpu(), 3);
    }
}
