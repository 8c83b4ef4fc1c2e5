//! The command line of `lab`.

use clap::{Args, Subcommand};

/// Arguments of `lab`.
#[derive(Args, Debug)]
pub struct LabArgs {
    /// Which lab
    #[arg(value_name = "LAB")]
    pub lab: String,
    /// What to do with it.
    #[command(subcommand)]
    pub action: LabAction,
}

/// What to do with a lab.
#[derive(Subcommand, Debug)]
pub enum LabAction {
    /// Make the images if need be, and boot the machines and their guests
    Up {
        /// End the machines after so many minutes, whatever happens
        #[arg(long, value_name = "MINUTES", default_value_t = 180)]
        minutes: u64,
    },
    /// Run a command in a domain of the lab
    Run {
        /// Where
        domain: String,
        /// What
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
    /// Open a shell in a domain of the lab
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
