//! What the two ends say to each other.
//!
//! Every TCP connection to a server begins with a [`hello`] of fixed size: a control connection, or a
//! data connection of a session. A control connection then carries [`frame`]s, each one [`message`] in
//! JSON:
//!
//! ```text
//! client                          server
//! hello(control)            →
//!                           ←     challenge {nonce, token needed}
//! authenticate {proof}      →                               only where a token is needed
//!                           ←     authenticated {proof}
//! open {order}              →
//!                           ←     opened {cookie, ports}
//! hello(data, cookie, flow) →     on a connection of its own, once per flow; for UDP as a datagram,
//!                                 again and again until `ready`
//!                           ←     ready                     all flows are here, all threads pinned
//! start                     →
//!                           ←     started
//!                           ←     interval {…}              where asked for
//! stop                      →
//!                           ←     report {…}                then another open, or the end
//! ```
//!
//! Anything else ends the connection, and with it the session that it belongs to.

pub mod channel;
pub mod frame;
pub mod hello;
pub mod message;
pub mod network_errors;
pub mod order;
pub mod report;
pub mod token;
