//! CPU load of an exact size: pinned workers, each busy for its share of every period.
//!
//! The path of a run: [`Args`] (what was typed) → [`Config`] (what it means) → [`run`]: one worker per
//! place (`worker`) follows a schedule of busy windows in absolute time ([`schedule`]) and fills
//! them with a kernel ([`kernel`]), while the conductor reads their counts at interval edges and in
//! the end compares what was demanded with what was received ([`result`]).

mod account;
mod args;
mod conductor;
mod config;
mod duty;
pub mod facts;
pub mod hold;
pub mod kernel;
mod ledger;
pub mod result;
pub mod schedule;
pub mod scheduling;
mod sys;
mod worker;

pub use args::Args;
pub use conductor::run;
pub use config::{Config, Load, Places};
pub use duty::Duty;

/// Schemas of the records, each with the stem of its file's name.
#[cfg(feature = "schema")]
#[must_use]
pub fn schemas() -> Vec<(&'static str, schemars::Schema)> {
    use meter::{record::Envelope, session};
    vec![
        ("cpuload-start", schemars::schema_for!(Envelope<session::Start<Config>>)),
        ("cpuload-sample", schemars::schema_for!(Envelope<result::Sample>)),
        ("cpuload-summary", schemars::schema_for!(Envelope<session::Summary<result::Summary>>)),
    ]
}
