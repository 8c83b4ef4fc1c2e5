//! Flags that say how both ends wait.

use clap::ValueEnum;
use meter::{Error, Result, idle, units::Nanoseconds};

use crate::protocol::order::{Wait, Workload};

/// How both ends wait.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Waiting, at both ends")]
pub(super) struct WaitArgs {
    /// How both ends wait for their sockets [default: block]
    #[arg(long, value_enum)]
    wait: Option<WaitArg>,
    /// Spin on the sockets instead of sleeping in the kernel, at both ends: `--wait spin`
    #[arg(long, conflicts_with = "wait")]
    busy_poll: bool,
    /// How long `--wait adaptive` spins before it sleeps [default: 50us]
    #[arg(long, value_name = "TIME")]
    spin_time: Option<Nanoseconds>,
    /// Let no CPU of either machine take longer than so many microseconds to wake from idle; 0: none halts
    ///
    /// Held through /dev/cpu_dma_latency for as long as it is measured, for the whole machine. The server must have been
    /// started with --allow-cpu-dma-latency.
    #[arg(long, value_name = "US", value_parser = clap::value_parser!(u32).range(0..=i64::from(idle::LONGEST_US)))]
    cpu_dma_latency: Option<u32>,
}

/// How a thread waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WaitArg {
    /// Sleep in the kernel
    Block,
    /// Look again and again for a while, then sleep; transactions only
    Adaptive,
    /// Look again and again, never sleep
    Spin,
}

/// How long an adaptive wait spins unless told, in nanoseconds: what the kernel's documentation recommends
/// for its own busy polling (net.core.busy_read).
const SPIN_NS: u64 = 50_000;

impl WaitArgs {
    /// How a thread of `workload` waits.
    ///
    /// # Errors
    /// For a way that this workload does not have.
    pub(super) fn resolve(&self, workload: &Workload) -> Result<Wait> {
        let asked = self.wait.unwrap_or(if self.busy_poll { WaitArg::Spin } else { WaitArg::Block });
        if self.spin_time.is_some() && asked != WaitArg::Adaptive {
            return Err(Error::bad_arguments("--spin-time belongs to `--wait adaptive`"));
        }
        match (asked, workload) {
            (WaitArg::Block, _) => Ok(Wait::Block),
            (_, Workload::Connections { .. }) => {
                Err(Error::bad_arguments("`crr` makes ever new connections: it can only block"))
            }
            (WaitArg::Spin, _) => Ok(Wait::Spin),
            (WaitArg::Adaptive, Workload::Stream { .. }) => {
                Err(Error::bad_arguments("`--wait adaptive` is for `rr`: a stream hardly ever waits"))
            }
            (WaitArg::Adaptive, Workload::Transactions { .. }) => {
                Ok(Wait::Adaptive { spin_ns: self.spin_time.map_or(SPIN_NS, |time| time.0) })
            }
        }
    }

    /// The limit on idle states that was asked for, in microseconds.
    pub(super) fn cpu_dma_latency_us(&self) -> Option<u32> {
        self.cpu_dma_latency
    }
}
