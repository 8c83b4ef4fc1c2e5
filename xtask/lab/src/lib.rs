//! Labs: emulated machines of this machine's own, to measure in. What every lab needs is here; what is booted
//! in one belongs to its platform.

pub mod archive;
mod args;
pub mod folder;
pub mod tap;

use anyhow::Result;
pub use args::{LabAction, LabArgs};
use plan::Plan;

/// A lab of a platform.
pub trait Lab {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// The plan that runs in it, a file of the plans folder: the full one, or a quick one.
    fn plan(&self, quick: bool) -> &'static str;

    /// Does what `cargo xtask lab NAME …` asks; gives the exit code.
    ///
    /// # Errors
    /// What is lacking here, or does not boot.
    fn run(&self, action: LabAction) -> Result<u8>;

    /// Boots the lab unless it is up, and fills into `plan` how its domains are reached.
    ///
    /// # Errors
    /// When `plan` is of other machines, and what [`Self::run`] fails with.
    fn open(&self, plan: &mut Plan) -> Result<Box<dyn Session>>;

    /// Fills into `plan` how the domains of the running lab are reached.
    ///
    /// # Errors
    /// When no lab is up, or `plan` is of other machines.
    fn complete(&self, plan: &mut Plan) -> Result<()>;
}

/// A lab in use by a matrix. Dropping it ends the machines that were booted for it.
pub trait Session {
    /// Why the machines have ended, if they have.
    fn ended(&self) -> Option<String>;
}
