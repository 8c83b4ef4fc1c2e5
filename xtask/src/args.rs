//! The command line of `cargo xtask`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use iomatrix::args::IomatrixCommand;
use peers::PeersArgs;

/// The coordinator of iomatrix: plans, domains, trials, results, reports.
#[derive(Parser, Debug)]
#[command(name = "cargo xtask", version)]
pub struct XtaskArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: XtaskCommand,
}

/// What users of the product can do, and what only developers do.
#[derive(Subcommand, Debug)]
pub enum XtaskCommand {
    /// A command of `iomatrix`.
    #[command(flatten)]
    Iomatrix(IomatrixCommand),
    /// Build the tools as static binaries for guests, with checksums
    Dist(DistArgs),
    /// Write the JSON schemas of all records to docs/schema
    Schema(SchemaArgs),
    /// Compare the tools with fio, iperf3 and others on the same work, in turn
    Peers(PeersArgs),
}

/// Arguments of `dist`.
#[derive(Args, Debug)]
pub struct DistArgs {
    /// Where the binaries go
    #[arg(long, value_name = "DIR", default_value = "dist")]
    pub out: PathBuf,
}

/// Arguments of `schema`.
#[derive(Args, Debug)]
pub struct SchemaArgs {
    /// Change nothing; fail if the files are not what they should be
    #[arg(long)]
    pub check: bool,
}
