//! Domains and attachments: who is measured, who stands in for whom, and what is compared with what.

use std::collections::BTreeSet;

use anyhow::Result;
use meter::cpulist::CpuList;

use super::Checker;
use crate::{AttachmentSpec, PartSpec};

impl Checker<'_> {
    pub(super) fn platform(&self) -> Result<()> {
        let platform = &self.plan.platform;
        self.domain(&["platform", "control"], platform.control.get_ref())?;
        self.domain(&["platform", "outside"], platform.outside.get_ref())?;
        if platform.control.get_ref() == platform.outside.get_ref() {
            let message = format!("`{}` can't be both `control` and `outside`", platform.outside.get_ref());
            return Err(self.sources.error(&["platform", "outside"], message));
        }
        Ok(())
    }

    pub(super) fn domains(&self) -> Result<()> {
        for (name, domain) in &self.plan.domains {
            domain
                .cpus
                .parse::<CpuList>()
                .map_err(|message| self.sources.error(&["domains", name, "cpus"], message))?;
        }
        Ok(())
    }

    pub(super) fn attachments(&self) -> Result<()> {
        let mut baseline = None;
        for (name, attachment) in &self.plan.attachments {
            if attachment.baseline
                && let Some(first) = baseline.replace(name)
            {
                let message = format!("only one attachment can be the `baseline`; `{first}` is it too");
                return Err(self.sources.error(&["attachments", name, "baseline"], message));
            }
            let at = ["attachments", name, "measured"];
            let measured = attachment.measured.get_ref();
            self.domain(&at, measured)?;
            if measured == self.plan.platform.outside.get_ref() {
                let message = format!("`{measured}` is the machine outside; it can't be measured");
                return Err(self.sources.error(&at, message));
            }
            self.stands_in(name, attachment)?;
        }
        if baseline.is_none() {
            let message = "no attachment is the `baseline`, which the others are compared with";
            return Err(self.sources.error(&["attachments"], message));
        }
        Ok(())
    }

    /// Who stands in for whom must be known domains, in one step. A domain that names itself is there as itself.
    fn stands_in(&self, name: &str, attachment: &AttachmentSpec) -> Result<()> {
        for (absent, domain) in &attachment.stands_in {
            let at = ["attachments", name, "stands_in", absent];
            self.domain(&at, absent)?;
            self.domain(&at, domain.get_ref())?;
            let itself = absent == domain.get_ref();
            if !itself && absent == attachment.measured.get_ref() {
                let message = format!("`{absent}` is measured here, so nothing can stand in for it");
                return Err(self.sources.error(&at, message));
            }
            let next = attachment.stands_in.get(domain.get_ref()).map(toml::Spanned::get_ref);
            if !itself && next.is_some_and(|next| next != domain.get_ref()) {
                let message = format!(
                    "`{}` stands in for `{absent}`, and can't have a stand-in itself",
                    domain.get_ref()
                );
                return Err(self.sources.error(&at, message));
            }
        }
        Ok(())
    }

    /// Where the baseline meets a load, it is said who carries the load: the machine without guests has no guest A.
    pub(super) fn carriers(&self) -> Result<()> {
        let plan = self.plan;
        let outside = plan.platform.outside.get_ref();
        for (name, attachment) in &plan.attachments {
            if !(attachment.baseline || attachment.control) {
                continue;
            }
            let loads: BTreeSet<&str> = plan
                .matrix
                .iter()
                .filter(|product| product.attachments.iter().any(|other| other.get_ref() == name))
                .flat_map(|product| product.loads.iter().map(|load| load.get_ref().as_str()))
                .collect();
            let parts = loads.iter().filter_map(|load| plan.loads.get(*load)).flat_map(|load| &load.parts);
            let missing = parts.map(|PartSpec { domain, .. }| domain.get_ref()).find(|domain| {
                *domain != outside
                    && *domain != attachment.measured.get_ref()
                    && !attachment.stands_in.contains_key(*domain)
            });
            if let Some(domain) = missing {
                let message = format!(
                    "the baseline is measured under a load of `{domain}`: `stands_in` must say which domain \
                     carries it, such as `{domain} = \"{}\"`; `{domain} = \"{domain}\"` where it is there",
                    attachment.measured.get_ref()
                );
                return Err(self.sources.error(&["attachments", name, "stands_in"], message));
            }
        }
        Ok(())
    }

    /// A control is the baseline once more.
    pub(super) fn controls(&self) -> Result<()> {
        let what = |attachment: &AttachmentSpec| {
            let stands_in =
                attachment.stands_in.iter().map(|(part, whole)| (part.clone(), whole.get_ref().clone()));
            let stands_in: Vec<(String, String)> = stands_in.collect();
            (attachment.measured.get_ref().clone(), attachment.device.clone(), stands_in)
        };
        let baseline = self.plan.attachments.values().find(|attachment| attachment.baseline).map(what);
        for (name, control) in self.plan.attachments.iter().filter(|(_, attachment)| attachment.control) {
            if control.baseline || baseline != Some(what(control)) {
                let message = format!(
                    "the control `{name}` must be the baseline once more: the same measured domain, `device` \
                     and `stands_in`, without `baseline`"
                );
                return Err(self.sources.error(&["attachments", name, "control"], message));
            }
        }
        Ok(())
    }
}
