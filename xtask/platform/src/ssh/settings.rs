//! What a plan says of machines behind SSH, in their own terms.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use plan::{Plan, Sources};
use serde::Deserialize;

use crate::rules::{self, Rule};

/// The plan's `[platform.settings]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// The outside machine's address on the measured link; `{peer}` in arguments.
    pub peer: Option<String>,
    /// OpenSSH's configuration file; the user's own where missing.
    pub ssh_config: Option<String>,
}

/// Where a domain is: its `at`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct At {
    /// The host as `ssh` knows it; this machine where missing.
    pub ssh: Option<String>,
    /// Its address on the network that loads use.
    pub address: Option<String>,
    /// Serial number of its measured disk.
    pub disk: Option<String>,
    /// Path of a file that is measured in the place of a disk.
    pub file: Option<String>,
    /// MAC address of its measured interface.
    pub nic: Option<String>,
}

/// How an attachment gives its devices: its `device`. There is one way only.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Devices {
    #[serde(default)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    disk: Way,
    #[serde(default)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    network: Way,
}

/// The way of a device to the measured domain.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Way {
    /// The machine's own device with its own driver.
    #[default]
    Native,
}

/// All that is the platform's in a plan.
pub(super) struct Parts {
    /// Of all machines.
    pub settings: Settings,
    /// Of each domain.
    pub at: BTreeMap<String, At>,
}

impl Parts {
    /// Of a plan that was checked.
    pub fn of(plan: &Plan) -> Result<Self> {
        let settings = plan::section(&plan.platform.settings).context("the plan's [platform.settings]")?;
        let at = |(name, domain): (&String, &plan::DomainSpec)| {
            let at = plan::section(&domain.at).with_context(|| format!("`at` of domain `{name}`"))?;
            Ok((name.clone(), at))
        };
        Ok(Self { settings, at: plan.domains.iter().map(at).collect::<Result<_>>()? })
    }
}

/// A file, and no device: devices are found by their serial numbers.
fn file(path: &str) -> Option<&'static str> {
    let is_device = ["/dev/", "/proc/", "/sys/"].iter().any(|folder| path.starts_with(folder));
    rules::absolute(path).or(is_device.then_some("a file; a disk is named by its serial number as `disk`"))
}

/// Checks the platform's part of a plan.
pub(super) fn check(plan: &Plan, sources: &Sources) -> Result<()> {
    let path = ["platform", "settings"];
    let settings: Settings = sources.section(&path)?;
    rules::check(sources, &path, &[("peer", settings.peer.as_ref(), rules::address as Rule)])?;
    for name in plan.domains.keys() {
        let path = ["domains", name, "at"];
        let at: At = sources.section(&path)?;
        let of_domain = [
            ("ssh", at.ssh.as_ref(), rules::host as Rule),
            ("address", at.address.as_ref(), rules::address),
            ("disk", at.disk.as_ref(), rules::text),
            ("file", at.file.as_ref(), file),
            ("nic", at.nic.as_ref(), rules::mac),
        ];
        rules::check(sources, &path, &of_domain)?;
        if at.disk.is_some() && at.file.is_some() {
            let message = "`disk` and `file` are two answers to one question: what is measured";
            return Err(sources.error(&["domains", name, "at", "file"], message));
        }
    }
    for name in plan.attachments.keys() {
        sources.section::<Devices>(&["attachments", name, "device"])?;
    }
    Ok(())
}
