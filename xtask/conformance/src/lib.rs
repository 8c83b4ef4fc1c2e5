//! The conformance suite: what every tool promises alike, checked on the real binaries of all of them.
//!
//! `cargo test -p conformance`. The table of tools is `tests/suite/rows.rs`, the promises are the tests in
//! `tests/suite/main.rs`. A new tool gets all of them for one line of the table.
