//! Benchmarks of the hot paths of all crates: see `benches/hot/`.
//!
//! `cargo bench` measures them, `cargo bench -- interrupts` only those whose name contains that word;
//! `cargo test` runs each of them once.
