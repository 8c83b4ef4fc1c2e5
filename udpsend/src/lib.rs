//! UDP load generator and sink: paced floods of real packets, and what of them arrived.
//!
//! A sender ([`sender`]) takes intended times from one schedule ([`load`]) whatever the [`method`]
//! that hands datagrams to the kernel. Each datagram carries its number and its intended time
//! ([`payload`]), from which the [`sink`] tells what was lost, reordered and duplicated.

pub mod args;
pub mod errors;
pub mod frame;
pub mod interfaces;
pub mod latency_log;
pub mod load;
pub mod method;
pub mod netlink;
pub mod payload;
pub mod sender;
pub mod sink;
pub mod sizes;
pub mod socket;
pub mod sys;
pub mod target;

pub use args::Args;

/// The JSON schemas of this tool's records, by the stem of the file that each belongs in.
#[cfg(feature = "schema")]
#[must_use]
pub fn schemas() -> Vec<(&'static str, schemars::Schema)> {
    use meter::{
        record::Envelope,
        session::{Start, Summary},
    };
    vec![
        ("udpsend-start", schemars::schema_for!(Envelope<Start<sender::config::SendConfig>>)),
        ("udpsend-sample", schemars::schema_for!(Envelope<sender::record::SendSample>)),
        ("udpsend-summary", schemars::schema_for!(Envelope<Summary<sender::record::SendSummary>>)),
        ("udpsend-sink-start", schemars::schema_for!(Envelope<Start<sink::config::SinkConfig>>)),
        ("udpsend-sink-sample", schemars::schema_for!(Envelope<sink::record::SinkSample>)),
        ("udpsend-sink-summary", schemars::schema_for!(Envelope<Summary<sink::record::SinkSummary>>)),
    ]
}
