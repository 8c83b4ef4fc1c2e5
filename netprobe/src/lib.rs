//! The network probe of iomatrix: goodput as received, and the latency of transactions.
//!
//! A server ([`server`]) and a client ([`client`]) agree over a control connection ([`protocol`]) on
//! an order, then run the same loops ([`workload`]) on data connections of their own. The client's
//! summary holds what both ends saw.

mod args;
pub mod client;
pub mod confidence;
pub mod config;
pub mod fuzzing;
pub mod interface;
pub mod limits;
pub mod options;
pub mod peers;
pub mod protocol;
pub mod record;
pub mod server;
pub mod sys;
pub mod tcp_info;
pub mod workload;

pub use args::Args;

/// The JSON schemas of this tool's records, each with the stem of its file's name.
#[cfg(feature = "schema")]
#[must_use]
pub fn schemas() -> Vec<(&'static str, schemars::Schema)> {
    use meter::{
        record::Envelope,
        session::{Start, Summary},
    };
    use schemars::schema_for;

    vec![
        ("netprobe-start", schema_for!(Envelope<Start<config::ProbeConfig>>)),
        ("netprobe-serve-start", schema_for!(Envelope<Start<config::ServeConfig>>)),
        ("netprobe-stream-sample", schema_for!(Envelope<record::StreamSample>)),
        ("netprobe-stream-summary", schema_for!(Envelope<Summary<record::StreamSummary>>)),
        ("netprobe-rr-sample", schema_for!(Envelope<record::TransactionSample>)),
        ("netprobe-repetition-sample", schema_for!(Envelope<record::RepetitionSample>)),
        ("netprobe-rr-summary", schema_for!(Envelope<Summary<record::TransactionSummary>>)),
        ("netprobe-serve-summary", schema_for!(Envelope<Summary<server::tally::ServeSummary>>)),
    ]
}
