//! What a busy CPU does: each kernel in its own file, with the effect that it has.

mod sqrt;

use clap::ValueEnum;
use meter::Result;
use serde::Serialize;

/// A kernel by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Kernel {
    /// Square roots of pseudo-random integers: what `stress -c` does
    Sqrt,
}

/// Work in operations. Made by [`Kernel::build`] on the thread that will do it, everything allocated
/// and faulted in.
pub trait Work {
    /// How many operations to do between two looks at the clock: some microseconds' worth.
    fn slice(&self) -> u64;

    /// Does that many operations.
    ///
    /// # Errors
    /// When the system refuses: a full disk, no memory. Kernels of pure computation never fail.
    fn run(&mut self, operations: u64) -> Result<()>;
}

impl Kernel {
    /// The work itself.
    ///
    /// # Errors
    /// When what it needs can't be had.
    pub fn build(self) -> Result<Box<dyn Work>> {
        Ok(match self {
            Self::Sqrt => Box::new(sqrt::Sqrt::new()),
        })
    }
}
