//! Developers' commands: everything that `iomatrix` does, and what only this repository needs.

mod args;
mod dist;
mod schema;

use std::process::ExitCode;

use args::{XtaskArgs, XtaskCommand};
use clap::Parser;

fn main() -> ExitCode {
    let result = match XtaskArgs::parse().command {
        XtaskCommand::Iomatrix(command) => iomatrix::run(command, &platform::built_in()),
        XtaskCommand::Dist(args) => dist::run(&args),
        XtaskCommand::Schema(args) => schema::run(&args),
        XtaskCommand::Peers(args) => peers::run(&args),
    };
    iomatrix::end("xtask", result)
}
