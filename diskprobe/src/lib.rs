//! Disk probe: how long a guest's I/O takes, how much that varies, and what it costs.
//!
//! What was typed ([`args`]) becomes a [`config`] in [`resolve`]. [`measure`] lets [`inspect`] look at
//! the path, opens the [`target`], and starts workers; the [`conductor`] has them do one run after the
//! other and tells the [`outcome`]. Each [`worker`] drives an [`engine`], of which the [`ring`] is the
//! usual one. Unsafe code is in [`ring`], [`buffer`] and [`extents`] alone.

pub mod args;
pub mod blocks;
pub mod buffer;
pub mod conductor;
pub mod config;
pub mod data;
pub mod device;
pub mod direct;
pub mod disk;
pub mod doubts;
pub mod engine;
pub mod extents;
pub mod facts;
pub mod filling;
pub mod inspect;
pub mod interrupts;
pub mod intervals;
pub mod latencies;
pub mod measure;
pub mod mounts;
pub mod nvme;
pub mod outcome;
pub mod pace;
pub mod program;
pub mod recording;
pub mod require;
pub mod resolve;
pub mod ring;
pub mod setup;
pub mod signature;
pub mod stage;
pub mod steady;
pub mod sync;
pub mod sysfs;
pub mod tally;
pub mod target;
pub mod totals;
pub mod work;
pub mod worker;
pub mod workers;
pub mod workload;

pub use args::Args;

/// The JSON schemas of this tool's records, each with the stem of its file's name.
#[cfg(feature = "schema")]
#[must_use]
pub fn schemas() -> Vec<(&'static str, schemars::Schema)> {
    use meter::{record::Envelope, session};
    vec![
        ("diskprobe-start", schemars::schema_for!(Envelope<session::Start<outcome::Resolved>>)),
        ("diskprobe-sample", schemars::schema_for!(Envelope<outcome::Sample>)),
        ("diskprobe-summary", schemars::schema_for!(Envelope<session::Summary<outcome::Summary>>)),
    ]
}
