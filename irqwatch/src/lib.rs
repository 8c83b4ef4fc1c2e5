//! Interrupts: who raised them, where, how many, at what cost.
//!
//! [`Args`] (what was typed) → the part's own configuration → its `run`:
//!
//! * [`watch`]: differences per source and CPU, interval by interval.
//! * [`cost`]: `irqwatch run -- COMMAND`, what a command cost in interrupts.

mod args;
pub mod cost;
pub mod source;
mod sys;
pub mod watch;

pub use args::Args;

/// Schemas of the records, each with the stem of its file's name.
#[cfg(feature = "schema")]
#[must_use]
pub fn schemas() -> Vec<(&'static str, schemars::Schema)> {
    use meter::{record::Envelope, session};
    vec![
        ("irqwatch-start", schemars::schema_for!(Envelope<session::Start<watch::Config>>)),
        ("irqwatch-sample", schemars::schema_for!(Envelope<watch::Sample>)),
        ("irqwatch-summary", schemars::schema_for!(Envelope<session::Summary<watch::Summary>>)),
        ("irqwatch-run-start", schemars::schema_for!(Envelope<session::Start<cost::Config>>)),
        ("irqwatch-run-summary", schemars::schema_for!(Envelope<session::Summary<cost::Summary>>)),
    ]
}
