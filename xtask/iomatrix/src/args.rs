//! The command line of `iomatrix`, which `cargo xtask` takes too.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use lab::{Lab, LabArgs};

/// Runs a matrix of I/O measurements and makes its report.
#[derive(Parser, Debug)]
#[command(name = "iomatrix", version)]
pub struct IomatrixArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: IomatrixCommand,
}

/// What the coordinator can do.
#[derive(Subcommand, Debug)]
pub enum IomatrixCommand {
    /// Build the tools, set up domains, run all cells of a plan and make the report
    Matrix(MatrixArgs),
    /// Make summary and report of a results folder again, from its journal alone
    Report(ReportArgs),
    /// Look at every domain of a plan before anything runs, and say how to mend what is missing
    Doctor(DoctorArgs),
    /// Boot guests of this machine's own to measure in
    Lab(LabArgs),
}

/// Arguments of `matrix`.
#[derive(Args, Debug)]
pub struct MatrixArgs {
    /// The plan to run [default: plans/ipsj-2010.toml]
    #[arg(long, value_name = "FILE", conflicts_with = "quick")]
    pub plan: Option<PathBuf>,

    /// The same cells, small and short (plans/quick.toml)
    #[arg(long)]
    pub quick: bool,

    /// In this lab, which is booted in an emulator if need be [plan: the lab's own, such as
    /// plans/LAB-lab.toml, and a quick one]
    #[arg(long, value_name = "LAB")]
    pub lab: Option<String>,

    /// Go on with an interrupted matrix in its results folder: what is finished stays, the rest follows. One that
    /// was ended before it had a journal begins again
    #[arg(long, value_name = "DIR", conflicts_with_all = ["plan", "quick", "only", "skip", "repetitions", "seed", "results"])]
    pub resume: Option<PathBuf>,

    /// With --resume: try the trials again that failed, too
    #[arg(long, requires = "resume")]
    pub retry_failed: bool,

    /// Only cells whose name matches, such as `disk/virtual/*`; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub only: Vec<String>,

    /// Not the cells whose name matches; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub skip: Vec<String>,

    /// Trials per cell [default: the plan's]
    #[arg(long, value_name = "N")]
    pub repetitions: Option<u32>,

    /// Seed of the order of trials [default: the plan's]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Use the tools in this folder (made by `cargo xtask dist`) instead of building them
    #[arg(long, value_name = "DIR")]
    pub binaries: Option<PathBuf>,

    /// Where results go
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
}

impl MatrixArgs {
    /// The plan's file: the one that is named, else the one of `lab`, else the report's.
    pub fn plan_path(&self, lab: Option<&dyn Lab>) -> PathBuf {
        let shipped = match (lab, self.quick) {
            (Some(lab), quick) => lab.plan(quick),
            (None, true) => "quick.toml",
            (None, false) => "ipsj-2010.toml",
        };
        self.plan.clone().unwrap_or_else(|| plan::plans_folder().join(shipped))
    }
}

/// Arguments of `report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// The results folder
    #[arg(value_name = "DIR", default_value = "results/latest")]
    pub folder: PathBuf,
}

/// Arguments of `doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// The plan whose domains are looked at [with --lab: its quick plan]
    #[arg(long, value_name = "FILE", required_unless_present = "lab")]
    pub plan: Option<PathBuf>,

    /// The domains of a lab that is up
    #[arg(long, value_name = "LAB")]
    pub lab: Option<String>,
}
