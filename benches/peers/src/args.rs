//! The command line of `cargo xtask peers`.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `peers`.
#[derive(Args, Debug)]
pub struct PeersArgs {
    /// Only this group (`disk`, `udp` …) or the names that this glob matches; may be repeated
    #[arg(long, value_name = "GROUP|GLOB")]
    pub only: Vec<String>,

    /// Rounds in which every side does the work once
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub pairs: u32,

    /// One JSON object a comparison instead of tables
    #[arg(long)]
    pub json: bool,

    /// Name the comparisons and run none
    #[arg(long)]
    pub list: bool,

    /// Folder on the file system whose disk is compared; what is made in it is removed
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub folder: PathBuf,
}
