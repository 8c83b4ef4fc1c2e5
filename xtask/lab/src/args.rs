//! The command line of `lab`.

use clap::{Args, Subcommand};

/// Arguments of `lab`.
#[derive(Args, Debug)]
pub struct LabArgs {
    /// Which lab.
    #[command(subcommand)]
    pub lab: LabName,
}

/// The labs that there are.
#[derive(Subcommand, Debug)]
pub enum LabName {
    /// A real Xen host with two guests, and the same machine without Xen, in QEMU's emulation
    #[command(subcommand)]
    Xen(LabAction),
}

/// What to do with a lab.
#[derive(Subcommand, Debug)]
pub enum LabAction {
    /// Make the images if need be, boot both machines and create the guests
    Up {
        /// End the machines after so many minutes, whatever happens
        #[arg(long, value_name = "MINUTES", default_value_t = 180)]
        minutes: u64,
    },
    /// Run a command in dom0, a, b, native or generator
    Run {
        /// Where
        domain: String,
        /// What
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
    /// Open a shell in dom0, a, b, native or generator
    Ssh {
        /// Where
        domain: String,
    },
    /// End the machines; images and keys stay for the next time
    Down,
    /// Hold the machines (started by `up`) while standard input is open, or for good once it says `stay`
    #[command(hide = true)]
    Supervise {
        /// End the machines after so many minutes
        #[arg(long, default_value_t = 180)]
        minutes: u64,
    },
}
