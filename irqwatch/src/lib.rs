//! Interrupts: who raised them, where, how many, at what cost.
//!
//! [`Args`] (what was typed) → the part's own `Config` → its `run`:
//!
//! * [`watch`]: differences per source and CPU, interval by interval; [`live`] redraws them.
//! * [`cost`]: `irqwatch run -- COMMAND`, what a command cost in interrupts.
//! * [`wakeup`]: how late threads wake from timers.
//! * [`gaps`]: a busy loop that finds every interruption.
//! * [`handlers`]: how long handlers ran, by tracepoints.
//! * [`affinity`]: which CPUs serve an interrupt; changed for the length of a command.
//! * [`host`]: counters of KVM and times of Xen's virtual CPUs.
//!
//! All of them read the kernel's tables through one [`observer`], tell the kinds of interrupts apart
//! by [`class`], and choose by [`filter`].

pub mod affinity;
mod args;
pub mod class;
pub mod command;
pub mod cost;
pub mod filter;
pub mod gaps;
pub mod handlers;
pub mod host;
pub mod live;
pub mod observer;
pub mod source;
pub mod sums;
mod sys;
pub mod wakeup;
pub mod watch;

pub use args::Args;

/// Schemas of the records, each with the stem of its file's name.
#[cfg(feature = "schema")]
#[must_use]
pub fn schemas() -> Vec<(&'static str, schemars::Schema)> {
    use meter::{
        record::Envelope,
        session::{Start, Summary},
    };
    use schemars::schema_for;
    vec![
        ("irqwatch-start", schema_for!(Envelope<Start<watch::Config>>)),
        ("irqwatch-sample", schema_for!(Envelope<watch::Sample>)),
        ("irqwatch-summary", schema_for!(Envelope<Summary<watch::Summary>>)),
        ("irqwatch-run-start", schema_for!(Envelope<Start<cost::Config>>)),
        ("irqwatch-run-summary", schema_for!(Envelope<Summary<cost::Summary>>)),
        ("irqwatch-wakeup-start", schema_for!(Envelope<Start<wakeup::Config>>)),
        ("irqwatch-wakeup-sample", schema_for!(Envelope<wakeup::Sample>)),
        ("irqwatch-wakeup-summary", schema_for!(Envelope<Summary<wakeup::Summary>>)),
        ("irqwatch-gaps-start", schema_for!(Envelope<Start<gaps::Config>>)),
        ("irqwatch-gaps-sample", schema_for!(Envelope<gaps::Sample>)),
        ("irqwatch-gaps-summary", schema_for!(Envelope<Summary<gaps::Summary>>)),
        ("irqwatch-handlers-start", schema_for!(Envelope<Start<handlers::Config>>)),
        ("irqwatch-handlers-summary", schema_for!(Envelope<Summary<handlers::Summary>>)),
        ("irqwatch-affinity-start", schema_for!(Envelope<Start<affinity::Config>>)),
        ("irqwatch-affinity-summary", schema_for!(Envelope<Summary<affinity::Summary>>)),
        ("irqwatch-host-start", schema_for!(Envelope<Start<host::Config>>)),
        ("irqwatch-host-summary", schema_for!(Envelope<Summary<host::Summary>>)),
    ]
}
