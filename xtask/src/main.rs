//! The coordinator: `cargo xtask matrix` runs a plan and reports; `--help` lists the rest.

mod args;
mod dist;
mod doctor;
mod domain;
mod dry_run;
mod journal;
mod lab;
mod matrix;
mod peers;
mod plan;
mod platform;
mod progress;
mod report;
mod results;
mod resume;
mod schedule;
mod schema;
mod tools;
mod trial;

use std::{io, process::ExitCode};

use args::{XtaskArgs, XtaskCommand};
use clap::Parser;

fn main() -> ExitCode {
    let result = match XtaskArgs::parse().command {
        XtaskCommand::Matrix(args) => matrix::run(&args),
        XtaskCommand::Report(args) => matrix::report_again(&args.folder),
        XtaskCommand::Dist(args) => dist::run(&args),
        XtaskCommand::Schema(args) => schema::run(&args),
        XtaskCommand::Peers(args) => peers::run(&args),
        XtaskCommand::Doctor(args) => doctor::run(&args),
        XtaskCommand::Lab(args) => lab::run(args),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}

/// 2 for a plan or argument that is wrong, 3 for a missing permission, 1 for everything else: the
/// codes of the tools.
fn exit_code(error: &anyhow::Error) -> u8 {
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    if let Some(error) = error.downcast_ref::<meter::Error>() {
        error.kind().exit_code()
    } else if error.chain().filter_map(|cause| cause.downcast_ref()).any(refused) {
        meter::ErrorKind::Unavailable.exit_code()
    } else {
        meter::ErrorKind::Failed.exit_code()
    }
}
