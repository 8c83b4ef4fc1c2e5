//! What a plan says of a Xen host, in its own terms.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use plan::{Device, Plan, Sources};
use serde::Deserialize;

use crate::rules::{self, Rule};

/// The plan's `[platform.settings]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// Serial number of the measured disk.
    pub disk: String,
    /// MAC address of the measured interface.
    pub nic: String,
    /// The outside machine's address on the measured link, with its length, such as `10.77.1.1/24`.
    pub peer: String,
    /// Hotplug script for the virtual disk; Xen's own where missing.
    pub block_script: Option<String>,
    /// Hotplug script for the virtual interface; Xen's own where missing.
    pub vif_script: Option<String>,
    /// OpenSSH's configuration file; the user's own where missing.
    pub ssh_config: Option<String>,
}

/// Where a domain is, and what it is called there: its `at`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct At {
    /// The host as `ssh` knows it; this machine where missing.
    pub ssh: Option<String>,
    /// Path of a network namespace of this machine, for a domain that is on it.
    pub namespace: Option<String>,
    /// Its address on the network that loads use.
    pub address: Option<String>,
    /// The toolstack's name of a guest.
    pub guest: Option<String>,
    /// The file in the control domain that `xl create` takes to make the guest again.
    pub config: Option<String>,
    /// Serial number of its own measured disk, for a machine that shares none.
    pub disk: Option<String>,
    /// MAC address of its own measured interface, for a machine that shares none.
    pub nic: Option<String>,
}

/// The way of a device to the measured domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Way {
    /// With the domain's own driver, without a guest.
    Native,
    /// A virtual device of a guest, with its back end in the control domain.
    Virtual,
    /// The PCI function itself, passed through to a guest.
    Passthrough,
}

/// How an attachment gives its devices: its `device`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Devices {
    disk: Way,
    network: Way,
}

impl Devices {
    /// The way of a device of this kind.
    pub fn way(&self, device: Device) -> Way {
        match device {
            Device::Disk => self.disk,
            Device::Network => self.network,
        }
    }
}

/// All that is the platform's in a plan.
pub(super) struct Parts {
    /// Of the host.
    pub settings: Settings,
    /// Of each domain.
    pub at: BTreeMap<String, At>,
    /// Of each attachment.
    pub devices: BTreeMap<String, Devices>,
}

impl Parts {
    /// Of a plan that was checked.
    pub fn of(plan: &Plan) -> Result<Self> {
        let settings = plan::section(&plan.platform.settings).context("the plan's [platform.settings]")?;
        let mut parts = Self { settings, at: BTreeMap::new(), devices: BTreeMap::new() };
        for (name, domain) in &plan.domains {
            let at = plan::section(&domain.at).with_context(|| format!("`at` of domain `{name}`"))?;
            parts.at.insert(name.clone(), at);
        }
        for (name, attachment) in &plan.attachments {
            let devices = plan::section(&attachment.device);
            let devices = devices.with_context(|| format!("`device` of attachment `{name}`"))?;
            parts.devices.insert(name.clone(), devices);
        }
        Ok(parts)
    }
}

/// Checks the platform's part of a plan.
pub(super) fn check(plan: &Plan, sources: &Sources) -> Result<()> {
    let path = ["platform", "settings"];
    let settings: Settings = sources
        .section(&path)
        .context("a Xen host needs [platform.settings] with `disk`, `nic` and `peer`; see docs/xen.md")?;
    let of_host = [
        ("disk", Some(&settings.disk), rules::text as Rule),
        ("nic", Some(&settings.nic), rules::mac),
        ("peer", Some(&settings.peer), rules::network),
        ("block_script", settings.block_script.as_ref(), rules::absolute),
        ("vif_script", settings.vif_script.as_ref(), rules::absolute),
    ];
    rules::check(sources, &path, &of_host)?;
    let mut all = BTreeMap::new();
    for name in plan.domains.keys() {
        let path = ["domains", name, "at"];
        let at: At = sources.section(&path)?;
        let of_domain = [
            ("ssh", at.ssh.as_ref(), rules::host as Rule),
            ("guest", at.guest.as_ref(), rules::host),
            ("config", at.config.as_ref(), rules::absolute),
            ("namespace", at.namespace.as_ref(), rules::absolute),
            ("address", at.address.as_ref(), rules::address),
            ("disk", at.disk.as_ref(), rules::text),
            ("nic", at.nic.as_ref(), rules::mac),
        ];
        rules::check(sources, &path, &of_domain)?;
        all.insert(name, at);
    }
    for (name, attachment) in &plan.attachments {
        let path = ["attachments", name, "device"];
        let devices: Devices = sources.section(&path)?;
        let measured = attachment.measured.get_ref();
        let is_guest = all[measured].guest.is_some();
        for (key, way) in [("disk", devices.disk), ("network", devices.network)] {
            if (way == Way::Native) == is_guest {
                let message = if is_guest {
                    format!("`{measured}` is a guest: its `{key}` can be `virtual` or `passthrough`")
                } else {
                    format!(
                        "`{measured}` is no guest of Xen (its `at` has no `guest`): its `{key}` can only be `native`"
                    )
                };
                return Err(sources.error(&[&path[..], &[key]].concat(), message));
            }
        }
    }
    Ok(())
}
