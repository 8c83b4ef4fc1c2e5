//! The coordinator as a program: `iomatrix matrix` runs a plan and reports; `--help` lists the rest.

use std::process::ExitCode;

use clap::Parser;
use iomatrix::args::IomatrixArgs;

fn main() -> ExitCode {
    iomatrix::end("iomatrix", iomatrix::run(IomatrixArgs::parse().command, &platform::built_in()))
}
