//! What a plan says of network namespaces, in their own terms.

use anyhow::Result;
use meter::units::Bytes;
use plan::{Plan, Sources, substitute};
use serde::Deserialize;

/// The plan's `[platform.settings]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// Size of the disk that is measured, such as `1100MiB`; `{name}` is replaced.
    disk_size: Option<String>,
}

impl Settings {
    /// Size of the disk that is measured, in bytes.
    pub fn disk_bytes(&self, plan: &Plan) -> Result<Option<u64>, String> {
        let Some(size) = &self.disk_size else { return Ok(None) };
        let size: Bytes = substitute(size, &plan.variables)?.parse()?;
        Ok(Some(size.0))
    }
}

/// What of a domain is the platform's: its `at`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct At {
    /// How the machine outside reaches it with its load.
    #[serde(default)]
    pub link: Link,
}

/// How an attachment gives its devices: its `device`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Devices {
    /// The way to the disk.
    pub disk: DiskPath,
    /// The way to the measured network interface.
    pub network: Link,
}

/// A way for packets between the machine outside and a domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Link {
    /// Through a bridge in the control domain: a virtual interface.
    #[default]
    Bridge,
    /// The interface itself.
    Direct,
}

/// A way from a domain to its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum DiskPath {
    /// A loop device in between.
    Loop,
    /// The file itself.
    Direct,
}

/// Checks the platform's part of a plan.
pub(super) fn check(plan: &Plan, sources: &Sources) -> Result<()> {
    let settings: Settings = sources.section(&["platform", "settings"])?;
    settings
        .disk_bytes(plan)
        .map_err(|message| sources.error(&["platform", "settings", "disk_size"], message))?;
    for name in plan.domains.keys() {
        sources.section::<At>(&["domains", name, "at"])?;
    }
    for name in plan.attachments.keys() {
        sources.section::<Devices>(&["attachments", name, "device"])?;
    }
    Ok(())
}
