//! What every iomatrix tool means alike: what is measured, by which clock, in which units.
//!
//! A figure of `diskprobe` can stand beside one of `udpsend` only because both came from here: the
//! same clock ([`clock`]), the same schedule of intended times ([`pacer`]), the same histogram
//! ([`histogram`]), the same accounting of CPU time and interrupts ([`usage`], [`interrupts`]), the
//! same records ([`record`]). The life of a tool, from its command line to its exit code, is
//! [`tool`] and [`session`]; a measurement from its start to its last sample is [`runtime`].
//!
//! It holds no workload, no table, no colour and nothing about domains. The single piece of global
//! state is the signal handler that [`control`] installs, because a process has only one.

pub mod address;
pub mod cli;
pub mod clock;
pub mod control;
pub mod counter;
pub mod cpulist;
pub mod crew;
pub mod error;
pub mod histogram;
pub mod host;
pub mod idle;
pub mod interrupts;
pub mod io_uring;
pub mod pacer;
pub mod placement;
pub mod printable;
pub mod random;
pub mod rate;
pub mod record;
pub mod relay;
pub mod runtime;
pub mod session;
pub mod socket_buffer;
pub mod start_time;
pub mod stderr;
pub mod sys;
pub mod sysfs;
pub mod tool;
pub mod units;
pub mod usage;
pub mod wait;
pub mod xen;

pub use error::{Error, ErrorKind, Result};
