//! Which cells a lack takes from a plan.

use std::collections::BTreeSet;

use plan::{Cell, Device, Plan};

/// The cells of a plan, and which domains have a part in each.
pub struct Survey<'a> {
    /// The plan.
    pub plan: &'a Plan,
    cells: &'a [Cell],
    /// Domains that can't do without the control domain.
    served: BTreeSet<String>,
}

impl<'a> Survey<'a> {
    /// Of all `cells` of `plan`; the control domain has a part wherever one of the domains `served` has.
    pub fn new(plan: &'a Plan, cells: &'a [Cell], served: BTreeSet<String>) -> Self {
        Self { plan, cells, served }
    }

    /// The cells for which `wanted` holds, in the plan's order.
    pub fn cells_where(&self, wanted: impl Fn(&Cell) -> bool) -> Vec<Cell> {
        self.cells.iter().filter(|cell| wanted(cell)).cloned().collect()
    }

    /// Every cell in which this domain has a part.
    pub fn all_of(&self, domain: &str) -> Vec<Cell> {
        self.cells_where(|cell| self.parts(cell).contains(domain))
    }

    /// Every cell that measures a disk in this domain.
    pub fn disks_of(&self, domain: &str) -> Vec<Cell> {
        self.cells_where(|cell| self.device(cell) == Device::Disk && self.measured(cell) == domain)
    }

    /// The device that a cell measures.
    pub fn device(&self, cell: &Cell) -> Device {
        self.plan.probes[&cell.probe].device
    }

    /// The domain that a cell measures in.
    pub fn measured(&self, cell: &Cell) -> &'a str {
        self.plan.attachments[&cell.attachment].measured.get_ref()
    }

    /// The domains in which something of the cell runs.
    fn parts(&self, cell: &Cell) -> BTreeSet<&'a str> {
        let plan = self.plan;
        let attachment = &plan.attachments[&cell.attachment];
        let loads = plan.loads[&cell.load].parts.iter().chain(&plan.probes[&cell.probe].with);
        let stand_in =
            |name: &'a str| attachment.stands_in.get(name).map_or(name, |domain| domain.get_ref().as_str());
        let mut domains: BTreeSet<&str> = loads.map(|part| stand_in(part.domain.get_ref())).collect();
        domains.insert(self.measured(cell));
        if domains.iter().any(|name| self.served.contains(*name)) {
            domains.insert(plan.platform.control.get_ref());
        }
        domains
    }
}
