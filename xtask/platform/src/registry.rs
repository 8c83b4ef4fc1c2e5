//! The registry: which platforms there are, by the names that plans and the command line have for them.

use std::path::Path;

use anyhow::Result;
use domain::RunContext;
use lab::Lab;
use plan::{Cell, Overrides, Plan, Sources};

use super::{Platform, doctor::Finding};

/// A platform's entry: what is asked of it before it is prepared for one matrix.
pub trait Kind {
    /// Its name: what `platform.kind` of a plan is.
    fn name(&self) -> &'static str;

    /// Checks what is its own in a plan: `platform.settings`, `at` of each domain, `device` of each attachment.
    ///
    /// # Errors
    /// With file and line.
    fn check(&self, plan: &Plan, sources: &Sources) -> Result<()>;

    /// What has to be done while this process has one thread only, before a matrix.
    fn before_threads(&self) {}

    /// The platform for `plan`, ready for its first trial. `context` has the tools, `folder` where
    /// it may keep large files. Dropping it puts everything back.
    ///
    /// # Errors
    /// What is lacking or broke, by name.
    fn prepare(&self, plan: &Plan, context: &RunContext, folder: &Path) -> Result<Box<dyn Platform>>;

    /// Looks at every domain of `plan`, changing nothing; `cells` are all that it asks for.
    ///
    /// # Errors
    /// When it can't be looked at; what is wrong in a domain is a finding.
    fn doctor(&self, plan: &Plan, cells: &[Cell]) -> Result<Vec<Finding>>;

    /// Its lab, where it has one.
    fn lab(&self) -> Option<&dyn Lab> {
        None
    }
}

/// Platforms by name.
pub struct Registry(Vec<Box<dyn Kind>>);

impl Registry {
    /// A registry of these.
    pub fn new(kinds: Vec<Box<dyn Kind>>) -> Self {
        Self(kinds)
    }

    /// Loads the plan at `path`, and has its platform check what is its own in it.
    ///
    /// # Errors
    /// With file and line, for a plan that can't be read or contradicts itself, or whose platform is not here.
    pub fn load(&self, path: &Path, overrides: &Overrides) -> Result<Plan> {
        let (plan, sources) = plan::load(path, overrides)?;
        let kind = self.find(plan.platform.kind.get_ref());
        kind.map_err(|message| sources.error(&["platform", "kind"], message))?.check(&plan, &sources)?;
        Ok(plan)
    }

    /// The platform of a plan that was loaded before.
    ///
    /// # Errors
    /// When it is not here.
    pub fn of(&self, plan: &Plan) -> Result<&dyn Kind> {
        self.find(plan.platform.kind.get_ref()).map_err(|message| meter::Error::bad_arguments(message).into())
    }

    fn find(&self, name: &str) -> Result<&dyn Kind, String> {
        let kind = self.0.iter().find(|kind| kind.name() == name);
        kind.map(|kind| &**kind).ok_or_else(|| {
            let known: Vec<&str> = self.0.iter().map(|kind| kind.name()).collect();
            format!("no platform is named `{name}`; there are {}", known.join(", "))
        })
    }

    /// The lab of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn lab(&self, name: &str) -> Result<&dyn Lab> {
        let labs = || self.0.iter().filter_map(|kind| kind.lab());
        labs().find(|lab| lab.name() == name).ok_or_else(|| {
            let known: Vec<&str> = labs().map(Lab::name).collect();
            meter::Error::bad_arguments(format!("no lab is named `{name}`; there are {}", known.join(", ")))
                .into()
        })
    }
}
