//! Platforms: what can place domains and switch how a device reaches the measured one.

#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod namespaces;
pub mod xen;

use std::{collections::BTreeMap, path::Path};

use anyhow::Result;

use domain::Domain;
use plan::{AttachmentSpec, Device, Plan};

/// What trials need of a platform.
pub trait Platform {
    /// What kind of place this is, in words that belong on every page of a report.
    fn label(&self) -> String;

    /// Things that a reader of the results must know: shared CPUs, missing rights.
    fn notes(&self) -> Vec<String>;

    /// The CPUs that each domain really got, such as `0-1`.
    fn domain_cpus(&self) -> BTreeMap<String, String>;

    /// The domain of that name; the plan was checked, so it exists.
    fn domain(&self, name: &str) -> Result<&dyn Domain>;

    /// Why `attachment` can't give a `device` of its kind here, if so: such cells are skipped.
    fn lacks(&self, attachment: &AttachmentSpec, device: Device) -> Option<String>;

    /// Makes `attachment` the way to the measured `device`, and gives the words for arguments: `disk`,
    /// `peer`, `address.DOMAIN`.
    fn attach(&mut self, attachment: &AttachmentSpec, device: Device) -> Result<BTreeMap<String, String>>;

    /// How long the parts of the last [`Self::attach`] took, in seconds by name: `check`, `switch`, `appear`.
    /// What had not to be done has no time. Nothing where attaching has no parts.
    fn attach_parts(&self) -> BTreeMap<&'static str, f64> {
        BTreeMap::new()
    }

    /// Why nothing that runs in `domain` can go on, if so, asked of whoever stands beside it and never of
    /// the domain itself: a guest that is gone or paused.
    ///
    /// # Errors
    /// When whoever stands beside it can't be asked.
    fn halted(&self, _domain: &str) -> Result<Option<String>> {
        Ok(None)
    }

    /// Why no later trial can be had here at all, if so; known after [`Self::troubles`] or [`Self::attach`].
    fn lost(&self) -> Option<&str> {
        None
    }

    /// What is wrong with the domains now, asked after a trial that broke: a guest that is gone or stands
    /// still, memory that ran out. Nothing where all is well or nobody can tell.
    fn troubles(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// What the platform itself counts of its domains, as totals: `DOMAIN.vcpu_s` is the CPU time that
    /// a domain got, in seconds. Nothing where nobody stands beside the domains.
    ///
    /// # Errors
    /// When the platform can't be asked.
    fn observe(&self) -> Result<BTreeMap<String, f64>> {
        Ok(BTreeMap::new())
    }
}

/// The platform that `plan` names, ready for its first trial. `binaries` is where the tools are,
/// `folder` where it may keep large files. Dropping it puts everything back.
pub fn prepare(plan: &Plan, binaries: &Path, folder: &Path) -> Result<Box<dyn Platform>> {
    match plan.platform.kind.get_ref().as_str() {
        "namespaces" => Ok(Box::new(namespaces::Namespaces::prepare(plan, binaries, folder)?)),
        "xen" => Ok(Box::new(xen::Xen::prepare(plan, binaries, folder)?)),
        kind => anyhow::bail!("no platform is named `{kind}`"),
    }
}
