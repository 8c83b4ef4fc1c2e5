//! The program: from what was typed to the end of the measurement.

use meter::{
    Result,
    cli::CommonArgs,
    session::{Session, Tool},
    tool::Program,
};

use crate::{args::Args, measure, resolve};

impl Program for Args {
    const TOOL: Tool = Tool { name: "diskprobe", version: env!("CARGO_PKG_VERSION") };

    fn common(&self) -> &CommonArgs {
        &self.common
    }

    fn run(self, session: &mut Session<'_>) -> Result<()> {
        measure::run(&resolve::config(&self)?, session)
    }
}
