//! The coordinator: runs a plan's trials on its platform and makes the report.

pub mod args;
mod doctor;
mod dry_run;
mod matrix;
mod progress;
mod resume;
mod trial;

use std::{io, process::ExitCode};

use anyhow::Result;
use args::IomatrixCommand;
use meter::stderr::print_status;
use platform::Registry;

/// Runs one command on the platforms of `registry`; gives its exit code.
///
/// # Errors
/// Whatever kept the command from its end; the program then ends with the code of its kind.
pub fn run(command: IomatrixCommand, registry: &Registry) -> Result<u8> {
    match command {
        IomatrixCommand::Matrix(args) => matrix::run(&args, registry),
        IomatrixCommand::Report(args) => matrix::report_again(&args.folder),
        IomatrixCommand::Doctor(args) => doctor::run(&args, registry),
        IomatrixCommand::Lab(args) => registry.lab(&args.lab)?.run(args.action),
    }
}

/// How the program called `name` ends: an error is told on standard error.
pub fn end(name: &str, result: Result<u8>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            print_status(format_args!("{name}: {error:#}"));
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
