//! Platforms: what can place domains and switch how a device reaches the measured one.
//!
//! Each has a folder with all that is its own: its part of a plan and the checks of it, doctor, preparation,
//! attachments, what it observes and what that proves, recovery, its lab. It is entered in [`built_in`], and named
//! nowhere else.

pub mod doctor;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod find;
mod namespaces;
pub mod place;
mod registry;
mod rules;
mod ssh;
mod xen;

use std::collections::BTreeMap;

use anyhow::Result;
use domain::Domain;
pub use lab::Lab;
use plan::{AttachmentSpec, Device};
pub use registry::{Kind, Registry};

/// The platforms that come with the program.
pub fn built_in() -> Registry {
    Registry::new(vec![
        Box::new(namespaces::NetworkNamespaces),
        Box::new(ssh::Machines),
        Box::new(xen::XenHost),
    ])
}

/// A number that whoever stands beside a domain has of its load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observed {
    /// Which number.
    pub key: &'static str,
    /// What it was while the probe ran.
    pub measured: f64,
    /// What it must be at least.
    pub required: f64,
}

/// What trials need of a platform.
pub trait Platform {
    /// What kind of place this is, in words that belong on every page of a report.
    fn label(&self) -> String;

    /// Things that a reader of the results must know: shared CPUs, missing rights.
    fn notes(&self) -> Vec<String>;

    /// The boot of the measured machine's kernel, as it names it; `None` where that is not known.
    fn boot_id(&self) -> Option<String> {
        None
    }

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

    /// What the growth of the totals of [`Self::observe`] shows of a load's work in `domain`, if they show it.
    fn proof_of_work(&self, _domain: &str, _gained: &BTreeMap<String, f64>) -> Option<Observed> {
        None
    }

    /// What the platform itself counts of its domains, as totals by its own names, `DOMAIN.NAME`. Nothing where nobody stands beside the domains.
    ///
    /// # Errors
    /// When the platform can't be asked.
    fn observe(&self) -> Result<BTreeMap<String, f64>> {
        Ok(BTreeMap::new())
    }
}
