//! Which cells a lack takes from a plan.

use std::collections::BTreeSet;

use plan::{Cell, Device, DiskPath, Link, Plan};

/// What can't be measured for want of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spoils {
    /// No cell: it is worth knowing.
    Nothing,
    /// Every cell in which this domain has a part.
    All(String),
    /// Every cell that measures a disk in this domain.
    DisksOf(String),
    /// Every cell that measures a device which the domains of a Xen host share.
    Shared(Device),
    /// Every cell whose device is passed through to a guest.
    Passthrough,
    /// Every cell that measures in Domain-0 or in a guest of it.
    Host,
}

impl Spoils {
    /// The names of those cells, in the plan's order.
    pub fn cells(&self, plan: &Plan, cells: &[Cell]) -> Vec<String> {
        cells.iter().filter(|cell| self.takes(plan, cell)).map(Cell::name).collect()
    }

    fn takes(&self, plan: &Plan, cell: &Cell) -> bool {
        let attachment = &plan.attachments[&cell.attachment];
        let device = plan.probes[&cell.probe].device;
        let measured = attachment.measured.get_ref();
        let at = plan.domains[measured].at.as_ref();
        let is_guest = at.is_some_and(|at| at.guest.is_some());
        let on_host = is_guest || measured == plan.platform.control.get_ref();
        match self {
            Self::Nothing => false,
            Self::All(domain) => parts(plan, cell).contains(domain.as_str()),
            Self::DisksOf(domain) => device == Device::Disk && measured == domain,
            Self::Shared(shared) => on_host && device == *shared,
            Self::Host => on_host,
            Self::Passthrough => {
                is_guest
                    && match device {
                        Device::Disk => attachment.disk == DiskPath::Direct,
                        Device::Network => attachment.network == Link::Direct,
                    }
            }
        }
    }
}

/// The domains in which something of the cell runs; the control domain switches devices for its guests.
fn parts<'a>(plan: &'a Plan, cell: &Cell) -> BTreeSet<&'a str> {
    let attachment = &plan.attachments[&cell.attachment];
    let measured = attachment.measured.get_ref().as_str();
    let loads = plan.loads[&cell.load].parts.iter().chain(&plan.probes[&cell.probe].with);
    let stand_in =
        |name: &'a str| attachment.stands_in.get(name).map_or(name, |domain| domain.get_ref().as_str());
    let mut domains: BTreeSet<&str> = loads.map(|part| stand_in(part.domain.get_ref())).collect();
    domains.insert(measured);
    if domains.iter().any(|name| plan.domains[*name].at.as_ref().is_some_and(|at| at.guest.is_some())) {
        domains.insert(plan.platform.control.get_ref());
    }
    domains
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::Overrides;
    use plan::plans_folder;

    #[test]
    fn a_lack_takes_the_cells_that_need_it_and_no_other() {
        let plan = plan::load(&plans_folder().join("xen-lab-quick.toml"), &Overrides::default()).unwrap();
        let cells = plan::expand(&plan).unwrap();
        let count = |spoils: Spoils| spoils.cells(&plan, &cells).len();
        assert_eq!(count(Spoils::Nothing), 0);
        // disk: 1 of 12; network: 4 of 12.
        assert_eq!(count(Spoils::All("native".into())), 5);
        assert_eq!(count(Spoils::All("dom0".into())), 19);
        assert_eq!(count(Spoils::All("b".into())), 18);
        // Every flood, natively too, and every network probe comes from outside.
        assert_eq!(count(Spoils::All("generator".into())), 2 + 12);
        assert_eq!(count(Spoils::DisksOf("b".into())), 10);
        assert_eq!(count(Spoils::Shared(Device::Disk)), 11);
        assert_eq!(count(Spoils::Shared(Device::Network)), 8);
        assert_eq!(count(Spoils::Passthrough), 5 + 4);
        assert_eq!(count(Spoils::Host), 19);
        let a = Spoils::All("a".into()).cells(&plan, &cells);
        assert!(
            a.contains(&"disk/virtual/cpu@a".to_owned()) && !a.contains(&"disk/virtual/cpu@dom0".to_owned())
        );
    }
}
